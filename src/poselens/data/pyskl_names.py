"""What the names of an annotation pickle tell: which published data set it is, and its protocols.

NTU RGB+D names its recordings ``SsssCcccPpppRrrrAaaa`` (setup, camera, person, repetition, action);
FineGym names its clips by video, event and element. Of other files the names are just names.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from poselens.data.finegym_lists import gym_id
from poselens.data.info import ClipRecord, Column, Part
from poselens.data.ntu_protocols import NTU60, NTU120, read_name
from poselens.data.pyskl_file import PoseAnnotation
from poselens.errors import AnnotationError

GIVEN, RANDOM = "given", "random"
_SPLIT = re.compile(r"(?:(?P<prefix>.+?)[_-]?)?(?P<part>train|val|test)(?P<number>[0-9]*)")
_NTU_GROUPS: Mapping[str, Column] = {"xsub": "subject", "xview": "view", "xset": "session"}


@dataclass(frozen=True)
class Naming:
    """Which data set the names belong to.

    Attributes:
        kind: ``ntu``, ``gym``, or ``other`` where names tell nothing.
        prefix: What protocols of the file are called after; empty for ``other``.
        classes: Number of classes of the data set, None where unknown.
    """

    kind: Literal["ntu", "gym", "other"]
    prefix: str = ""
    classes: int | None = None


@dataclass(frozen=True)
class NamedSplit:
    """A protocol of the file.

    Attributes:
        name: Its name in the data set.
        parts: The file's own names of the parts that train, select and test.
        group: Column that the parts do not share.
    """

    name: str
    parts: Mapping[Part, str]
    group: Column | Literal["id"]


def recognise(annotations: Sequence[PoseAnnotation]) -> Naming:
    """Find out whose names these are: all of them have to be of one kind, with fitting labels."""
    for ntu in (NTU60, NTU120):
        names = [read_name(entry.id, ntu) for entry in annotations]
        if all(
            name is not None and name.label == entry.label
            for name, entry in zip(names, annotations, strict=True)
        ):
            classes = len(ntu.classes)
            return Naming("ntu", f"ntu{classes}", classes)
    if all(gym_id(entry.id) is not None for entry in annotations):
        classes = 99 if max(entry.label for entry in annotations) < 99 else 288
        return Naming("gym", f"finegym{classes}", classes)
    return Naming("other")


def record_of(entry: PoseAnnotation, naming: Naming) -> ClipRecord:
    """Return the row of a clip, with what its name tells."""
    name = read_name(entry.id, NTU120) if naming.kind == "ntu" else None
    if name is not None:
        return name.record(video=None, width=None, height=None)
    gym = gym_id(entry.id) if naming.kind == "gym" else None
    if gym is not None:
        return ClipRecord(id=entry.id, label=entry.label, source=gym.video, event=gym.event)
    return ClipRecord(id=entry.id, label=entry.label, source=entry.id)


def named_splits(
    splits: Mapping[str, Sequence[str]], naming: Naming
) -> tuple[list[NamedSplit], list[str]]:
    """Return the protocols that the file's names of parts make, and the names that are of no part.

    ``xsub_train`` and ``xsub_val`` are one protocol, ``train1`` and ``test1`` another.

    Departure: the field selects on its ``val`` part and reports on it; where there is no ``test``
    part, ``val`` is the test part here.
    """
    found: dict[str, dict[Part, str]] = {}
    groups: dict[str, Column | Literal["id"]] = {}
    others: list[str] = []
    for name in splits:
        match = _SPLIT.fullmatch(name.lower())
        if match is None:
            others.append(name)
            continue
        prefix = "-".join(part for part in (match["prefix"] or "", match["number"]) if part)
        protocol = _protocol(prefix, naming)
        part: Part = "train" if match["part"] == "train" else "val"
        part = "test" if match["part"] == "test" else part
        if part in found.setdefault(protocol, {}):
            others.append(name)
            continue
        found[protocol][part] = name
        groups[protocol] = _NTU_GROUPS.get(prefix, "id") if naming.kind == "ntu" else "id"
    for parts in found.values():
        if "test" not in parts and "val" in parts:
            parts["test"] = parts.pop("val")
    return [NamedSplit(name, parts, groups[name]) for name, parts in found.items()], others


def _protocol(prefix: str, naming: Naming) -> str:
    clean = re.sub(r"[^a-z0-9]+", "-", prefix[:60]).strip("-")
    if naming.kind == "other":
        return clean or GIVEN
    return "-".join(part for part in (naming.prefix, clean) if part)


def assign(split: NamedSplit, splits: Mapping[str, Sequence[str]], path: Path) -> dict[str, Part]:
    """Return the part of every clip that the protocol names.

    Raises:
        AnnotationError: ``PKL-007`` when a clip is in two parts.
    """
    found: dict[str, Part] = {}
    both: list[str] = []
    for part, name in split.parts.items():
        for clip in splits[name]:
            if found.setdefault(clip, part) != part:
                both.append(clip)
    if both:
        raise AnnotationError(
            "PKL-007",
            f"{len(both)} clips are in two parts of {split.name}, {both[0][:60]!r} is the first",
            file=path, where="split", mend="leave each clip in one part",
        )  # fmt: skip
    return found
