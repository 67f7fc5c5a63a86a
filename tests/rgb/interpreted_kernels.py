"""The shift's kernel against the plain shift, run by Triton's interpreter; see ``test_kernels.py``.

Not collected of itself: the interpreter is chosen before Triton is imported.
"""

import os

import pytest
import torch

from poselens.rgb import quick
from poselens.rgb.temporal_shift import shift

assert os.environ["TRITON_INTERPRET"] == "1"


@pytest.mark.parametrize("size", [(2, 4, 16, 3, 5), (1, 1, 8, 2, 2), (3, 5, 24, 1, 3)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_slopes(size, causal, dtype):
    frames = torch.randn(size[0] * size[1], *size[2:], generator=torch.Generator().manual_seed(0))
    clip = torch.unflatten(
        frames.to(dtype).contiguous(memory_format=torch.channels_last), 0, size[:2]
    ).requires_grad_()
    moved = size[2] // 8
    found = quick.shift(clip, later=0 if causal else moved, earlier=moved)
    expected = shift(clip, causal=causal)
    assert torch.equal(found, expected)
    assert found.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    slope = torch.randn_like(expected)
    theirs, ours = (torch.autograd.grad(out, clip, slope)[0] for out in (expected, found))
    assert torch.equal(ours, theirs)
