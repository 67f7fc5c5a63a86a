"""What the network sees of stored regions: views of whole batches, made where the network is.

Cutting, resizing and mirroring a picture is a matrix product on either side, so a batch whose clips
are each looked at in their own way is two batched products. The same picture comes of
``augment.apply_to_pixels``, which is faster on a CPU; ``make_clips`` is for GPUs.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from poselens.clips.augment import View
from poselens.clips.stream import RgbInput

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_BOX, _FLIPPED, _GAIN, _OFFSET, _CHANNELS = (
    slice(0, 4),
    4,
    slice(5, 8),
    slice(8, 11),
    slice(11, 14),
)
_PLAIN = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0])


def view_numbers(views: Sequence[View], *, scale: int) -> Float[Tensor, "views 14"]:
    """Return views of a square region as numbers that travel with its frames.

    Left, top, width and height in stored pixels, 1 if mirrored, gains, offsets, channels.
    """
    rows = []
    for view in views:
        box = view.pixels(rows=scale, columns=scale)
        edges = (box.left, box.top, box.width, box.height)
        rows.append((*edges, view.flipped, *view.gain, *view.offset, *view.channels))
    return torch.tensor(rows, dtype=torch.float32)


def resampling(
    first: Float[Tensor, " n"], length: Float[Tensor, " n"], *, stored: int, size: int
) -> Float[Tensor, "n size stored"]:
    r"""Return the weights that scale stored pixels ``[first, first + length)`` to ``size``.

    .. math::
        w_{ij} \propto \max\!\left(0,\; 1 - \frac{|j + \tfrac12 - f - (i + \tfrac12) r|}
        {\max(r, 1)}\right), \qquad r = \mathrm{length} / \mathrm{size},

    for :math:`j` inside the stretch and 0 outside; every row sums to 1. This is bilinear
    interpolation with antialiasing, as ``torch.nn.functional.interpolate`` does it, and as there
    for uint8 the weights are multiples of a power of 2 that keeps them in 16 bits.
    """
    first, length = first.double()[:, None, None], length.double()[:, None, None]
    ratio = length / size
    places = torch.arange(stored, device=first.device)
    middles = first + (torch.arange(size, device=first.device)[:, None] + 0.5) * ratio
    distance = (places + 0.5 - middles).abs() / ratio.clamp(min=1.0)
    inside = (places >= first) & (places < first + length)
    weights = (1 - distance).clamp_(min=0.0) * inside
    weights /= weights.sum(dim=2, keepdim=True)
    largest = weights.amax(dim=(1, 2), keepdim=True)
    unit = torch.exp2((32767.5 / largest).log2().ceil() - 1)
    return weights.mul_(unit).add_(0.5).floor_().div_(unit).float()


def look(
    frames: UInt8[Tensor, "n t h w 3"], numbers: Float[Tensor, "n 14"], *, size: int
) -> Float[Tensor, "n size t 3 size"]:
    """Return each clip in its view, in whole grey levels; rows come before frames and colours.

    Across first, then down, each rounded to grey levels, as torch does for uint8, and equal to
    ``augment.apply_to_pixels`` bit for bit. It stays so with TF32, which rounds factors to 11 bits:
    grey levels have 8, and weights are given in two parts.

    Args:
        frames: Stored regions, where the work is to be done.
        numbers: Of :func:`view_numbers`, one row per clip, on the host: what they ask for decides
            which work is left out.
        size: Side in pixels of the result.
    """
    n, t, rows, columns, _ = frames.shape
    plain = numbers[:, 5:] == _PLAIN
    given = numbers.to(frames.device, non_blocking=True)
    left, top, width, height = given[:, _BOX].unbind(dim=1)
    across = resampling(left, width, stored=columns, size=size)
    across = torch.where(given[:, _FLIPPED, None, None] > 0, across.flip(1), across)
    down = resampling(top, height, stored=rows, size=size)
    picture = frames.permute(0, 2, 1, 4, 3)
    if not bool(plain[:, 6:].all()):
        order = given[:, _CHANNELS].long().view(n, 1, 1, 3, 1).expand_as(picture)
        picture = picture.gather(3, order)
    # stride 1 along the columns, and the rows of a clip as one axis for the product below
    pixels = picture.to(torch.float32, memory_format=torch.contiguous_format)
    pixels = pixels.view(n, -1, columns)
    coarse, fine = _split(across)
    wide = _grey(torch.bmm(pixels, coarse.mT).baddbmm_(pixels, fine.mT)).view(n, rows, -1)
    coarse, fine = _split(down)
    seen = _grey(torch.bmm(coarse, wide).baddbmm_(fine, wide)).view(n, size, t, 3, size)
    if not bool(plain[:, :6].all()):
        gain, offset = (given[:, part].view(n, 1, 1, 3, 1) for part in (_GAIN, _OFFSET))
        seen = torch.addcmul(offset, seen, gain, out=seen).clamp_(0, 255).round_()
    return seen


def _split(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights as a sum of two; either has the few bits that are exact in TF32."""
    coarse = weights.mul(512).floor_().div_(512)
    return coarse, weights - coarse


def _grey(levels: Tensor) -> Tensor:
    """Round in place, halves up as torch does: at ratios such as 3:4 they are common."""
    return levels.add_(0.5).floor_()


def make_clips(
    frames: UInt8[Tensor, "n read h w 3"],
    numbers: Float[Tensor, "n crops 14"],
    settings: RgbInput,
) -> Float[Tensor, "n *views t 3 size size"]:
    """Return the network's input from the stored regions of a batch.

    The same as ``assemble.rgb_views`` and :func:`normalised`; the axis of the views, every crop at
    every offset, is there from two views on.
    """
    n, crops, t = len(frames), numbers.shape[1], settings.frames_read
    offsets = frames.shape[1] // t
    parts = frames.reshape(n * offsets, t, *frames.shape[2:])
    # a caller may be scoring in 16 bits, which grey levels between whole ones do not survive
    with torch.autocast(frames.device.type, enabled=False):
        seen = [
            _one_view(parts, numbers[:, crop].repeat_interleave(offsets, dim=0), settings)
            for crop in range(crops)
        ]
    if crops * offsets == 1:
        return seen[0]
    views = torch.stack([view.view(n, offsets, *view.shape[1:]) for view in seen], dim=1)
    return views.flatten(1, 2)


def _one_view(
    frames: UInt8[Tensor, "n t h w 3"], numbers: Float[Tensor, "n 14"], settings: RgbInput
) -> Float[Tensor, "n t 3 size size"]:
    seen = look(frames, numbers, size=settings.size)
    if settings.snippet == "mean":
        n, size = seen.shape[:2]
        snippets = seen.view(n, size, settings.segments, -1, 3, size)
        seen = snippets.mean(dim=3).round_()
    if settings.background == "subtract":
        still = seen.mean(dim=2, keepdim=True)
        seen = seen.sub_(still).div_(2).add_(128).round_().clamp_(0, 255)
    return normalised(seen.permute(0, 2, 3, 1, 4))


def normalised(clips: Tensor) -> Float[Tensor, "*n 3 h w"]:
    """Return frames of grey levels, whatever their type, with ImageNet's mean 0 and deviation 1.

    A pixel's colours lie side by side in memory (channels_last, frames of all clips in one row).
    """
    pixels = clips.movedim(-3, -1)
    made = torch.empty(pixels.shape, device=clips.device)
    factor, shift = _normalisation(clips.device, pixels.shape[-2])
    # one pass that converts and lays out, and one that scales in place, in long rows
    rows = made.copy_(pixels).flatten(-2)
    torch.addcmul(shift, rows, factor, out=rows)
    return made.movedim(-1, -3)


@lru_cache(maxsize=8)
def _normalisation(device: torch.device, columns: int) -> tuple[Tensor, Tensor]:
    """Return factor and shift of each number in a row of pixels."""
    mean, deviation = (
        torch.tensor(numbers, device=device).repeat(columns) for numbers in (_MEAN, _DEVIATION)
    )
    return 1 / (255 * deviation), -mean / deviation
