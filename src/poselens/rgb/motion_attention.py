"""Motion attention (MA): Eq. (3)-(5)."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from poselens.rgb.memory import Memory

Mask = Literal["global", "per-frame", "squeeze", "full"]
"""What Eq. (4) makes of the differences."""
Motion = Literal["signed", "absolute"]
"""Whether a fall counts as much as a rise."""
Phi = Literal["own", "depthwise"]
"""The convolution of Eq. (5): the block's own, or a depthwise one before it."""

REDUCTION = 16
"""Channels over hidden channels of the ``squeeze`` mask."""


def _along_time(parts: Sequence[Float[Tensor, "n _ c h w"]]) -> Float[Tensor, "n t c h w"]:
    # With channels last a concatenation keeps the layout that one of 5-d views would lose.
    return torch.cat([part.movedim(2, -1) for part in parts], dim=1).movedim(-1, 2)


def _pair_peaks(
    frames: Float[Tensor, "n t c h w"], mask: Mask, motion: Motion
) -> Float[Tensor, "n s c i j"]:
    """Pool the difference of each pair of neighbouring frames over space, all of it or 3x3."""
    moved = frames[:, 1:] - frames[:, :-1]
    if motion == "absolute":
        moved = moved.abs()
    if mask != "full":
        # The gradient of a maximum without an index looks for the number again. A compiler that
        # computes it in other bits finds it nowhere, and divides by how often it was found.
        peaks = moved.movedim(2, -1).flatten(2, 3).max(dim=2).values
        return peaks[..., None, None]
    peaks = F.max_pool2d(moved.flatten(0, 1), kernel_size=3, stride=1, padding=1)
    return torch.unflatten(peaks, 0, moved.shape[:2])


def _peaks_so_far(
    clip: Float[Tensor, "n t c h w"], mask: Mask, motion: Motion, memory: Memory | None
) -> Float[Tensor, "n t c i j"]:
    """Pool for each frame over pairs that end at it or earlier; the first frame of all has none."""
    size = clip.shape[3:] if mask == "full" else (1, 1)
    none_yet = clip.new_full((clip.shape[0], 1, clip.shape[2], *size), -math.inf)
    last_frame = last_peak = None
    # What is left of the peaks depends on what was left before, so it is filled in at the end.
    left = torch.empty_like(none_yet)
    if memory is not None:
        last_frame = memory.exchange(clip[:, -1:].clone())
        last_peak = memory.exchange(left)
    frames = clip if last_frame is None else _along_time([last_frame, clip])
    pairs = _pair_peaks(frames, mask, motion)
    peaks = _along_time([none_yet if last_peak is None else last_peak, pairs])
    if mask == "global":
        peaks = torch.cummax(peaks, dim=1).values
    left.copy_(peaks[:, -1:])
    ending = peaks[:, 1:] if mask == "global" else torch.maximum(peaks[:, 1:], peaks[:, :-1])
    if last_frame is None:
        return _along_time([torch.zeros_like(none_yet), ending])
    return ending


def motion_mask(
    clip: Float[Tensor, "n t c h w"],
    *,
    mask: Mask = "global",
    motion: Motion = "signed",
    causal: bool = False,
    squeeze: nn.Module | None = None,
    memory: Memory | None = None,
) -> Float[Tensor, "n s c i j"]:
    r"""Score the channels of a clip by their strongest rise between neighbouring frames.

    .. math::
        F(t) = M(t+1) - M(t), \qquad F_{mask} = \sigma(\max_t \max_{h,w} F)

    Eq. (3) and (4). (s, i, j) is (1, 1, 1) for ``global``, (t, 1, 1) for ``per-frame`` and
    ``squeeze``, (t, h, w) for ``full``; causal masks have s = t.

    Departure: Eq. (3) gives T - 1 differences while the text lists T of them. A padded zero would
    hide a negative maximum, so only the T - 1 real pairs are pooled. A frame without a pair, the
    only one of a clip or the first of a causal one, has no motion: its mask is sigma(0), or what
    ``squeeze`` makes of 0.

    Departure: ``global`` is Eq. (4) as it stands. It gives all frames one mask and no place, though
    the text promises "localized" motion. The other masks pool over the two pairs of frames t-1, t,
    t+1 (at the ends over the one there is), over all of space or over 3x3 positions.

    Departure: the sign stays, as written; ``absolute`` takes the size of F.

    Args:
        clip: Features M.
        mask: What is pooled.
        motion: F, or its size.
        causal: Pool over pairs that end at t or earlier: all of them for ``global``, else the
            last two.
        squeeze: Maps frames (m, c, 1, 1) before sigma.
        memory: What earlier parts of a causal clip left; others ignore it.
    """
    if causal:
        peaks = _peaks_so_far(clip, mask, motion, memory)
    elif clip.shape[1] == 1:
        peaks = torch.zeros_like(clip[:, :, :, :1, :1])
    else:
        peaks = _pair_peaks(clip, mask, motion)
        if mask == "global":
            peaks = peaks.max(dim=1, keepdim=True).values
        else:
            inner = torch.maximum(peaks[:, 1:], peaks[:, :-1])
            peaks = _along_time([peaks[:, :1], inner, peaks[:, -1:]])
    if squeeze is not None:
        peaks = torch.unflatten(squeeze(peaks.flatten(0, 1)), 0, peaks.shape[:2])
    return torch.sigmoid(peaks)


def _squeeze(channels: int) -> nn.Sequential:
    """Map the peaks through a narrow layer, as in Hu, Shen, Sun: CVPR 2018."""
    hidden = max(1, channels // REDUCTION)
    narrow = nn.Conv2d(channels, hidden, kernel_size=1, bias=False)
    widen = nn.Conv2d(hidden, channels, kernel_size=1)
    nn.init.kaiming_normal_(narrow.weight, mode="fan_in", nonlinearity="relu")
    nn.init.kaiming_normal_(widen.weight, mode="fan_in", nonlinearity="relu")
    nn.init.zeros_(widen.bias)  # type: ignore[arg-type] # it has one
    return nn.Sequential(narrow, nn.BatchNorm2d(hidden), nn.ReLU(inplace=True), widen)


class MotionAttention(nn.Module):
    r"""Add the features, weighed by how much their channels move, to their context. Eq. (3)-(5).

    .. math:: M_{map} = \gamma \cdot M \odot F_{mask} + \varphi(M)

    with :math:`\varphi` of `poselens.rgb.staa.Staa`.

    Departure: gamma, one number per channel, is not in Eq. (5). It starts at 0, so that a
    pretrained block computes at first exactly what it did. ``start="literal"`` is the equation:
    there is no gamma. Where the convolution has a stride the masked term is averaged over the same
    cells.

    Departure: ``squeeze`` is not in the paper. Peaks of features that are not normalised saturate
    sigma, and a layer between can learn otherwise: 1x1 to c/16, normalisation, ReLU, 1x1 back to c.
    Its normalisation needs two frames in a training batch.

    Args:
        channels: c, of the features and of their context.
        stride: Of phi.
        mask: What Eq. (4) pools; see `motion_mask`.
        motion: Differences with their sign, or their size alone.
        start: ``identity`` begins without effect, ``literal`` has no gamma.
        causal: No frame looks at a later one.
    """

    def __init__(
        self,
        *,
        channels: int,
        stride: int = 1,
        mask: Mask = "global",
        motion: Motion = "signed",
        start: Literal["identity", "literal"] = "identity",
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride
        self.mask: Mask = mask
        self.motion: Motion = motion
        self.causal = causal
        self.gamma = nn.Parameter(torch.zeros(channels)) if start == "identity" else None
        self.squeeze = _squeeze(channels) if mask == "squeeze" else None

    def forward(
        self,
        clip: Float[Tensor, "n t c h w"],
        context: Float[Tensor, "n t c i j"],
        memory: Memory | None = None,
    ) -> Float[Tensor, "n t c i j"]:
        """Return the motion map of ``clip``, given ``context`` = phi(clip)."""
        weight = motion_mask(
            clip,
            mask=self.mask,
            motion=self.motion,
            causal=self.causal,
            squeeze=self.squeeze,
            memory=memory,
        )
        if self.gamma is not None:
            weight = weight * self.gamma.view(-1, 1, 1)
        weight = weight.to(context.dtype)
        if self.stride == 1:
            return torch.addcmul(context, clip, weight)
        if self.mask == "full":
            return context + self._pooled(clip * weight)
        return torch.addcmul(context, self._pooled(clip), weight)

    def _pooled(self, clip: Float[Tensor, "n t c h w"]) -> Float[Tensor, "n t c i j"]:
        # ceil_mode and the exclusion of padding match ceil(h / stride) cells at odd sizes.
        pooled = F.avg_pool2d(
            clip.flatten(0, 1), self.stride, ceil_mode=True, count_include_pad=False
        )
        return torch.unflatten(pooled, 0, clip.shape[:2])

    def extra_repr(self) -> str:
        """Show width, stride and what is read how."""
        when = ", causal" if self.causal else ""
        start = "literal" if self.gamma is None else "identity"
        return (
            f"channels={self.channels}, stride={self.stride}, mask={self.mask}, "
            f"motion={self.motion}, start={start}{when}"
        )
