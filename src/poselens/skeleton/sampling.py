"""From clips of any length to the frames that the network sees: for each clip a row of indices.

All numbers are float64 on the way to an index, as they are in numpy: a rounding that falls to the
other side would take another frame.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

Sampling = Literal["crop", "uniform", "random", "resize"]


class Frames(NamedTuple):
    """Which frames of each clip to read, counted from its first.

    Attributes:
        before: Frame at or before each place in the window.
        after: The frame after it, or None where no frame is interpolated.
        weight: Share of ``after``.
    """

    before: Int[Tensor, "n s"]
    after: Int[Tensor, "n s"] | None = None
    weight: Float[Tensor, "n s"] | None = None


def choose(
    lengths: Int[Tensor, " n"],
    *,
    window: int,
    sample: Sampling,
    share: Float[Tensor, " n"] | float = 1.0,
    place: Float[Tensor, " n"] | None = None,
    inside: Float[Tensor, "n s"] | None = None,
) -> Frames:
    """Choose the frames of a batch.

    Args:
        lengths: Frames of each clip.
        window: Frames to choose.
        sample: ``crop`` (:func:`crop_and_resize`), ``uniform`` (:func:`uniform_sample`), ``random``
            (:func:`random_sample`) or ``resize``, which is ``crop`` of the whole clip.
        share: Share of the frames that ``crop`` keeps.
        place: Numbers in [0, 1) that place the crop; None for the middle.
        inside: Numbers in [0, 1) of ``uniform`` and ``random``; None at test.
    """
    if sample == "uniform":
        return uniform_sample(lengths, window=window, inside=inside)
    if sample == "random":
        return random_sample(lengths, window=window, inside=inside)
    if sample == "resize":
        return crop_and_resize(lengths, window=window, share=1.0)
    return crop_and_resize(lengths, window=window, share=share, place=place)


def crop_and_resize(
    lengths: Int[Tensor, " n"],
    *,
    window: int = 64,
    share: Float[Tensor, " n"] | float = 0.95,
    place: Float[Tensor, " n"] | None = None,
) -> Frames:
    """Keep a share of the frames and interpolate it linearly to ``window`` frames.

    Published training draws the share from (0.5, 1) and its place at random, and tests at 0.95 in
    the middle (CTR-GCN, after Chen et al. 2021).

    Departure: first and last frame of the share are kept exactly, so that no motion is 0 at the
    ends; the share may be shorter than the window.
    """
    frames = lengths.double()
    kept = (share * frames).round().clamp(min=1).minimum(frames)
    spare = frames - kept
    start = (spare / 2 if place is None else place.double() * (spare + 1)).floor().minimum(spare)
    at = _steps(window, lengths.device) * ((kept - 1) / max(window - 1, 1))[:, None]
    before = at.floor().minimum((kept - 2).clamp(min=0)[:, None])
    after = (before + 1).minimum(kept[:, None] - 1)
    start = start[:, None]
    return Frames((start + before).long(), (start + after).long(), (at - before).float())


def uniform_sample(
    lengths: Int[Tensor, " n"], *, window: int = 64, inside: Float[Tensor, "n s"] | None = None
) -> Frames:
    """Split each clip into ``window`` equal parts and take one frame of each.

    Which one ``inside`` says, 0 to 1; without it, the middle one. Clips shorter than the window
    repeat frames, in order. Duan et al., Revisiting Skeleton-based Action Recognition, CVPR 2022.
    """
    frames = lengths.double()[:, None]
    steps = _steps(window, lengths.device)
    first, last = steps * (frames / window), (steps + 1) * (frames / window)
    within = 0.5 if inside is None else inside.double()
    chosen = (first + within * (last - first)).floor()
    return Frames(chosen.minimum(frames - 1).long())


def random_sample(
    lengths: Int[Tensor, " n"], *, window: int = 64, inside: Float[Tensor, "n s"] | None = None
) -> Frames:
    """Take frames of a clip at random, with replacement and in order; at test evenly spaced ones.

    ``floor(inside * frames)``, sorted; at test ``floor`` of ``window`` numbers from the first frame
    to the last. The public CTR-GCN recipe for NW-UCLA.
    """
    frames = lengths.double()[:, None]
    if inside is None:
        chosen = _steps(window, lengths.device) * ((frames - 1) / max(window - 1, 1))
    else:
        chosen = inside.double().sort(dim=1).values * frames
    return Frames(chosen.floor().minimum(frames - 1).long())


def _steps(window: int, device: torch.device) -> Float[Tensor, " s"]:
    return torch.arange(window, dtype=torch.float64, device=device)
