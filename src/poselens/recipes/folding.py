"""The folds of a cross-validation: parts of a data set whose test part stays out of all of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from poselens.data.folder import ClipFolder
from poselens.data.folds import deal_folds
from poselens.data.info import COLUMN_NAMES, Column, Part, ProtocolInfo, nearest
from poselens.data.splits import carve
from poselens.errors import UsageError


@dataclass(frozen=True)
class Folding:
    """How a data set is to be folded.

    Attributes:
        folds_of: Name of folds that the data set has: ``NAME-1``, ``NAME-2``, ...; or None.
        leave_out: Column whose values are left out in turn, or None.
        folds: Number of folds of ``leave_out``; None for one per value.
        protocol: Protocol whose test part is left alone; None where the data set has one only.
        with_test: Use every clip, test parts of other protocols included.
        val: Share of what trains that validates, for ``leave_out``.
        seed: Of the deal.
    """

    folds_of: str | None = None
    leave_out: str | None = None
    folds: int | None = None
    protocol: str | None = None
    with_test: bool = False
    val: float = 0.2
    seed: int = 0


@dataclass(frozen=True, eq=False)
class FoldedPart:
    """One fold.

    Attributes:
        name: ``fold-1``, ...
        protocol: Name of the fold's split in ``folder``.
        folder: The data set with that split.
        groups: What is left out, in words.
    """

    name: str
    protocol: str
    folder: ClipFolder
    groups: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Folded:
    """All folds.

    Attributes:
        folds: They.
        by: Column of the groups; ``id`` where single clips are left out.
        group: Group by clip id; None for single clips.
        kept_out: Clips of the protected test part, and whose it is.
        notes: What else is to be known.
    """

    folds: list[FoldedPart]
    by: str
    group: dict[str, str] | None
    kept_out: tuple[int, str | None]
    notes: list[str]


def fold_data(folder: ClipFolder, wanted: Folding) -> Folded:
    """Return the folds of a data set, without the clips that test under another protocol.

    Raises:
        UsageError: ``CFG-113`` neither or both of ``folds_of`` and ``leave_out``, or several
            protocols whose test part may be meant; ``CFG-114`` no folds of this name, or no such
            column; ``CFG-004`` unknown protocol; ``DATA-014`` fewer groups than folds, or too few
            to train and validate on.
    """
    if (wanted.folds_of is None) == (wanted.leave_out is None):
        raise UsageError(
            "CFG-113",
            "found both folds and a column to leave out, expected one of them"
            if wanted.folds_of
            else "found neither folds nor a column to leave out",
            mend="give --folds-of NAME or --leave-out COLUMN",
        )
    guarded = _guarded(folder, wanted)
    closed = np.zeros(len(folder), np.bool_)
    if guarded is not None:
        closed = folder.parts(guarded) == "test"
    kept_out = (int(closed.sum()), guarded)
    if wanted.folds_of is not None:
        return _given_folds(folder, wanted.folds_of, closed, kept_out)
    return _left_out(folder, wanted, closed, kept_out)


def _family(folder: ClipFolder, name: str) -> list[str]:
    """Return the protocols ``name-1``, ``name-2``, ... in the order of their numbers."""
    pattern = re.compile(re.escape(name) + r"-([0-9]{1,4})")
    found = {int(match[1]): split for split in folder.info.protocols
             if (match := pattern.fullmatch(split))}  # fmt: skip
    return [found[number] for number in sorted(found)]


def _guarded(folder: ClipFolder, wanted: Folding) -> str | None:
    """Return the protocol whose test part is left alone."""
    if wanted.with_test:
        if wanted.protocol is not None:
            raise UsageError(
                "CFG-113",
                f"found the test part of {wanted.protocol!r} to leave alone, and to use",
                mend="give --protocol or --with-test",
            )
        return None
    if wanted.protocol is not None:
        # an unknown name is refused here
        folder.parts(wanted.protocol)
        return wanted.protocol
    folds = set(_family(folder, wanted.folds_of)) if wanted.folds_of else set()
    others = [name for name in folder.info.protocols if name not in folds]
    if len(others) > 1:
        raise UsageError(
            "CFG-113",
            f"the data set has {len(others)} protocols ({', '.join(others)}): the test part of "
            "which is to be left alone?",
            file=folder.root,
            mend="name it with --protocol, or use every clip with --with-test",
        )
    return others[0] if others else None


def _given_folds(
    folder: ClipFolder, name: str, closed: NDArray[np.bool_], kept_out: tuple[int, str | None]
) -> Folded:
    splits = _family(folder, name)
    if len(splits) < 2:
        raise UsageError(
            "CFG-114",
            f"the data set has {len(splits)} folds called {name}-1, {name}-2, ..."
            f"{nearest(name, folder.info.protocols)}",
            file=folder.root,
            mend=f"make them with `poselens data split --name {name} --by subject --folds 5`",
        )
    column = folder.info.protocols[splits[0]].group
    group = _groups(folder, column) if column in COLUMN_NAMES else None
    folds: list[FoldedPart] = []
    notes: list[str] = []
    for number, split in enumerate(splits, start=1):
        parts = folder.parts(split)
        held = parts == "test"
        if not (held & ~closed).any():
            notes.append(f"{split} tests on no clip outside the test part of {kept_out[1]!r}")
            continue
        there = folder
        if (closed & (parts != "")).any():
            left = ["" if shut else part for shut, part in zip(closed, parts.tolist(), strict=True)]
            there = folder.with_split(split, folder.info.protocols[split], left)
        names = _names(folder, held & ~closed, group)
        folds.append(FoldedPart(f"fold-{number}", split, there, names))
    return Folded(folds, column, group, kept_out, notes)


def _left_out(
    folder: ClipFolder,
    wanted: Folding,
    closed: NDArray[np.bool_],
    kept_out: tuple[int, str | None],
) -> Folded:
    column = wanted.leave_out
    if column not in get_args(Column):
        raise UsageError(
            "CFG-114",
            f"found --leave-out {column!r}{nearest(str(column), COLUMN_NAMES)}",
            mend=f"use one of {', '.join(COLUMN_NAMES)}",
        )
    group = _groups(folder, cast(Column, column))
    known = np.array([bool(group[clip]) for clip in folder.ids.tolist()], np.bool_)
    used = np.flatnonzero(~closed & known & (folder.labels >= 0))
    notes = []
    lacking = int((~closed & ~(known & (folder.labels >= 0))).sum())
    if lacking:
        notes.append(f"{lacking} clips without a label or a {column} are in no fold")
    names = [group[clip] for clip in folder.ids[used].tolist()]
    labels = folder.labels[used].tolist()
    count = wanted.folds if wanted.folds is not None else len(set(names))
    fold_of = deal_folds(names, labels, max(count, 2), seed=wanted.seed)
    folds = []
    for number in range(count):
        parts = _parts(names, labels, fold_of == number, wanted)
        title = f"leave-{column}-{number + 1}"
        every = [""] * len(folder)
        for clip, part in zip(used.tolist(), parts, strict=True):
            every[clip] = part
        there = folder.with_split(title, _about(folder, wanted, number, count, kept_out[1]), every)
        held = np.zeros(len(folder), np.bool_)
        held[used[fold_of == number]] = True
        shown = _names(folder, held, group)
        folds.append(FoldedPart(f"fold-{number + 1}", title, there, shown))
    return Folded(folds, str(column), group, kept_out, notes)


def _parts(
    names: Sequence[str], labels: Sequence[int], tests: NDArray[np.bool_], wanted: Folding
) -> list[Part]:
    parts: list[Part] = ["test" if test else "train" for test in tests.tolist()]
    if not wanted.val:
        return parts
    left = {name for name, part in zip(names, parts, strict=True) if part == "train"}
    if len(left) < 2:
        raise UsageError(
            "DATA-014",
            f"{len(left)} {wanted.leave_out}(s) of {len(set(names))} are left to train and "
            "validate on",
            mend="use more --folds, or --val 0 to train on all of them",
        )
    # seed + 1: another queue than that of the folds
    return carve(names, labels, parts, into="val", share=wanted.val, seed=wanted.seed + 1)


def _about(
    folder: ClipFolder, wanted: Folding, number: int, count: int, guarded: str | None
) -> ProtocolInfo:
    base = folder.info.protocols[guarded] if guarded is not None else None
    column = cast(Column, wanted.leave_out)
    apart = f" outside the test part of {guarded!r}" if guarded is not None else ""
    return ProtocolInfo(
        description=f"fold {number + 1} of {count} by whole {column}s{apart}, seed {wanted.seed}",
        group=column,
        shares={key: why for key, why in (base.shares if base else {}).items() if key != column},
        metric=base.metric if base else "top1",
        chance=1 / len(folder.info.classes),
    )


def _groups(folder: ClipFolder, column: Column) -> dict[str, str]:
    return dict(zip(folder.ids.tolist(), folder.column(column).tolist(), strict=True))


def _names(
    folder: ClipFolder, held: NDArray[np.bool_], group: dict[str, str] | None
) -> tuple[str, ...]:
    if group is None:
        return ()
    return tuple(sorted({group[clip] for clip in folder.ids[held].tolist()}))
