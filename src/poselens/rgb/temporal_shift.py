"""Temporal shift: neighbouring frames exchange channels at no arithmetic cost."""

from functools import lru_cache
from importlib.util import find_spec

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from poselens.rgb.memory import Memory

# Negative padding crops: the time axis, fourth from the end, moves by one in a single copy.
_EARLIER = (0, 0, 0, 0, 0, 0, -1, 1)
_LATER = (0, 0, 0, 0, 0, 0, 1, -1)


def shift(
    clip: Float[Tensor, "n t c h w"],
    fraction: float = 1 / 8,
    *,
    causal: bool = False,
    before: Float[Tensor, "n 1 b h w"] | None = None,
) -> Float[Tensor, "n t c h w"]:
    """Take the first ``fraction`` of channels from t+1, the next from t-1, the rest from t.

    A causal shift takes the first ``fraction`` from t-1 and all others from t. Beyond the ends of
    the clip there is zero. Memory layout is kept. Lin, Gan, Han: TSM, ICCV 2019; the causal one is
    their online model.

    Args:
        clip: Features of every frame.
        fraction: Share of channels taken from one side.
        causal: Whether nothing comes from later frames.
        before: What a causal shift finds before the first frame: the first ``fraction`` of channels
            of the frame before it, zero if absent.
    """
    moved = int(clip.shape[2] * fraction)
    if moved == 0:
        return clip
    if before is None and _is_quick(clip):
        from poselens.rgb import quick

        return quick.shift(clip, later=0 if causal else moved, earlier=moved)
    # A concatenation along a dimension of stride 1 keeps channels_last; along dimension 2 of the
    # 5-d view PyTorch would fall back to its own default order and copy at the next convolution.
    axis = 2 if clip.stride(2) != 1 else -1
    frames = clip if axis == 2 else clip.movedim(2, -1)
    if not causal:
        kept = clip.shape[2] - 2 * moved
        later, earlier, rest = torch.split(frames, [moved, moved, kept], dim=axis)
        parts = [F.pad(later, _EARLIER), F.pad(earlier, _LATER), rest]
    else:
        earlier, rest = torch.split(frames, [moved, clip.shape[2] - moved], dim=axis)
        if before is None:
            delayed = F.pad(earlier, _LATER)
        else:
            first = before if axis == 2 else before.movedim(2, -1)
            delayed = torch.cat([first, earlier[:, :-1]], dim=1)
        parts = [delayed, rest]
    shifted = torch.cat(parts, dim=axis)
    return shifted if axis == 2 else shifted.movedim(-1, 2)


def _is_quick(clip: Tensor) -> bool:
    """Say whether a kernel of ours takes the clip; a compiler makes its own of the plain words."""
    return (
        clip.is_cuda and clip.stride(2) == 1 and not torch.compiler.is_compiling() and _has_triton()
    )


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    return find_spec("triton") is not None


class TemporalShift(nn.Module):
    """`shift` as a part of a block, so that ``print`` shows which blocks have it."""

    def __init__(self, *, fraction: float = 1 / 8, causal: bool = False) -> None:
        super().__init__()
        self.fraction = fraction
        self.causal = causal

    def forward(
        self, clip: Float[Tensor, "n t c h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t c h w"]:
        """Return the shifted clip; shape unchanged.

        A causal shift leaves the channels in ``memory`` that the next frame will ask for.
        """
        before = None
        if self.causal and memory is not None:
            # A copy: a view would keep the features of the whole chunk alive.
            moved = int(clip.shape[2] * self.fraction)
            before = memory.exchange(clip[:, -1:, :moved].clone())
        return shift(clip, self.fraction, causal=self.causal, before=before)

    def extra_repr(self) -> str:
        """Show the share of channels taken from each side, and whether only from the past."""
        return f"fraction={self.fraction:g}" + (", causal=True" if self.causal else "")
