"""From the name of a published protocol to the clips of a data set that follow it."""

import hashlib
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from poselens.data.folder import ClipFolder
from poselens.data.info import nearest
from poselens.errors import UsageError
from poselens.evaluation.protocols import PROTOCOLS, Protocol, known, shortfall


@dataclass(frozen=True, eq=False)
class Resolved:
    """A protocol as a data set has it.

    Attributes:
        name: Name of the split in the data set.
        published: The published protocol that was meant, or None for one of the data set's own.
        clips: Clips of the part to judge, where they are not all of it; None for all of it.
        copies: How many were left out because they are copies of training clips.
        notes: What keeps a number from being the protocol's, a sentence each.
    """

    name: str
    published: Protocol | None
    clips: NDArray[np.int64] | None = None
    copies: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Name for people: the published name, and the data set's own where it differs."""
        if self.published is None or self.published.name == self.name:
            return self.name
        return f"{self.published.name} (here {self.name!r})"


def resolve_protocol(folder: ClipFolder, name: str, part: str = "test") -> Resolved:
    """Find the split that ``name`` means in a data set, and compare its counts with the published.

    A data set's own names go first. A published name is taken where the data set has the split
    under another one, and as many classes; where several of its splits may be meant, the counts
    decide. Fewer clips than are published make a note that says how many of how many; more are
    refused. A data set may call a split of its own by a published name: where classes or counts
    tell that it is another one, a note says so.

    Raises:
        UsageError: ``CFG-004`` a name that neither the data set nor the field has, ``EVAL-040``
            more clips than the complete data set has, ``EVAL-041`` another number of classes, or
            no split that could be this protocol.
    """
    own, published = folder.info.protocols, known(name)
    if published is None:
        if name not in own:
            choices = [*own, *(entry.name for entry in PROTOCOLS)]
            raise UsageError(
                "CFG-004",
                f"unknown protocol {name!r}{nearest(name, choices)}",
                file=folder.root,
                mend=f"use one of {', '.join(own)}" if own else "add one to dataset.yaml",
            )
        return Resolved(name, None)
    try:
        _require_classes(folder, published)
        split = name if name in own else _split_of(folder, published)
        return _counted(folder, split, published, part)
    except UsageError as fault:
        if name not in own or published.without_copies:
            raise
        return Resolved(name, None, notes=[f"not the published {name}: {fault.message}"])


def published_test_clips(protocol: str) -> int | None:
    """Return how many clips the test part of a published protocol has, None where unknown."""
    entry = known(protocol)
    return max(entry.expected("test"), default=None) if entry is not None else None


def _split_of(folder: ClipFolder, published: Protocol) -> str:
    """Return the data set's split that can be meant, by its name, then by its counts."""
    own, wanted = folder.info.protocols, published.expected("test")
    choices = [split for split in published.own_names if split in own]
    exact = [split for split in choices if _count(folder, split, "test") in wanted]
    if exact or choices:
        return (exact or choices)[0]
    raise UsageError(
        "EVAL-041",
        f"the data set has no split that could be {published.name} ({published.data}); "
        f"it has {', '.join(own) or 'none'}",
        file=folder.root,
        mend="import that data set, or use one of the data set's own names",
    )


def _require_classes(folder: ClipFolder, published: Protocol) -> None:
    found = len(folder.info.classes)
    if published.classes is not None and found != published.classes:
        raise UsageError(
            "EVAL-041",
            f"{published.name} has {published.classes} classes ({published.data}), the data set "
            f"{folder.info.name!r} has {found}",
            file=folder.root,
            mend="use the data set's own name for its split",
        )


def _counted(folder: ClipFolder, split: str, published: Protocol, part: str) -> Resolved:
    clips, copies, notes = None, 0, []
    if published.without_copies and part == "test":
        clips, copies = _without_copies(folder, split)
        left = len(clips) + copies
        notes.append(
            f"{copies} of {left} test clips are copies of training or validation clips and are "
            "left out"
        )
    counted: list[Literal["train", "test"]] = ["train", "test"]
    for which in counted:
        found = _count(folder, split, which)
        if which == "test" and clips is not None:
            found = len(clips)
        short = shortfall(published, which, found)
        if short is not None:
            notes.append(f"a subset: {short}; a number on it is not the protocol's")
    return Resolved(split, published, clips, copies, notes)


def _count(folder: ClipFolder, split: str, part: Literal["train", "test"]) -> int:
    parts = folder.parts(split)
    return int(np.isin(parts, ["train", "val"] if part == "train" else ["test"]).sum())


def _without_copies(folder: ClipFolder, split: str) -> tuple[NDArray[np.int64], int]:
    """Return the test clips whose joints no training clip has, and how many there were besides."""
    parts = folder.parts(split)
    seen = {_digest(folder, int(clip)) for clip in np.flatnonzero(np.isin(parts, ["train", "val"]))}
    test = folder.indices(split, "test")
    kept = [clip for clip in test.tolist() if _digest(folder, clip) not in seen - {None}]
    return np.array(kept, np.int64), len(test) - len(kept)


def _digest(folder: ClipFolder, clip: int) -> bytes | None:
    """Return a digest of a clip's joints in every space, None for a clip without any."""
    digest, known_joints = hashlib.sha256(), False
    for space in sorted(folder.info.skeletons):
        skeleton = folder.skeleton(clip, space)
        if skeleton is not None:
            known_joints = True
            digest.update(f"{space} {skeleton.positions.shape}".encode())
            digest.update(skeleton.positions.tobytes())
    return digest.digest() if known_joints else None
