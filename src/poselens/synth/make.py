"""Write a drawn data set as a folder: videos, skeletons, classes and a cross-subject protocol."""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from poselens.data.info import ClipRecord, DatasetInfo, Part, ProtocolInfo, SkeletonInfo
from poselens.data.video import write_video
from poselens.data.writer import FolderWriter
from poselens.errors import UsageError
from poselens.synth.actions import CLASSES, FAMILIES, MIRROR, PAIRS
from poselens.synth.clip import FPS, Order, draw_clip
from poselens.synth.difficulty import Difficulty, get_difficulty
from poselens.synth.motions import Motions, load_motions

PROTOCOL = "cross-subject"
ROUNDS = (1, 7, 6, 2, 3, 8, 4, 5)
"""Subjects in the order in which they act: all three parts are there after three rounds."""

_BATCH = 256


@dataclass(frozen=True)
class Summary:
    """What was drawn.

    Attributes:
        clips: Number of clips.
        classes: Number of classes.
        frames: Frames of all videos.
        parts: Clips per part of the cross-subject protocol.
        seconds: Time it took.
    """

    clips: int
    classes: int
    frames: int
    parts: dict[str, int]
    seconds: float


@dataclass(frozen=True, eq=False)
class _Drawn:
    """What comes back from a worker."""

    subject: str
    view: str
    pixels: Float[np.ndarray, "1 t v 2"]
    metres: Float[np.ndarray, "1 t v 3"]


def part_of(number: int) -> Part:
    """Return the part of a subject: 1-5 train, 6 validate, 7 and 8 test."""
    return "train" if number <= 5 else "val" if number == 6 else "test"


def make_dataset(
    out: Path,
    *,
    clips: int,
    seed: int,
    difficulty: str = "standard",
    motion: Path | None = None,
    size: tuple[int, int] = (144, 192),
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Draw a data set into a new folder.

    Every byte follows from (seed, index of the clip) and the options, whatever the number of
    workers. Classes take turns, and after each round of classes the subjects take turns.

    Args:
        out: The folder; it appears complete or not at all.
        clips: Number of clips.
        seed: Seed of subjects and clips.
        difficulty: ``easy``, ``standard`` or ``hard``.
        motion: A joint file whose takes are acted instead of the sixteen procedural actions.
        size: Height and width of the pictures; even.
        workers: Processes, all processors if None.
        progress: Called with (clips done, clips in all) after each clip.

    Raises:
        UsageError: ``CFG-013`` unknown difficulty, ``CFG-014`` a number out of range, ``DATA-020``
            the folder exists.
        SkeletonError: ``SKEL-030`` to ``SKEL-032`` for an unusable joint file.
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when the folder cannot be written.
    """
    began = time.perf_counter()
    plan = make_plan(clips, seed, difficulty, motion, size)
    parts: Counter[str] = Counter()
    frames = 0
    with FolderWriter(out, _info(difficulty, plan.motions)) as writer:
        folder = writer.staging / "videos"
        folder.mkdir()
        for index, (order, source, drawn) in enumerate(_draw_all(plan, folder, workers)):
            part = part_of(order.number)
            writer.add(
                ClipRecord(
                    id=clip_id(index),
                    video=f"videos/{clip_id(index)}.mp4",
                    label=order.label,
                    subject=drawn.subject,
                    view=drawn.view,
                    source=source,
                    width=size[1],
                    height=size[0],
                ),
                {PROTOCOL: part},
                {"pixels": drawn.pixels, "metres": drawn.metres},
            )
            parts[part] += 1
            frames += drawn.pixels.shape[1]
            if progress is not None:
                progress(index + 1, clips)
    return Summary(clips, len(plan.classes), frames, dict(parts), time.perf_counter() - began)


def clip_id(index: int) -> str:
    """Return the id of a clip; it says nothing about the class."""
    return f"synth-{index:06d}"


def _require(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError("CFG-014", f"{name} is {value}, expected {low} to {high}")


@dataclass(frozen=True, eq=False)
class Plan:
    """Which clips are drawn.

    Attributes:
        clips: Number of clips.
        seed: Seed of the data set.
        difficulty: Ranges of the picture and the sensor.
        size: Height and width of the pictures.
        motions: Recorded takes, or None for the procedural actions.
    """

    clips: int
    seed: int
    difficulty: Difficulty
    size: tuple[int, int]
    motions: Motions | None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their labels."""
        return CLASSES if self.motions is None else self.motions.classes

    def order(self, index: int) -> tuple[Order, str]:
        """Return what to draw for one clip, and the recording it comes from."""
        turn, label = divmod(index, len(self.classes))
        number = ROUNDS[turn % len(ROUNDS)]
        joints, source = None, clip_id(index)
        if self.motions is not None:
            takes = takes_of(self.motions, label, part_of(number))
            take = int(takes[turn % len(takes)])
            joints, source = self.motions.take(take), self.motions.block(take)
        order = Order(self.seed, index, label, number, self.difficulty, self.size, joints)
        return order, source


def make_plan(
    clips: int, seed: int, difficulty: str, motion: Path | None, size: tuple[int, int]
) -> Plan:
    """Check the options of a data set and open its joint file.

    Raises:
        UsageError: ``CFG-013``, ``CFG-014``.
        SkeletonError: ``SKEL-030`` to ``SKEL-032``.
    """
    setting = get_difficulty(difficulty)
    _require("clips", clips, 1, 1_000_000)
    _require("seed", seed, 0, 2**63 - 1)
    for name, side in zip(("height", "width"), size, strict=True):
        _require(name, side, 64, 2160)
        if side % 2:
            raise UsageError("CFG-014", f"{name} is {side}, expected an even number of pixels")
    return Plan(clips, seed, setting, size, None if motion is None else load_motions(motion))


def takes_of(motions: Motions, label: int, part: Part) -> NDArray[np.int64]:
    """Return the takes of a class that a part may use.

    Blocks of neighbouring takes stay together: about 60 % of the blocks train, 15 % validate, the
    last ones test, and every part has one at least.
    """
    takes = np.flatnonzero(motions.labels == label)
    block = motions.blocks[takes]
    count = int(block.max()) + 1
    train = min(max(1, round(0.6 * count)), count - 2)
    val = min(max(1, round(0.15 * count)), count - train - 1)
    bounds = {"train": (0, train), "val": (train, train + val), "test": (train + val, count)}
    low, high = bounds[part]
    return np.asarray(takes[(block >= low) & (block < high)])


def _draw_all(plan: Plan, folder: Path, workers: int | None) -> Iterator[tuple[Order, str, _Drawn]]:
    """Draw every clip in turn and write its video; workers only change the time it takes."""
    count = workers if workers is not None else len(os.sched_getaffinity(0))
    if count <= 1 or plan.clips == 1:
        for index in range(plan.clips):
            order, source = plan.order(index)
            yield order, source, _draw(order, folder)
        return
    # spawn, not fork: the caller may hold threads (torch, a progress bar)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(count, plan.clips), mp_context=context) as pool:
        for start in range(0, plan.clips, _BATCH):
            planned = [plan.order(i) for i in range(start, min(start + _BATCH, plan.clips))]
            orders = [order for order, _ in planned]
            drawn = pool.map(_draw, orders, [folder] * len(orders), chunksize=4)
            for (order, source), result in zip(planned, drawn, strict=True):
                yield order, source, result


def _draw(order: Order, folder: Path) -> _Drawn:
    """Draw one clip and write its video (runs in a worker)."""
    clip = draw_clip(order)
    write_video(folder / f"{clip_id(order.index)}.mp4", clip.pictures(), fps=FPS, crf=23)
    return _Drawn(clip.subject, clip.view, clip.pixels, clip.metres)


def _info(difficulty: str, motions: Motions | None) -> DatasetInfo:
    """Return the description of the data set."""
    classes = CLASSES if motions is None else motions.classes
    description = "subjects 1-5 train, 6 validates, 7 and 8 test"
    if motions is not None:
        description += "; blocks of neighbouring takes stay in one part"
    return DatasetInfo(
        name=f"synth-{difficulty}",
        classes=list(classes),
        skeletons={
            "pixels": SkeletonInfo(layout="coco-17", dimensions=2),
            "metres": SkeletonInfo(layout="coco-17", dimensions=3),
        },
        protocols={
            PROTOCOL: ProtocolInfo(
                description=description, group="subject", chance=1.0 / len(classes)
            )
        },
        hierarchy={}
        if motions is not None
        else {
            "action": [family for family, pair in zip(FAMILIES, PAIRS, strict=True) for _ in pair]
        },
        mirror=MIRROR if motions is None else "none",
        source="drawn by poselens data synth" + ("" if motions is None else " from recorded takes"),
        licence="Apache-2.0" if motions is None else "terms of the joint file",
        fps=FPS,
    )
