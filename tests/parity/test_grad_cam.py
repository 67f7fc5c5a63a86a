"""Grad-CAM against its equation, written as loops; the gradient is measured, not derived."""

import numpy as np
import pytest
import torch
from rgb_networks import KINDS, small_clips, small_network

from poselens.explain import cam

STEP = 1e-5


def maps_of(network, layer, clips, shift=None):
    """The layer's maps (n, s, c, i, j), and the logits when ``shift`` (c,) is added to them."""
    kept = []

    def hook(_module, _inputs, output):
        maps = output if output.dim() == 5 else output.unflatten(0, (len(clips), -1))
        kept.append(maps.clone())
        if shift is None:
            return output
        return output + shift.view(*[1] * (output.dim() - 3), -1, 1, 1)

    handle = network.backbone.get_submodule(layer).register_forward_hook(hook)
    try:
        logits = network(clips)
    finally:
        handle.remove()
    return kept[0], logits


def naive(network, layer, clip, label, against=None):
    """relu of the maps' sum, each weighed by the mean gradient over times and places."""
    score = lambda logits: float(  # noqa: E731
        logits[0, label] - (0 if against is None else logits[0, against])
    )
    maps, _ = maps_of(network, layer, clip)
    _, times, channels, rows, columns = maps.shape
    places = times * rows * columns
    heat = np.zeros((times, rows, columns))
    for channel in range(channels):
        shift = torch.zeros(channels, dtype=clip.dtype)
        shift[channel] = STEP
        up = score(maps_of(network, layer, clip, shift)[1])
        down = score(maps_of(network, layer, clip, -shift)[1])
        # the derivative along a shift of all places is the sum of the derivatives by each
        alpha = (up - down) / (2 * STEP) / places
        for time in range(times):
            for row in range(rows):
                for column in range(columns):
                    heat[time, row, column] += alpha * float(maps[0, time, channel, row, column])
    return np.maximum(heat, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_grad_cam_is_its_equation(kind):
    frames = 6 if kind == "difference-stem" else 3
    network, clips = small_network(kind).double(), small_clips(2, frames, 32).double()
    layer = "features.16" if kind == "mobilenetv2" else "layer3.1"
    labels = np.array([2, 0])
    with torch.no_grad():
        expected = [
            naive(network, layer, clips[row : row + 1], int(labels[row])) for row in range(2)
        ]
    found = cam.attribute_frames(network, clips, labels, layer=layer)
    for row in range(2):
        heat = torch.from_numpy(expected[row])[None]
        large = torch.nn.functional.interpolate(heat, size=(32, 32), mode="bilinear")[0].numpy()
        assert large.max() > 0
        np.testing.assert_allclose(found[row], large / large.max(), atol=2e-4)


@pytest.mark.parametrize("kind", ["resnet18", "mobilenetv2"])
def test_a_pair_is_the_lead_of_one_class_over_the_other(kind):
    network, clip = small_network(kind).double(), small_clips(1, 4, 64).double()
    layer = "features.17" if kind == "mobilenetv2" else "layer4.1"
    with torch.no_grad():
        expected = naive(network, layer, clip, 1, against=2)
    found = cam.attribute_frames(network, clip, np.array([1]), against=np.array([2]), layer=layer)[
        0
    ]
    heat = torch.from_numpy(expected)[None]
    large = torch.nn.functional.interpolate(heat, size=(64, 64), mode="bilinear")[0].numpy()
    np.testing.assert_allclose(found, large / large.max(), atol=2e-4)


def test_the_last_layer_weighs_its_maps_as_the_classifier_does():
    """Mean pooling and a linear layer: the map is the class's own part of the logits (CAM)."""
    network, clips = small_network("staa"), small_clips(2, 4, 96)
    with torch.no_grad():
        maps = network.features(clips)
    weights = network.fc.weight[1].detach()
    expected = torch.einsum("ntchw,c->nthw", maps, weights).relu()
    expected = torch.nn.functional.interpolate(expected, size=(96, 96), mode="bilinear")
    expected = expected / expected.amax(dim=(1, 2, 3), keepdim=True)
    found = cam.attribute_frames(network, clips, np.array([1, 1]))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_hirescam_and_plus_plus_are_their_equations():
    network, clip = small_network().double(), small_clips(1, 3, 32).double()
    kept = []

    def hook(_module, _inputs, output):
        kept.append(output)

    handle = network.backbone.layer2[1].register_forward_hook(hook)
    score = network(clip)[0, 1]
    handle.remove()
    # written over in place by nothing that follows, so it is still the layer's output
    gradient = torch.autograd.grad(score, kept)[0][0].numpy()
    maps = kept[0][0].detach().numpy()
    product = np.zeros((3, *maps.shape[2:]))
    second = np.zeros_like(product)
    for channel in range(maps.shape[1]):
        a, g = maps[:, channel], gradient[:, channel]
        product += a * g
        below = 2 * g**2 + a.sum() * g**3
        alpha = np.divide(g**2, below, out=np.zeros_like(g), where=below != 0)
        second += (alpha * np.maximum(g, 0)).sum() * a
    for method, heat in (("hirescam", product), ("gradcam++", second)):
        heat = torch.from_numpy(np.maximum(heat, 0))[None]
        large = torch.nn.functional.interpolate(heat, size=(32, 32), mode="bilinear")[0].numpy()
        found = cam.attribute_frames(network, clip, np.array([1]), method=method, layer="layer2.1")
        np.testing.assert_allclose(found[0], large / large.max(), atol=1e-4)
