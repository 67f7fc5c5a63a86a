"""Making new protocols for an existing data set: which clip goes where, and what is said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast, get_args

import numpy as np

from poselens.data.audit import audit
from poselens.data.folder import ClipFolder
from poselens.data.folds import cut_in_time, deal_folds, joined
from poselens.data.info import COLUMN_NAMES, PARTS, Column, Part, ProtocolInfo, nearest
from poselens.data.leakage import Leak, find_leaks
from poselens.data.splits import at_random, carve
from poselens.errors import AnnotationError, UsageError

WAYS = (*COLUMN_NAMES, "id", "time")
_CUT = "each recording is cut in time, so what is in it is in every part"


@dataclass(frozen=True, slots=True)
class Wish:
    """How a data set is to be parted.

    Attributes:
        by: Columns whose values are kept whole, joined where there are several; or ``id`` alone for
            single clips, or ``time`` alone for stretches of each recording.
        test: Share of the clips that test.
        val: Share of the clips that validate; 0 for no such part.
        folds: Number of protocols, between them testing on every clip once; None for one protocol.
        stratify: Spread the classes evenly; else only the number of clips counts.
        seed: Of the order in which groups are taken.
        test_values: Values that test, instead of a share.
        val_values: Values that validate, instead of a share.
        base: Protocol whose test part is kept as it is, or None.
        gap_s: Seconds between parts where recordings are cut.
        shares: Columns that the parts share by definition, with the reason.
    """

    by: tuple[str, ...]
    test: float = 0.2
    val: float = 0.2
    folds: int | None = None
    stratify: bool = True
    seed: int = 0
    test_values: tuple[str, ...] = ()
    val_values: tuple[str, ...] = ()
    base: str | None = None
    gap_s: float = 0.0
    shares: Mapping[Column, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parted:
    """A new protocol.

    Attributes:
        name: Its name.
        about: What ``dataset.yaml`` says about it.
        parts: ``train``, ``val``, ``test`` or nothing for each clip.
        left_out: Number of clips in no part, by reason.
    """

    name: str
    about: ProtocolInfo
    parts: list[str]
    left_out: dict[str, int]


def part_clips(folder: ClipFolder, name: str, wish: Wish) -> list[Parted]:
    """Part the labelled clips of a data set into train, validation and test.

    With folds, the protocols are called ``name-1``, ``name-2``, ...; each clip tests in one.

    Raises:
        UsageError: ``CFG-004`` unknown ``base``, ``DATA-014`` too few groups, or values that no
            clip has, ``DATA-055`` wishes that contradict each other.
        AnnotationError: ``DATA-056`` the column to part by is empty, or no clip has times.
    """
    _require_consistent(wish)
    labels, kept = folder.labels, np.zeros(len(folder), np.bool_)
    pool = np.ones(len(folder), np.bool_)
    if wish.base is not None:
        before = folder.parts(wish.base)
        kept, pool = before == "test", np.isin(before, ["train", "val"])
    groups = _groups(folder, wish)
    units = "source or video" if wish.by == ("time",) else " or ".join(wish.by)
    grouped = np.array([bool(group) for group in groups], np.bool_)
    left_out = {
        "not in the protocol it starts from": int((~pool & ~kept).sum()),
        "without a label": int((pool & (labels < 0)).sum()),
        f"without a {units}": int((pool & (labels >= 0) & ~grouped).sum()),
    }
    chosen = np.flatnonzero(pool & (labels >= 0) & grouped)
    if len(chosen) == 0:
        raise AnnotationError(
            "DATA-056",
            f"no labelled clip has a {units}",
            file=folder.root,
            mend="fill that column of clips.csv, or part --by another",
        )
    own = [groups[clip] for clip in chosen]
    kinds = (labels[chosen] if wish.stratify else np.zeros(len(chosen), np.int64)).tolist()
    plans = _plans(folder, chosen, own, kinds, int(kept.sum()), wish)
    made = []
    for number, plan in enumerate(plans, start=1):
        parts = ["test" if tests else "" for tests in kept]
        for clip, part in zip(chosen.tolist(), plan, strict=True):
            parts[clip] = part or ""
        counts = {**left_out, "at a border in time": sum(part is None for part in plan)}
        title = name if wish.folds is None else f"{name}-{number}"
        about = _about(folder, title, parts, wish, number)
        made.append(Parted(title, about, parts, {k: v for k, v in counts.items() if v}))
    return made


def count_parts(folder: ClipFolder, parts: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the clips of each class in each part, and of all classes together at the end."""
    given = np.array(parts, np.str_)
    labelled = folder.labels >= 0
    table = {
        part: np.bincount(
            folder.labels[(given == part) & labelled], minlength=len(folder.info.classes)
        ).tolist()
        for part in PARTS
    }
    rows = {
        name: {str(part): int(table[part][label]) for part in PARTS}
        for label, name in enumerate(folder.info.classes)
    }
    return {**rows, "all classes": {part: int(sum(table[part])) for part in PARTS}}


def judge(folder: ClipFolder, parted: Parted) -> tuple[list[Leak], list[str]]:
    """Return what the parts of a new protocol share, and what makes it less than it seems."""
    after = folder.with_split(parted.name, parted.about, parted.parts)
    found = audit(after, parted.name)
    given = np.array(parted.parts, np.str_)
    notes = [*found.unknown, *found.notes]
    everywhere = set(np.unique(folder.labels[folder.labels >= 0]).tolist())
    for part in PARTS:
        if not (given == part).any():
            continue
        lacking = sorted(everywhere - set(folder.labels[given == part].tolist()))
        if lacking:
            names = ", ".join(folder.info.classes[label] for label in lacking[:5])
            more = ", …" if len(lacking) > 5 else ""
            count = "1 class has" if len(lacking) == 1 else f"{len(lacking)} classes have"
            notes.append(f"{count} no clip in {part}: {names}{more}")
    return found.leaks, notes


def _require_consistent(wish: Wish) -> None:
    def refuse(message: str, mend: str | None = None) -> UsageError:
        return UsageError("DATA-055", message, mend=mend)

    for name in wish.by:
        if name not in WAYS:
            raise refuse(
                f"found --by {name!r}{nearest(name, WAYS)}", f"use one of {', '.join(WAYS)}"
            )
    alone = [name for name in wish.by if name in ("id", "time")]
    if not wish.by or len(set(wish.by)) < len(wish.by) or (alone and len(wish.by) > 1):
        raise refuse(f"found --by {'+'.join(wish.by)!r}", "name columns once, id and time alone")
    test = wish.test if wish.folds is None else 1 / max(wish.folds, 2)
    if not 0 < test <= 0.5 or not 0 <= wish.val <= (1 - test) / 2:
        raise refuse(
            f"test {test:.3g} and val {wish.val:.3g}, expected a test part of at most half, and a "
            "validation slice of at most half of the rest"
        )
    named = bool(wish.test_values or wish.val_values)
    single = len(wish.by) == 1 and not alone
    if named and not single:
        raise refuse("values are named, but not of one column", "part --by that column alone")
    if wish.folds is not None and (wish.folds < 2 or wish.by == ("time",)):
        raise refuse("folds need 2 or more, by whole groups", "leave --folds out")
    if (wish.folds is not None) + bool(wish.test_values) + (wish.base is not None) > 1:
        raise refuse("--folds, --test-values and --from each say what tests", "give one of them")
    if wish.by == ("time",) and wish.base is not None:
        raise refuse("--from keeps a test part, --by time cuts another", "leave one of them out")
    if not wish.gap_s >= 0 or (wish.gap_s and wish.by != ("time",)):
        raise refuse("a gap is in seconds from 0, and only --by time has one")


def _groups(folder: ClipFolder, wish: Wish) -> list[str]:
    """Return what must stay together: a name for each clip, empty where it is unknown."""
    if wish.by == ("id",):
        return [str(name) for name in folder.ids]
    if wish.by == ("time",):
        sources = folder.column("source").tolist()
        codes, _ = folder.coded("video")
        # two recordings must not meet by a video that is called as another's source
        return [
            f"source {source}" if source else f"video {code}" if code >= 0 else ""
            for source, code in zip(sources, codes.tolist(), strict=True)
        ]
    return joined([folder.column(cast(Column, name)).tolist() for name in wish.by])


def _plans(
    folder: ClipFolder,
    chosen: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    groups: Sequence[str],
    kinds: Sequence[int],
    kept: int,
    wish: Wish,
) -> list[list[str | None]]:
    """Return the parts of the clips at hand, beside ``kept`` others, for each protocol to make."""
    if wish.by == ("time",):
        return [_by_time(folder, chosen, groups, wish)]
    if wish.by == ("id",) and wish.folds is None and wish.base is None:
        parts = at_random(groups, kinds, val=wish.val, test=wish.test, seed=wish.seed)
        if "test" not in parts:
            raise UsageError(
                "DATA-014",
                "no class has two clips, so none is left to test on",
                mend="label more clips of each class",
            )
        return [list(parts)]
    units = "+".join(wish.by)
    _require_groups(groups, wish)
    if wish.folds is not None:
        fold_of = deal_folds(groups, kinds, wish.folds, seed=wish.seed)
        tests = [fold_of == fold for fold in range(wish.folds)]
    elif wish.test_values:
        _require_known(groups, wish.test_values, units)
        tests = [np.isin(groups, wish.test_values)]
    elif wish.base is not None:
        tests = [np.zeros(len(groups), np.bool_)]
    else:
        all_train: list[Part] = ["train"] * len(groups)
        carved = carve(groups, kinds, all_train, into="test", share=wish.test, seed=wish.seed)
        tests = [np.array(carved) == "test"]
    return [_with_val(groups, kinds, test.tolist(), kept, wish) for test in tests]


def _require_groups(groups: Sequence[str], wish: Wish) -> None:
    names = sorted(set(groups))
    parts = ["train", *(["validation"] if wish.val else []), *(["test"] if not wish.base else [])]
    wanted = max(len(parts), wish.folds or 0)
    if len(names) < wanted:
        raise UsageError(
            "DATA-014",
            f"{len(names)} {'+'.join(wish.by)}(s) ({', '.join(names)}) for "
            + (f"{wish.folds} folds" if wish.folds else " and ".join(parts)),
            mend="part by something there is more of, or use --val 0 or fewer --folds",
        )


def _with_val(
    groups: Sequence[str], kinds: Sequence[int], tests: Sequence[bool], kept: int, wish: Wish
) -> list[str | None]:
    """Return parts with a validation slice taken out of what does not test."""
    parts: list[Part] = ["test" if test else "train" for test in tests]
    unit = "+".join(wish.by)
    if wish.val_values:
        _require_known(groups, wish.val_values, unit)
        both = set(wish.val_values) & {g for g, test in zip(groups, tests, strict=True) if test}
        if both:
            raise UsageError(
                "DATA-014", f"{unit} {min(both)!r} is to validate, but is in the test part"
            )
        parts = ["val" if g in wish.val_values else p for g, p in zip(groups, parts, strict=True)]
    left = sorted({g for g, part in zip(groups, parts, strict=True) if part == "train"})
    carves = bool(wish.val) and not wish.val_values
    if len(left) < 1 + carves:
        raise UsageError(
            "DATA-014",
            f"{len(left)} {unit}(s) ({', '.join(left)}) of {len(set(groups))} are left to train "
            f"{'and validate ' if carves else ''}on",
            mend="leave more of them, part by something there is more of, or use --val 0",
        )
    if not carves:
        return list(parts)
    # of what does not test, so that it is the share asked for of all clips
    share = wish.val * (len(tests) + kept) / (len(tests) - sum(tests))
    # seed + 1: another queue than that for test
    return list(carve(groups, kinds, parts, into="val", share=min(share, 0.5), seed=wish.seed + 1))


def _require_known(groups: Sequence[str], values: Sequence[str], column: str) -> None:
    known = set(groups)
    for value in values:
        if value not in known:
            raise UsageError("DATA-014", f"no clip has {column} {value!r}{nearest(value, known)}")


def _by_time(
    folder: ClipFolder,
    chosen: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    recordings: Sequence[str],
    wish: Wish,
) -> list[str | None]:
    times = folder.spans()[:, chosen]
    parts = cut_in_time(recordings, times, val=wish.val, test=wish.test, gap_s=wish.gap_s)
    lacking = [
        part for part in ("train", *(["val"] if wish.val else []), "test") if part not in parts
    ]
    if lacking:
        raise AnnotationError(
            "DATA-056",
            f"no recording has clips with start_s and end_s in {' or '.join(lacking)}",
            file=folder.root,
            mend="fill those columns of clips.csv, use a smaller --gap, or part --by source",
        )
    return parts


def _about(
    folder: ClipFolder, name: str, parts: Sequence[str], wish: Wish, number: int
) -> ProtocolInfo:
    base = None if wish.base is None else folder.info.protocols[wish.base]
    group = wish.by[0] if base is None else base.group
    about = ProtocolInfo.model_validate(
        {
            "description": _sentence(wish, number, base),
            "group": group,
            "shares": {**(base.shares if base else {}), **wish.shares},
            "metric": base.metric if base else "top1",
            "chance": 1 / len(folder.info.classes),
        }
    )
    if group != "time":
        return about
    leaks = find_leaks(folder.with_split(name, about, parts), name)
    cut = {leak.kind: _CUT for leak in leaks if leak.kind in get_args(Column)}
    return about.model_copy(update={"shares": {**cut, **about.shares}})


def _sentence(wish: Wish, number: int, base: ProtocolInfo | None) -> str:
    """Say in one sentence how the protocol came about."""
    shares = f"{_percent(wish.test)} test"
    val = f"{_percent(wish.val)} validation" if wish.val else "no validation"
    if wish.by == ("time",):
        gap = f", {wish.gap_s:g} s apart" if wish.gap_s else ""
        return (
            f"each recording cut in time: its first clips train, then {val}, its last {shares}"
            f"{gap}; clips at a border are left out"
        )
    units = " and ".join(wish.by)
    whole = "by clip" if wish.by == ("id",) else f"by whole {units}s"
    drawn = bool(wish.val) or not wish.test_values
    if wish.val_values:
        val = f"{units} {', '.join(wish.val_values)} validation"
        drawn = not wish.test_values
    if wish.folds is not None:
        what = f"fold {number} of {wish.folds} {whole} tests, {val} of all clips"
    elif wish.test_values:
        what = f"{units} {', '.join(wish.test_values)} test, {val}"
    elif base is not None:
        what = f"test part as in {wish.base!r} ({base.description}), {val} carved anew {whole}"
    else:
        what = f"random split {whole}, {shares}, {val}"
    even = "classes as even as that allows" if wish.stratify else "whatever the classes"
    return f"{what}; {even}, seed {wish.seed}" if drawn else what


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
