"""The difference stem against loops over its definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from poselens.rgb.difference_stem import DifferenceStem, snippet_differences


def differences_by_loops(snippets):
    """Average each cell of 2 x 2 pixels of each difference, over the pixels that exist."""
    clips, count, frames, _, height, width = snippets.shape
    rows, columns = (height + 1) // 2, (width + 1) // 2
    out = snippets.new_zeros(clips, count, 3 * (frames - 1), rows, columns)
    for n in range(clips):
        for s in range(count):
            for f in range(frames - 1):
                for colour in range(3):
                    later, earlier = snippets[n, s, f + 1, colour], snippets[n, s, f, colour]
                    for i in range(rows):
                        for j in range(columns):
                            pixels = [
                                (later[y, x] - earlier[y, x]).item()
                                for y in (2 * i, 2 * i + 1)
                                for x in (2 * j, 2 * j + 1)
                                if y < height and x < width
                            ]
                            out[n, s, 3 * f + colour, i, j] = sum(pixels) / len(pixels)
    return out


def convolve_by_loops(picture, weight, stride):
    """Slide a 7x7 window over a picture with a border of three zeros."""
    _, height, width = picture.shape
    rows, columns = (height - 1) // stride + 1, (width - 1) // stride + 1
    out = picture.new_zeros(len(weight), rows, columns)
    for channel in range(len(weight)):
        for i in range(rows):
            for j in range(columns):
                for y in range(7):
                    for x in range(7):
                        row, column = i * stride + y - 3, j * stride + x - 3
                        if 0 <= row < height and 0 <= column < width:
                            pixel = picture[:, row, column]
                            out[channel, i, j] += (pixel * weight[channel, :, y, x]).sum()
    return out


@settings(max_examples=25)
@given(
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(2, 6),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_differences_are_those_of_neighbours_averaged_over_cells(clips, count, frames, rows, cols):
    snippets = torch.randn(clips, count, frames, 3, rows, cols, dtype=torch.float64)
    found = snippet_differences(snippets)
    torch.testing.assert_close(found, differences_by_loops(snippets))


@torch.no_grad()
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("frames", "height", "width"), [(2, 9, 6), (3, 5, 7)])
def test_the_stem_is_its_formula(stride, frames, height, width):
    stem = DifferenceStem(frames=frames, channels=2, stride=stride).double().eval()
    nn.init.normal_(stem.gain)
    nn.init.uniform_(stem.bn.running_var, 0.5, 2)
    for values in (stem.bn.weight, stem.bn.bias, stem.bn.running_mean):
        nn.init.normal_(values)
    clip = torch.randn(2, 2 * frames, 3, height, width, dtype=torch.float64)
    snippets = clip.reshape(2, 2, frames, 3, height, width)
    assert torch.equal(stem.middle(clip), snippets[:, :, frames // 2])

    rows, columns = (((side + 1) // 2 - 1) // stride + 1 for side in (height, width))
    maps = torch.randn(2, 2, 2, rows, columns, dtype=torch.float64)
    found, differences = stem(clip, maps), differences_by_loops(snippets)
    for n in range(2):
        for s in range(2):
            convolved = convolve_by_loops(differences[n, s], stem.conv.weight, stride)
            for c in range(2):
                spread = (stem.bn.running_var[c] + stem.bn.eps).sqrt()
                normal = (convolved[c] - stem.bn.running_mean[c]) / spread
                motion = (normal * stem.bn.weight[c] + stem.bn.bias[c]).clamp(min=0)
                torch.testing.assert_close(found[n, s, c], maps[n, s, c] + stem.gain[c] * motion)


def test_gradients_are_those_of_the_formula():
    stem = DifferenceStem(frames=3, channels=2, stride=2).double().eval()
    nn.init.normal_(stem.gain)
    clip = torch.randn(1, 3, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    maps = torch.randn(1, 1, 2, 2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(stem, (clip, maps))
