"""The annotation pickles of PYSKL and MMAction2: a list of skeletons, and splits by name.

Format: ``tools/data/README.md`` of github.com/kennymckormick/pyskl. A file is a dict of
``annotations`` (a list) and ``split`` (a list of names for each part); older ones are the list
alone. An annotation has ``frame_dir`` (or ``filename``), ``label``, ``total_frames``, ``keypoint``
(people, frames, joints, 2 or 3), and for joints in pixels ``img_shape`` (height, width) and
``keypoint_score``. Zeros stand for what was not seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Float

from poselens.data.clip_limits import FRAME_LIMIT, PEOPLE_LIMIT
from poselens.data.pickled_arrays import PickledArray, WrongArray
from poselens.data.store import zeros_are_missing
from poselens.errors import AnnotationError, SkeletonError
from poselens.types import Space

NAME_KEYS = ("frame_dir", "filename")
SIDE_LIMIT = 100_000
JOINT_LIMIT = 1_000


@dataclass(frozen=True, eq=False)
class PoseAnnotation:
    """One clip of the file.

    Attributes:
        id: Its ``frame_dir``.
        label: Class index.
        position: Place in the list, from 0.
        space: ``pixels`` or ``metres``.
        size: Height and width of the picture that pixels refer to, None where not said.
        keypoint: ``(m, t, v, c)`` numbers that are still in the file.
        score: ``(m, t, v)`` confidences, None where there are none.
        third_is_score: Whether the third coordinate of ``keypoint`` is the confidence.
    """

    id: str
    label: int
    position: int
    space: Space
    size: tuple[int, int] | None
    keypoint: PickledArray
    score: PickledArray | None
    third_is_score: bool

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.keypoint.shape[1]

    @property
    def joints(self) -> int:
        """Number of joints."""
        return self.keypoint.shape[2]

    def positions(self, path: Path, min_score: float) -> Float[np.ndarray, "m t v c"]:
        """Return float32 joints, NaN where all coordinates or the confidence are zero.

        Departure: the field takes a joint of any confidence above nothing, so does ``min_score`` 0;
        a higher one is the least confidence of a joint that counts as seen.

        Raises:
            AnnotationError: ``PKL-004`` when the array is not what the file said.
            SkeletonError: ``SKEL-010`` when no joint is left.
        """
        try:
            # before any arithmetic: files keep half precision
            joints = self.keypoint.read().astype(np.float32)
            score = None if self.score is None else self.score.read().astype(np.float32)
        except WrongArray as fault:
            raise AnnotationError(
                "PKL-004", str(fault), file=path, where=self.place, mend="save arrays of numbers"
            ) from fault
        if self.third_is_score:
            score, joints = joints[..., 2], joints[..., :2]
        joints = zeros_are_missing(joints)
        if score is not None:
            joints[~((score > 0) & (score >= min_score))] = np.nan
        if not np.isfinite(joints).any():
            raise SkeletonError(
                "SKEL-010", "no joint in any frame", file=path, where=self.place,
                mend="leave the clip out",
            )  # fmt: skip
        return joints

    @property
    def place(self) -> str:
        """Where it stands, for error texts."""
        return place_of(self.position, self.id)


@dataclass(frozen=True, eq=False)
class AnnotationFile:
    """What a file says, but for the joints.

    Attributes:
        annotations: Clips that can be used.
        splits: Names of clips by the name of a part; None where the file has no splits.
        unusable: Clips that are left out, by name, and why.
        without_score: Clips with joints in pixels and no confidences; every joint is taken as seen.
    """

    annotations: Sequence[PoseAnnotation]
    splits: Mapping[str, Sequence[str]] | None
    unusable: Mapping[str, SkeletonError]
    without_score: int


def place_of(position: int, name: str) -> str:
    """Return how an annotation is called in error texts."""
    return f"annotation {position} {name!r}"


def read_annotations(content: object, path: Path) -> AnnotationFile:
    """Check what a pickle holds, as far as that needs no joints.

    Raises:
        AnnotationError: ``PKL-006`` when it is no list of annotations, or one has no name or
            joints; ``DATA-006`` for a label that is no class index; ``DATA-007`` for a name that is
            there twice.
    """
    listed: object
    if isinstance(content, dict):
        listed, splits = content.get("annotations"), _splits(content.get("split"), path)
    else:
        listed, splits = content, None
    if not isinstance(listed, list | tuple):
        _refuse(
            f"found {_kind(content)}, expected a dict with a list of annotations",
            path, "", "give an annotation file of PYSKL or MMAction2",
        )  # fmt: skip
    kept: list[PoseAnnotation] = []
    unusable: dict[str, SkeletonError] = {}
    seen: dict[str, int] = {}
    for position, entry in enumerate(listed):
        name, fields = _name(entry, position, path)
        if name in seen:
            raise AnnotationError(
                "DATA-007", f"{name!r} is there twice, as annotations {seen[name]} and {position}",
                file=path, where=place_of(position, name), mend="leave one of them out",
            )  # fmt: skip
        seen[name] = position
        try:
            kept.append(_annotation(name, fields, position, path))
        except SkeletonError as fault:
            unusable[name] = fault
    without = sum(
        entry.space == "pixels" and entry.score is None and not entry.third_is_score
        for entry in kept
    )
    return AnnotationFile(kept, splits, unusable, without)


def text_of(value: object) -> str | None:
    """Return text of either kind that Python 2 and 3 write; None for anything else."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def _refuse(message: str, path: Path, where: str, mend: str) -> NoReturn:
    raise AnnotationError("PKL-006", message, file=path, where=where or "the pickle", mend=mend)


def _kind(value: object) -> str:
    if isinstance(value, dict):
        keys = ", ".join(repr(key)[:40] for key in list(value)[:6])
        return f"a dict of {keys}" if keys else "an empty dict"
    return f"a {type(value).__name__}"


def _splits(value: object, path: Path) -> dict[str, list[str]] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        _refuse(f"found {_kind(value)}", path, "split", "give lists of names by part")
    splits: dict[str, list[str]] = {}
    for part, names in value.items():
        if isinstance(names, PickledArray) and names.dtype.kind in "US" and len(names.shape) == 1:
            names = _read_names(names, path, f"split {part!r}"[:80])
        if not isinstance(names, list | tuple):
            _refuse(f"found {_kind(names)}", path, f"split {part!r}"[:80], "give a list of names")
        texts = [text_of(name) for name in names]
        if None in texts:
            place = texts.index(None)
            _refuse(
                f"found {_kind(names[place])}, expected the name of a clip",
                path, f"split {part!r}, entry {place}"[:80], "give a list of names",
            )  # fmt: skip
        splits[str(part)] = [text for text in texts if text is not None]
    return splits


def _read_names(names: PickledArray, path: Path, where: str) -> list[object]:
    try:
        listed: list[object] = names.read().tolist()
    except ValueError as fault:
        raise AnnotationError(
            "PKL-004", "names that cannot be read", file=path, where=where, mend="save a list"
        ) from fault
    return listed


def _name(entry: object, position: int, path: Path) -> tuple[str, Mapping[object, object]]:
    if not isinstance(entry, dict):
        _refuse(
            f"found {_kind(entry)}, expected a dict", path, f"annotation {position}",
            "give an annotation file of PYSKL or MMAction2",
        )  # fmt: skip
    for key in NAME_KEYS:
        name = text_of(entry.get(key))
        if name:
            return name, entry
    _refuse(
        f"found {_kind(entry)}, expected a text under {' or '.join(NAME_KEYS)}",
        path, f"annotation {position}", "give every annotation a name",
    )  # fmt: skip


def _annotation(
    name: str, entry: Mapping[object, object], position: int, path: Path
) -> PoseAnnotation:
    where = place_of(position, name)
    label = entry.get("label")
    if not isinstance(label, int) or isinstance(label, bool) or label < 0:
        found = label if isinstance(label, int | float) else type(label).__name__
        raise AnnotationError(
            "DATA-006", f"label {found!r}, expected a whole number from 0", file=path, where=where,
            mend="give class indices",
        )  # fmt: skip
    keypoint = entry.get("keypoint")
    if not isinstance(keypoint, PickledArray):
        _refuse(
            f"keypoint is {_kind(keypoint)}, expected an array", path, where,
            "give a file that holds the joints itself; those of Kinetics lie in files of their own",
        )  # fmt: skip
    score = entry.get("keypoint_score")
    if score is not None and not isinstance(score, PickledArray):
        _refuse(f"keypoint_score is {_kind(score)}", path, where, "give an array")
    size = _size(entry.get("img_shape"))
    _check_shapes(keypoint, score, entry.get("total_frames"), path, where)
    coordinates = keypoint.shape[3]
    flat = coordinates == 3 and size is not None and score is None and keypoint.shape[2] != 25
    return PoseAnnotation(
        id=name,
        label=label,
        position=position,
        space="pixels" if coordinates == 2 or flat else "metres",
        size=size,
        keypoint=keypoint,
        score=score,
        third_is_score=flat,
    )


def _size(value: object) -> tuple[int, int] | None:
    """Return height and width, None where they are not said or make no sense."""
    if not isinstance(value, list | tuple) or len(value) < 2:
        return None
    height, width = value[:2]
    if not isinstance(height, int) or not isinstance(width, int):
        return None
    fits = 0 < height <= SIDE_LIMIT and 0 < width <= SIDE_LIMIT
    return (height, width) if fits else None


def _check_shapes(
    keypoint: PickledArray, score: PickledArray | None, total: object, path: Path, where: str
) -> None:
    def refuse(code: str, message: str, mend: str) -> SkeletonError:
        return SkeletonError(code, message, file=path, where=where, mend=mend)

    shape = keypoint.shape
    form = "(people, frames, joints, 2 or 3)"
    if len(shape) != 4 or shape[3] not in (2, 3) or keypoint.dtype.kind not in "fiu":
        raise refuse(
            "SKEL-005", f"keypoint is {keypoint.dtype} {shape}, expected numbers {form}",
            f"give {form}",
        )  # fmt: skip
    if 0 in shape:
        raise refuse("SKEL-010", f"no joint in any frame: keypoint is {shape}", "leave it out")
    if shape[0] > PEOPLE_LIMIT or shape[1] > FRAME_LIMIT or shape[2] > JOINT_LIMIT:
        raise refuse(
            "SKEL-003",
            f"keypoint is {shape}, the limits are {PEOPLE_LIMIT} people, {FRAME_LIMIT} frames and "
            f"{JOINT_LIMIT} joints",
            "split the clip",
        )
    if score is not None and (score.shape != shape[:3] or score.dtype.kind not in "fiu"):
        raise refuse(
            "SKEL-005", f"keypoint_score is {score.dtype} {score.shape}, expected {shape[:3]}",
            "give one score a joint",
        )  # fmt: skip
    if isinstance(total, int) and total != shape[1]:
        raise refuse(
            "SKEL-005", f"total_frames is {total}, but keypoint has {shape[1]} frames",
            "give joints for every frame",
        )  # fmt: skip
