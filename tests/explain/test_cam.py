import numpy as np
import pytest
import torch
from rgb_networks import KINDS, small_clips, small_network

from poselens.errors import NumericFault, UsageError
from poselens.explain import cam
from poselens.explain.cam import METHODS, attribute_frames, find_layer, layer_names
from poselens.rgb.folded import fold

CLASSES = np.array([1, 2])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_network_gives_a_map_for_every_moment_of_every_clip(kind, method, monkeypatch):
    monkeypatch.setattr(cam, "INTEGRATION_STEPS", 4)
    found = attribute_frames(small_network(kind), small_clips(), CLASSES, method=method)
    moments = 2 if kind == "difference-stem" else 6
    assert (found.shape, found.dtype) == ((2, moments, 48, 48), np.float32)
    assert found.min() >= 0
    np.testing.assert_allclose(found.max(axis=(1, 2, 3)), 1)
    assert found.std() > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_map_belongs_to_its_clip(method, monkeypatch):
    """Other clips of the batch, and their order, change nothing."""
    monkeypatch.setattr(cam, "INTEGRATION_STEPS", 4)
    network, clips = small_network("staa"), small_clips(3)
    labels = np.array([0, 1, 2])
    together = attribute_frames(network, clips, labels, method=method)
    order = [2, 0, 1]
    permuted = attribute_frames(network, clips[order], labels[order], method=method)
    np.testing.assert_allclose(permuted, together[order], atol=2e-5)
    alone = attribute_frames(network, clips[1:2], labels[1:2], method=method)
    np.testing.assert_allclose(alone[0], together[1], atol=2e-5)
    assert abs(together[0] - together[1]).max() > 0.1


def changed(network, frames, at, monkeypatch):
    """Which moments' maps react to a change of one frame. The last layer's weights are constant."""
    monkeypatch.setattr(cam, "over_clip", lambda maps: maps)
    clip = small_clips(1, frames, 32)
    other = clip.clone()
    other[0, at] = small_clips(1, 1, 32, seed=5)[0, 0]
    before, after = (attribute_frames(network, each, np.array([1])) for each in (clip, other))
    return set(np.flatnonzero(abs(before - after)[0].max(axis=(1, 2)) > 1e-6).tolist())


def test_without_a_shift_a_map_knows_its_own_frame_alone(monkeypatch):
    network = small_network(shift=False)
    assert changed(network, 6, 2, monkeypatch) == {2}


def test_a_shift_reaches_one_frame_a_block(monkeypatch):
    """Eight blocks, each with one shift: eight frames to either side, and no farther."""
    network = small_network(width=0.25)
    found = changed(network, 20, 10, monkeypatch)
    assert {9, 10, 11} <= found <= set(range(2, 19))
    assert found - {9, 10, 11}


def test_in_a_causal_network_no_map_knows_a_later_frame(monkeypatch):
    network = small_network("causal", attend=False, aggregate=False)
    found = changed(network, 12, 5, monkeypatch)
    assert {5, 6} <= found <= set(range(5, 14))


def test_a_snippets_frames_share_one_map(monkeypatch):
    network = small_network("difference-stem", shift=False, attend=False, aggregate=False)
    # the last frame of the first snippet, which its differences see
    assert changed(network, 6, 2, monkeypatch) == {0}


def test_integrated_gradients_sum_to_what_the_score_gained(monkeypatch):
    """Completeness, before the positive part is taken: it needs every frame at its place."""
    monkeypatch.setattr(cam, "INTEGRATION_STEPS", 200)
    network, clip = small_network("staa"), small_clips(1, 4, 32)
    weights = torch.tensor([[0.0, 1.0, -1.0]])
    found = cam._of_pixels(network, clip, weights, "integrated-gradients")
    with torch.no_grad():
        gained = ((network(clip) - network(torch.zeros_like(clip))) * weights).sum()
    assert float(found.sum()) == pytest.approx(float(gained), rel=0.02)


def test_nothing_that_speaks_for_a_class_is_nothing_and_not_nan():
    network = small_network()
    torch.nn.init.zeros_(network.fc.weight)
    for method in METHODS:
        assert not attribute_frames(network, small_clips(), CLASSES, method=method).any()


def test_the_network_is_left_as_it_was():
    network, clips = small_network("staa"), small_clips()
    network.requires_grad_(False)
    before = network(clips)
    attribute_frames(network, clips, CLASSES)
    attribute_frames(network, clips, CLASSES, method="gradcam++")
    assert not clips.requires_grad
    assert not any(part._forward_hooks for part in network.modules())
    assert all(each.grad is None and not each.requires_grad for each in network.parameters())
    assert torch.equal(network(clips), before)


def test_layers_by_name():
    network = small_network("resnet50")
    assert find_layer(network) == "layer4.2"
    assert find_layer(network, "layer3") == find_layer(network, "backbone.layer3.5") == "layer3.5"
    assert find_layer(network, "layer1.0") == "layer1.0"
    assert len(layer_names(network)) == 16
    mobile = small_network("mobilenetv2")
    assert (find_layer(mobile), find_layer(mobile, "features.3")) == ("features.18", "features.3")
    earlier = attribute_frames(network, small_clips(), CLASSES, layer="layer2")
    assert abs(earlier - attribute_frames(network, small_clips(), CLASSES)).max() > 0.1


@pytest.mark.parametrize("name", ["layer5", "fc", "features", "layer4.9", "", "conv1"])
@pytest.mark.parametrize("kind", ["resnet18", "mobilenetv2"])
def test_unknown_layers(kind, name):
    with pytest.raises(UsageError, match="has no layer") as caught:
        attribute_frames(small_network(kind), small_clips(), CLASSES, layer=name)
    assert caught.value.code == "EXP-002"
    assert layer_names(small_network(kind))[-1] in caught.value.mend


def compiled_in_place():
    network = small_network()
    network.compile(backend="eager")
    return network


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: fold(small_network()), "normalisations are folded in"),
        (lambda: torch.compile(small_network(), backend="eager"), "OptimizedModule"),
        (compiled_in_place, "a compiled network"),
        (lambda: small_network().train(), "training mode"),
        (lambda: torch.nn.Linear(2, 2), "a Linear"),
    ],
)
def test_networks_whose_gradients_mean_something_else_are_refused(make, found):
    with pytest.raises(UsageError, match=found) as caught:
        attribute_frames(make(), small_clips(), CLASSES)
    assert caught.value.code == "EXP-001"
    assert "folded=False" in caught.value.mend


def test_unknown_methods_and_classes():
    network, clips = small_network(), small_clips()
    with pytest.raises(UsageError, match="found method 'eigencam'") as caught:
        attribute_frames(network, clips, CLASSES, method="eigencam")
    assert caught.value.code == "EXP-003"
    for wrong in ([1, 3], [-1, 0], [1]):
        with pytest.raises(UsageError, match="found classes") as caught:
            attribute_frames(network, clips, np.array(wrong))
        assert caught.value.code == "EXP-004"
    with pytest.raises(UsageError, match="from 0 to 2"):
        attribute_frames(network, clips, CLASSES, against=np.array([0, 7]))


def test_weights_that_are_not_finite_are_no_map():
    network = small_network()
    network.fc.weight.data[1] = torch.nan
    with pytest.raises(NumericFault, match="is not finite") as caught:
        attribute_frames(network, small_clips(), CLASSES)
    assert caught.value.code == "EXP-005"
