"""From clips to the array that goes into a network: whole batches, on any device.

What needs no chance is done once a clip (``ready``); the rest for all clips of a batch at once, by
the same code in training, validation and prediction.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from poselens.pose.layouts import Layout
from poselens.skeleton import augment, sampling
from poselens.skeleton.augment import Draws
from poselens.skeleton.normalise import Footing, normalise
from poselens.skeleton.ready import ReadyClip, ready
from poselens.skeleton.sampling import Sampling

NO_DRAWS = Draws()


@dataclass(frozen=True, eq=False)
class ReadyBatch:
    """Ready clips, one behind the other; the rows may hold other clips too.

    Attributes:
        rows: Frames of all clips.
        start: First row of each clip.
        frames: Frames of each clip.
        origin: Origin of each clip.
        length: Mean bone length of each clip.
        longest: No clip has more frames. A number of the host: it gives a tensor its shape.
    """

    rows: Float[Tensor, "r m v c"]
    start: Int[Tensor, " n"]
    frames: Int[Tensor, " n"]
    origin: Float[Tensor, "n c"]
    length: Float[Tensor, " n"]
    longest: int


def prepare(
    positions: Float[np.ndarray, "m t v c"],
    *,
    layout: Layout,
    people: int = 1,
    window: int = 64,
    sample: Sampling = "crop",
    interval: float = 0.95,
    footing: Footing = "centre",
    frame_size: tuple[int, int] | None = None,
    face: bool = False,
    vertical: int = 1,
) -> Float[np.ndarray, "c s v p"]:
    """Prepare one clip for prediction: a batch of one.

    Args:
        positions: NaN where missing.
        layout: Layout of ``positions``.
        people: People in the result.
        window: Frames in the result.
        sample: See ``sampling.choose``.
        interval: Share of the frames that ``crop`` keeps.
        footing: See ``normalise.normalise``.
        frame_size: ``(height, width)`` in pixels, for the footing ``frame``.
        face: Whether to turn the shoulders along x (3D).
        vertical: Index of the coordinate along the vertical (3D).

    Raises:
        SkeletonError: ``SKEL-004`` for a wrong joint count, ``SKEL-020`` for a clip without anyone.
        UsageError: ``CFG-023`` for the footing ``frame`` without a frame size.
    """
    clip = ready(positions, layout=layout, people=people, face=face, vertical=vertical)
    prepared = prepare_batch(
        batch_of_one(clip),
        layout=layout,
        window=window,
        sample=sample,
        interval=interval,
        footing=footing,
        frame_size=frame_size,
    )
    return prepared[0].numpy()


def batch_of_one(clip: ReadyClip) -> ReadyBatch:
    """Return a clip as a batch."""
    return ReadyBatch(
        rows=torch.from_numpy(clip.positions),
        start=torch.zeros(1, dtype=torch.int64),
        frames=torch.tensor([len(clip.positions)]),
        origin=torch.from_numpy(clip.origin)[None],
        length=torch.tensor([clip.length]),
        longest=len(clip.positions),
    )


def prepare_batch(
    batch: ReadyBatch,
    *,
    layout: Layout,
    window: int = 64,
    sample: Sampling = "crop",
    interval: float = 0.95,
    footing: Footing = "centre",
    frame_size: tuple[int, int] | None = None,
    draws: Draws = NO_DRAWS,
) -> Float[Tensor, "n c s v m"]:
    """Turn, normalise, sample and vary the joints of a batch of clips.

    In this order: clips are turned at random, normalised, brought to ``window`` frames, then
    mirrored, stretched and sheared, jittered and thinned. What is still missing, and an absent
    person, is NaN in the result; the network reads it as 0 after the stream has been formed.

    Linear interpolation between frames and one map for a whole clip may change places, so only the
    frames of the window are turned and moved; ``range`` and ``box`` look at every frame before.
    Shapes do not depend on the clips, and nothing is asked of the device.

    Args:
        batch: Clips, of :func:`poselens.skeleton.ready.ready`.
        layout: Layout of the joints.
        window: Frames in the result.
        sample: See ``sampling.choose``.
        interval: Share of the frames that ``crop`` keeps where none was drawn.
        footing: See ``normalise.normalise``.
        frame_size: ``(height, width)`` in pixels, for the footing ``frame``.
        draws: What chance decided, a row for each clip.

    Raises:
        UsageError: ``CFG-023`` for the footing ``frame`` without a frame size.
    """
    frames = sampling.choose(
        batch.frames,
        window=window,
        sample=sample,
        share=interval if draws.share is None else draws.share,
        place=draws.place,
        inside=draws.inside,
    )
    joints = _read(batch, frames)
    whole = _every_frame(batch) if footing in ("range", "box") else None
    if draws.turn is not None:
        joints = augment.rotate(joints, draws.turn, about=batch.origin)
        whole = None if whole is None else augment.rotate(whole, draws.turn, about=batch.origin)
    joints = normalise(
        joints,
        footing=footing,
        origin=batch.origin,
        length=batch.length,
        whole=whole,
        frame_size=frame_size,
    )
    if draws.mirrored is not None:
        joints = augment.mirror(joints, layout, draws.mirrored)
    if draws.linear is not None:
        joints = augment.apply_maps(joints, draws.linear)
    if draws.jitter is not None:
        joints = joints + draws.jitter
    if draws.lost is not None:
        joints = augment.drop_joints(joints, draws.lost)
    return joints.permute(0, 4, 1, 3, 2).contiguous()


def _read(batch: ReadyBatch, frames: sampling.Frames) -> Float[Tensor, "n s m v c"]:
    first = batch.start[:, None]
    joints: Tensor = batch.rows[first + frames.before]
    if frames.after is None or frames.weight is None:
        return joints
    weight = frames.weight[:, :, None, None, None]
    return torch.lerp(joints, batch.rows[first + frames.after], weight)


def _every_frame(batch: ReadyBatch) -> Float[Tensor, "n T m v c"]:
    """Return every frame of each clip; shorter ones repeat their last."""
    time = torch.arange(batch.longest, device=batch.start.device)
    frame = time.minimum(batch.frames[:, None] - 1)
    joints: Tensor = batch.rows[batch.start[:, None] + frame]
    return joints
