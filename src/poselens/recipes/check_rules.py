"""What counts as wrong with a clip, how badly, and what to do about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from poselens.data.duplicates import STILL
from poselens.data.folder import ClipFolder
from poselens.data.joint_facts import MARGIN, JointFacts, doubtful_unit
from poselens.recipes.check_ledger import Columns, Ledger
from poselens.types import Space

Severity = Literal["error", "warning", "note"]

PAPER_FRAMES = 48
"""Frames that the paper reads of a clip: 8 segments of 6."""

CUT_SHORT = 0.9
"""Share of the promised frames below which a video counts as cut short."""

_SPACES: tuple[Space, Space] = ("pixels", "metres")


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong with a clip.

    Attributes:
        code: Stable code, see ``docs/reference/errors.md``.
        severity: ``error`` makes the check fail, ``warning`` with ``--strict``, ``note`` never.
        title: What it is, for the clips concerned.
        mend: What to do.
        find: Tells for every clip whether it is so.
        say: Says it of one clip.
    """

    code: str
    severity: Severity
    title: str
    mend: str
    find: Callable[["Facts"], Bool[np.ndarray, " n"]]
    say: Callable[["Facts", int], str]


class Facts:
    """The columns, and what the data set says about its clips.

    Args:
        folder: The data set.
        columns: What was found out.
        ledger: Where the text of it lies.
    """

    def __init__(self, folder: ClipFolder, columns: Columns, ledger: Ledger) -> None:
        self.folder = folder
        self.columns = columns
        self._ledger = ledger
        spans, sizes = folder.spans(), folder.sizes()
        self.start_s, self.end_s = spans[0], spans[1]
        self.width, self.height = sizes[0], sizes[1]

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self.columns[name]

    def worst(self, name: str) -> NDArray[np.float32]:
        """Return the larger of a fact of the joints in both spaces, NaN where there are none."""
        found: NDArray[np.float32] = np.fmax(self[f"pixels_{name}"], self[f"metres_{name}"])
        return found

    def least(self, name: str) -> NDArray[np.float32]:
        """Return the smaller of a fact of the joints in both spaces."""
        found: NDArray[np.float32] = np.fmin(self[f"pixels_{name}"], self[f"metres_{name}"])
        return found

    def joints(self, clip: int, space: Space) -> JointFacts:
        """Return the facts of the joints of one clip."""
        names = JointFacts.__dataclass_fields__
        return JointFacts(**{name: float(self[f"{space}_{name}"][clip]) for name in names})  # type: ignore[arg-type] # whole numbers are kept as floats

    def fault(self, clip: int) -> dict[str, str | None]:
        """Return code, message and mend of why the video of a clip cannot be used."""
        fault: dict[str, str | None] = self._ledger.read(int(self.columns.place[clip]))["fault"]
        return fault


def _cut_short(facts: Facts) -> NDArray[np.bool_]:
    promised = facts["video_promised"]
    return np.asarray((promised > 0) & (facts["video_decoded"] < CUT_SHORT * promised))


def _damaged(facts: Facts) -> NDArray[np.bool_]:
    fewer = facts["video_decoded"] < 0.99 * facts["video_promised"]
    return np.asarray((fewer | (facts["video_damaged"] > 0)) & ~_cut_short(facts))


def _say_decoded(facts: Facts, clip: int) -> str:
    decoded, promised = facts["video_decoded"][clip], facts["video_promised"][clip]
    text = f"{decoded:.0f} frames" if promised == 0 else f"{decoded:.0f} of {promised:.0f} frames"
    broken = facts["video_damaged"][clip]
    return f"{text} decoded" + (
        f", {broken:.0f} of them or their packets damaged" if broken else ""
    )


def _ends_late(facts: Facts) -> NDArray[np.bool_]:
    end = facts.end_s * facts["video_fps"]
    late = end - facts["video_decoded"]
    return np.asarray((late > np.maximum(1, 0.02 * facts["frames"])) & (facts["frames"] > 0))


def _other_size(facts: Facts) -> NDArray[np.bool_]:
    wide = (facts.width > 0) & (facts.width != facts["video_width"])
    high = (facts.height > 0) & (facts.height != facts["video_height"])
    return np.asarray((wide | high) & np.isfinite(facts["video_width"]))


def _other_length(facts: Facts) -> NDArray[np.bool_]:
    frames = facts["frames"]
    wrong = np.zeros(len(frames), np.bool_)
    for space in _SPACES:
        apart = np.abs(facts[f"{space}_frames"] - frames)
        wrong |= (frames > 0) & (apart > np.maximum(1, 0.02 * frames))
    return wrong


def _say_length(facts: Facts, clip: int) -> str:
    stored = facts.worst("frames")[clip]
    return f"joints of {stored:.0f} frames, the video has {facts['frames'][clip]:.0f}"


def _other_rate(facts: Facts) -> NDArray[np.bool_]:
    stated, found = facts.folder.info.fps, facts["video_fps"]
    if stated is None:
        return np.zeros(len(found), np.bool_)
    return np.asarray((found > 0) & (np.abs(found - stated) > 0.01 * stated))


def _stands_still(facts: Facts) -> NDArray[np.bool_]:
    held = (facts.worst("frozen") > 0.5) & ~_motionless(facts)
    return held | (_stuck(facts) > 0) | (facts.worst("collapsed") > 0)


def _stuck(facts: Facts) -> NDArray[np.float32]:
    """Return joints that never move, beyond those that stand still in every clip.

    Some layouts have a joint on the ground below the body, or at the origin.
    """
    stuck = facts.worst("stuck")
    known = stuck[np.isfinite(stuck)]
    return stuck - known.min(initial=np.inf) if len(known) else stuck


def _say_still(facts: Facts, clip: int) -> str:
    parts = []
    if facts.worst("frozen")[clip] > 0.5:
        parts.append(f"nobody moves in {facts.worst('frozen')[clip]:.0%} of the steps")
    stuck = _stuck(facts)[clip]
    if stuck > 0:
        parts.append(f"{stuck:.0f} {'joint never moves' if stuck == 1 else 'joints never move'}")
    if facts.worst("collapsed")[clip] > 0:
        parts.append(f"all joints in one point in {facts.worst('collapsed')[clip]:.0%} of bodies")
    return ", ".join(parts)


def _motionless(facts: Facts) -> NDArray[np.bool_]:
    frames = np.fmax(facts["frames"], facts.worst("frames"))
    still = (facts.worst("motion") < 1e-4) | ((facts["motion"] < STILL) & (facts["frames"] > 1))
    return np.asarray(still | (frames == 1))


def _say_motionless(facts: Facts, clip: int) -> str:
    if np.fmax(facts["frames"], facts.worst("frames"))[clip] == 1:
        return "a single frame"
    if facts.worst("motion")[clip] < 1e-4:
        return f"the joints do not move in {facts.worst('frames')[clip]:.0f} frames"
    return f"the picture changes by {facts['motion'][clip]:.2f} grey levels"


def _doubtful(facts: Facts) -> NDArray[np.bool_]:
    """Most clips cannot be in doubt by their size; only the others are looked at one by one."""
    doubtful = np.zeros(len(facts.columns), np.bool_)
    for space in _SPACES:
        size = facts[f"{space}_size"]
        for clip in np.flatnonzero(
            (size < 4) if space == "pixels" else (size > 15) | (size < 0.02)
        ):
            doubtful[clip] |= doubtful_unit(space, facts.joints(int(clip), space)) is not None
    return doubtful


def _say_unit(facts: Facts, clip: int) -> str:
    parts = []
    for space in _SPACES:
        joints = facts.joints(clip, space)
        unit = doubtful_unit(space, joints)
        if unit is not None:
            parts.append(f"a body of {joints.size:.3g} {space}: likely {unit}")
    return "; ".join(parts)


def _said_fault(facts: Facts, clip: int) -> str:
    return facts.fault(clip)["message"] or ""


RULES = (
    Rule(
        "CHK-001", "error", "The video, or the clip in it, cannot be read",
        "mend or replace the file, or remove its row from clips.csv",
        lambda facts: facts.columns.fault >= 0,
        _said_fault,
    ),
    Rule(
        "CHK-002", "error", "The video is cut short",
        "copy or download it again; training would repeat the last frame that is there",
        _cut_short, _say_decoded,
    ),
    Rule(
        "CHK-003", "warning", "The video is damaged, or frames are missing",
        "look at it; copy it again, or leave the clip out if the action cannot be seen",
        _damaged, _say_decoded,
    ),
    Rule(
        "CHK-004", "warning", "The clip ends after its video",
        "correct end_s in clips.csv",
        _ends_late,
        lambda facts, clip: f"end_s is {facts.end_s[clip]:g}, the video lasts "
        f"{facts['video_decoded'][clip] / facts['video_fps'][clip]:.2f} s",
    ),
    Rule(
        "CHK-005", "error", "clips.csv gives another picture size than the video has",
        "correct width and height, or the video; joints in pixels belong to the size in the file",
        _other_size,
        lambda facts, clip: f"clips.csv says {facts.width[clip]}x{facts.height[clip]}, the video "
        f"is {facts['video_width'][clip]:.0f}x{facts['video_height'][clip]:.0f}",
    ),
    Rule(
        "CHK-006", "error", "Joints and video differ in length",
        "find joints again, or give start_s and end_s; frame 1 of one must be frame 1 of the other",
        _other_length, _say_length,
    ),
    Rule(
        "CHK-007", "warning", "The frame rate varies",
        "convert to a constant rate: ffmpeg -i IN -vf fps=30 OUT.mp4; times in seconds are else "
        "some frames off",
        lambda facts: facts["video_uneven"] > 0.02,
        lambda facts, clip: f"{facts['video_uneven'][clip]:.0%} of the steps between frames are a "
        f"fifth longer or shorter than the others (mean {facts['video_fps'][clip]:.2f} fps)",
    ),
    Rule(
        "CHK-008", "warning", "The picture changes its size within the video",
        "convert it to one size; frames are scaled to that of the first one",
        lambda facts: facts["video_sizes"] > 1,
        lambda facts, clip: f"{facts['video_sizes'][clip]:.0f} sizes",
    ),
    Rule(
        "CHK-009", "note", "The video is stored turned",
        "nothing to do, it is turned upright; joints must belong to the upright picture",
        lambda facts: facts["video_rotation"] > 0,
        lambda facts, clip: f"by {facts['video_rotation'][clip]:.0f} degrees",
    ),
    Rule(
        "CHK-010", "note", f"Shorter than the {PAPER_FRAMES} frames that the paper reads",
        "nothing to do, frames are read more than once",
        lambda facts: np.fmax(facts["frames"], facts.worst("frames")) < PAPER_FRAMES,
        lambda facts, clip: f"{np.fmax(facts['frames'], facts.worst('frames'))[clip]:.0f} frames",
    ),
    Rule(
        "CHK-012", "error", "Nobody in any frame",
        "find joints with another estimator, or leave the clip out of skeleton streams",
        lambda facts: facts.worst("coverage") == 0,
        lambda facts, clip: f"no joint in {facts.worst('frames')[clip]:.0f} frames",
    ),
    Rule(
        "CHK-013", "warning", "Nobody in half of the frames",
        "look whether the person leaves the picture, and cut the clip to the action",
        lambda facts: (facts.least("coverage") < 0.5) & (facts.worst("coverage") > 0),
        lambda facts, clip: f"a person in {facts.least('coverage')[clip]:.0%} of the frames",
    ),
    Rule(
        "CHK-014", "warning", "Many joints are missing",
        "look at the clip; film the whole body, or use another estimator",
        lambda facts: facts.worst("missing") > 0.3,
        lambda facts, clip: f"{facts.worst('missing')[clip]:.0%} of the joints of people seen",
    ),
    Rule(
        "CHK-015", "warning", "Joints outside the picture",
        "check that joints belong to this video at this size: pixels of the upright, full frame",
        lambda facts: facts["pixels_outside"] > 0.05,
        lambda facts, clip: f"{facts['pixels_outside'][clip]:.0%} of the joints lie more than "
        f"{MARGIN:.0%} beyond the edge",
    ),
    Rule(
        "CHK-016", "warning", "Joints stand still that should move",
        "look at the clip: trackers repeat the last pose, or write one number, when they lose it",
        _stands_still, _say_still,
    ),
    Rule(
        "CHK-017", "warning", "Nothing moves",
        "look at the clip: a still picture has no action",
        _motionless, _say_motionless,
    ),
    Rule(
        "CHK-018", "warning", "Another frame rate than dataset.yaml says",
        "correct fps in dataset.yaml, or leave it empty where it differs between clips",
        _other_rate,
        lambda facts, clip: f"{facts['video_fps'][clip]:.2f} fps, dataset.yaml says "
        f"{facts.folder.info.fps:g}",
    ),
    Rule(
        "CHK-019", "warning", "Joints in another unit, it seems",
        "import the data set again with joints in pixels of the frame, or in metres",
        _doubtful, _say_unit,
    ),
)  # fmt: skip
