"""The GPU kernel of the RGB branch, in Triton: the temporal shift in one pass over memory.

The plain spelling, which every other device runs, is in ``temporal_shift``.
"""

import triton
import triton.language as tl


@triton.jit
def move(frames, out, numbers, channels, apart, length, later, earlier,
          WAY: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Copy a block of numbers; channels are the innermost axis, frames are ``apart`` numbers."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    channel, time = at % channels, (at // apart) % length
    step = tl.where(channel < later, WAY, tl.where(channel < later + earlier, -WAY, 0))
    there = (at < numbers) & (time + step >= 0) & (time + step < length)
    value = tl.load(frames + at + step * apart, mask=there, other=0.0)
    tl.store(out + at, value, mask=at < numbers)
