"""A causal network looks at no later frame, and takes a clip in chunks of any length."""

from copy import deepcopy
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lively import lively
from torch import nn

from poselens.errors import UsageError
from poselens.rgb.build import build_rgb_network
from poselens.rgb.temporal_shift import TemporalShift

BACKBONES = ("resnet18", "resnet50", "mobilenetv2")
PLAIN = {"attend": False, "aggregate": False}
PARTS = [PLAIN, {"staa_blocks": "all"}]


@cache
def built(backbone, parts=0, stem_frames=1, causal=True):
    return lively(backbone=backbone, causal=causal, stem_frames=stem_frames, **PARTS[parts])


@cache
def precise(*which):
    return deepcopy(built(*which)).double()


def in_chunks(network, clip, lengths):
    """Hand ``clip`` over in chunks; return the last logits and all states."""
    states = [None]
    for chunk in clip.split(lengths, dim=1):
        logits, state = network.advance(chunk, states[-1])
        states.append(state)
    return logits, states[1:]


def random_clip(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


networks = st.tuples(
    st.sampled_from(BACKBONES), st.integers(0, len(PARTS) - 1), st.sampled_from([1, 2])
)


@torch.no_grad()
@settings(max_examples=30)
@given(networks, st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 9))
def test_chunks_of_any_length_give_the_logits_of_the_whole_clip(which, lengths, seed):
    network, stem_frames = precise(*which), which[2]
    clip = random_clip(2, sum(lengths) * stem_frames, 3, 33, 47, seed=seed).double()
    found, states = in_chunks(network, clip, [length * stem_frames for length in lengths])
    torch.testing.assert_close(found, network(clip), atol=1e-11, rtol=1e-9)
    assert states[-1].frames == sum(lengths)


@torch.no_grad()
@pytest.mark.parametrize("parts", range(len(PARTS)))
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_call_gives_the_logits_of_the_frames_so_far_in_single_precision(backbone, parts):
    network = built(backbone, parts)
    clip, state = random_clip(1, 4, 3, 40, 32), None
    for seen in range(1, 5):
        logits, state = network.advance(clip[:, seen - 1 : seen], state)
        torch.testing.assert_close(logits, network(clip[:, :seen]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_what_was_before_matters():
    network, clip = built("resnet18"), random_clip(1, 4, 3, 32, 32)
    _, (before, after) = in_chunks(network, clip, [2, 2])
    follow = (after.total - before.total) / (after.frames - before.frames)
    assert not torch.allclose(follow, network(clip[:, 2:]), atol=1e-2)


@torch.no_grad()
@settings(max_examples=15)
@given(networks, st.integers(1, 4))
def test_later_frames_never_change_the_features_of_earlier_ones(which, first):
    network, stem_frames = built(*which), which[2]
    clip = random_clip(1, 5 * stem_frames, 3, 64, 64)
    other = clip.clone()
    other[:, first * stem_frames :] = random_clip(1, (5 - first) * stem_frames, 3, 64, 64, seed=1)
    features, others = network.features(clip), network.features(other)
    torch.testing.assert_close(features[:, :first], others[:, :first], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(features[:, first], others[:, first], atol=1e-2)


@torch.no_grad()
@pytest.mark.parametrize("backbone", BACKBONES)
def test_in_an_ordinary_network_later_frames_do(backbone):
    network = built(backbone, causal=False)
    clip = random_clip(1, 4, 3, 64, 64)
    other = clip.clone()
    other[:, 3] = random_clip(1, 3, 64, 64, seed=1)
    assert not torch.allclose(network.features(clip)[:, 2], network.features(other)[:, 2], atol=0.1)


@torch.no_grad()
@pytest.mark.parametrize("parts", range(len(PARTS)))
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_state_never_grows_and_keeps_nothing_else_alive(backbone, parts):
    network = built(backbone, parts)
    clip = random_clip(1, 12, 3, 32, 32)
    _, states = in_chunks(network, clip, [1, 1, 4, 2, 4])
    sizes = [[tuple(part.shape) for part in (*state.parts, state.total)] for state in states]
    assert sizes[0]
    assert all(each == sizes[0] for each in sizes)
    for part in states[-1].parts:
        assert part.untyped_storage().nbytes() == part.numel() * part.element_size()


@torch.no_grad()
def test_a_state_is_never_changed_so_that_a_stream_can_be_continued_twice():
    network, clip = built("resnet18"), random_clip(1, 4, 3, 32, 32)
    _, state = network.advance(clip[:, :2])
    kept = [part.clone() for part in (*state.parts, state.total, state.frames)]
    first, _ = network.advance(clip[:, 2:], state)
    other, _ = network.advance(clip[:, :2], state)
    again, _ = network.advance(clip[:, 2:], state)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)
    for part, before in zip((*state.parts, state.total, state.frames), kept, strict=True):
        assert torch.equal(part, before)


@torch.no_grad()
@pytest.mark.parametrize("parts", range(len(PARTS)))
def test_streams_of_a_batch_do_not_meet(parts):
    network, clips = built("resnet18", parts), random_clip(3, 5, 3, 32, 32)
    together, _ = in_chunks(network, clips, [2, 1, 2])
    alone, _ = in_chunks(network, clips[1:2], [2, 1, 2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("parts", range(len(PARTS)))
@pytest.mark.parametrize("backbone", BACKBONES)
def test_gradients_flow_through_the_state(backbone, parts):
    network = built(backbone, parts)
    gradients = []
    for lengths in ([4], [2, 1, 1]):
        clip = random_clip(1, 4, 3, 32, 32).requires_grad_()
        logits, _ = in_chunks(network, clip, lengths)
        logits[0, 2].backward()
        gradients.append(clip.grad)
        network.zero_grad()
    assert gradients[0][0, 0].abs().max() > 1e-4
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_a_causal_network_trains():
    network = build_rgb_network(
        backbone="resnet18", num_classes=3, width=0.125, causal=True, dropout=0.0, **PLAIN
    )
    nn.init.normal_(network.fc.weight)
    network(random_clip(2, 3, 3, 40, 40)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@torch.no_grad()
def test_the_sum_of_logits_is_kept_in_single_precision():
    network = lively(backbone="resnet18", causal=True, **PLAIN).to(torch.bfloat16)
    clip = random_clip(1, 2, 3, 32, 32).bfloat16()
    logits, state = network.advance(clip)
    assert (logits.dtype, state.total.dtype) == (torch.bfloat16, torch.float32)
    assert state.parts[0].dtype == torch.bfloat16


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_shift_of_a_causal_network_is(backbone):
    for causal in (True, False):
        parts = built(backbone, causal=causal).modules()
        shifts = [part.causal for part in parts if isinstance(part, TemporalShift)]
        assert shifts == [causal] * len(shifts)
        assert len(shifts) >= 8


@torch.no_grad()
def test_without_a_shift_nothing_has_to_be_remembered():
    network = lively(backbone="resnet18", causal=True, shift=False, **PLAIN)
    clip = random_clip(1, 3, 3, 32, 32)
    logits, states = in_chunks(network, clip, [1, 2])
    assert states[-1].parts == ()
    torch.testing.assert_close(logits, network(clip), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("causal", "training", "message"),
    [
        (False, False, r"found one that is not causal\. Mend: train with network\.causal=true"),
        (True, True, r"found one that is in training mode\. Mend: call eval\(\)"),
    ],
)
def test_a_network_that_cannot_take_chunks_says_so(causal, training, message):
    network = lively(backbone="resnet18", causal=causal, **PLAIN).train(training)
    with pytest.raises(UsageError, match=message) as caught:
        network.advance(random_clip(1, 2, 3, 32, 32))
    assert caught.value.code == "CFG-035"


@torch.no_grad()
@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((2, 1, 3, 32, 40), r"found 1 frames of 2 clips of 32x40; expected 1 or more of 1 clips"),
        ((1, 1, 3, 40, 32), r"found 1 frames of 1 clips of 40x32; .* of 1 clips of 32x40\. Mend:"),
        ((1, 0, 3, 32, 40), r"found 0 frames"),
    ],
)
def test_frames_that_do_not_fit_the_state_are_refused(size, message):
    network = built("resnet18")
    _, state = network.advance(random_clip(1, 2, 3, 32, 40))
    with pytest.raises(UsageError, match=message) as caught:
        network.advance(torch.zeros(size), state)
    assert caught.value.code == "CFG-037"


def test_chunks_for_a_difference_stem_are_whole_snippets():
    network = built("resnet18", stem_frames=2)
    with pytest.raises(UsageError, match="found 3 frames; expected a multiple of the 2") as caught:
        network.advance(random_clip(1, 3, 3, 32, 32))
    assert caught.value.code == "CFG-036"
