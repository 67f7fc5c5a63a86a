"""Parting clips into train, validation and test, by whole groups.

The test part is fixed by the protocol. Validation is only ever taken out of train, never out of
test, so whatever is chosen on it (an epoch, a fusion weight) has not seen the test clips.
"""

import hashlib
from collections.abc import Collection, Sequence

import numpy as np

from poselens.data.info import ClipRecord, Column, Part, nearest
from poselens.errors import UsageError


def by_column(
    records: Sequence[ClipRecord],
    column: Column,
    *,
    test: Collection[str],
    val: Collection[str] = (),
) -> list[Part]:
    """Return a part for each clip from the value in one column; train is what remains.

    Raises:
        UsageError: ``DATA-014`` when a value is asked for in two parts or is in no clip.
    """
    both = sorted(set(test) & set(val))
    if both:
        raise UsageError("DATA-014", f"{column} {both[0]!r} is asked for in both val and test")
    _require_known(records, column, [*test, *val])
    values = [getattr(record, column) for record in records]
    return ["test" if value in test else "val" if value in val else "train" for value in values]


def hold_out(
    records: Sequence[ClipRecord], parts: Sequence[Part], column: Column, values: Collection[str]
) -> list[Part]:
    """Move the train clips with the given values in one column to validation; test stays.

    Raises:
        UsageError: ``DATA-014`` when a value is in no clip.
    """
    _require_known(records, column, values)
    return [
        "val" if part == "train" and getattr(record, column) in values else part
        for record, part in zip(records, parts, strict=True)
    ]


def _require_known(records: Sequence[ClipRecord], column: Column, values: Collection[str]) -> None:
    known = {getattr(record, column) for record in records}
    for value in values:
        if value not in known:
            raise UsageError("DATA-014", f"no clip has {column} {value!r}{nearest(value, known)}")


def carve(
    groups: Sequence[str],
    labels: Sequence[int],
    parts: Sequence[Part],
    *,
    into: Part,
    share: float,
    seed: int = 0,
) -> list[Part]:
    """Move whole groups out of train until they hold about ``share`` of every class of train.

    Groups come in an order hashed from ``seed`` and their names. A group is taken when it brings
    the classes nearer to their shares (sum of absolute differences); so classes are as even as
    whole groups allow, and adding a clip changes little. At least one group is taken, and at least
    one stays.

    Raises:
        UsageError: ``DATA-014`` when train has fewer than two groups, or ``share`` is not in
            (0, 0.5].
    """
    if not 0 < share <= 0.5:
        raise UsageError("DATA-014", f"share is {share}, expected more than 0 and at most 0.5")
    clips: dict[str, list[int]] = {}
    for clip, (group, part) in enumerate(zip(groups, parts, strict=True)):
        if part == "train":
            clips.setdefault(group, []).append(clip)
    if len(clips) < 2:
        raise UsageError(
            "DATA-014",
            f"train has {len(clips)} group(s), at least 2 are needed to take one out",
            mend="give clips a subject or a source that tells them apart",
        )
    classes = {label: position for position, label in enumerate(sorted(set(labels)))}
    counts = {
        group: np.bincount([classes[labels[clip]] for clip in members], minlength=len(classes))
        for group, members in clips.items()
    }
    taken = _nearest_groups(counts, share, seed)
    result = list(parts)
    for group in taken:
        for clip in clips[group]:
            result[clip] = into
    return result


def _nearest_groups(
    counts: dict[str, "np.ndarray[tuple[int], np.dtype[np.int64]]"], share: float, seed: int
) -> list[str]:
    missing = share * np.sum(list(counts.values()), axis=0)
    order = sorted(counts, key=lambda group: draw(seed, group))
    taken: list[str] = []
    for group in order:
        after = missing - counts[group]
        if np.abs(after).sum() < np.abs(missing).sum() and len(taken) + 1 < len(counts):
            taken.append(group)
            missing = after
    if not taken:
        taken = [min(order, key=lambda group: float(np.abs(missing - counts[group]).sum()))]
    return taken


def at_random(
    ids: Sequence[str], labels: Sequence[int], *, val: float = 0.2, test: float = 0.2, seed: int = 0
) -> list[Part]:
    """Part clips at random, each class by itself, in an order hashed from ``seed`` and the ids.

    The same clip falls on the same place in the order on every machine, whatever other clips there
    are. A class of three or more clips is in every part; of two, in train and test; of one, in
    train.
    """
    members: dict[int, list[int]] = {}
    for clip, label in enumerate(labels):
        members.setdefault(label, []).append(clip)
    parts: list[Part] = ["train"] * len(ids)
    for clips in members.values():
        clips.sort(key=lambda clip: draw(seed, ids[clip]))
        count = len(clips)
        in_test = max(round(test * count), 1) if count > 1 else 0
        in_val = max(round(val * count), 1) if count > 2 else 0
        for clip in clips[:in_test]:
            parts[clip] = "test"
        for clip in clips[in_test : in_test + in_val]:
            parts[clip] = "val"
    return parts


def draw(seed: int, name: str) -> bytes:
    """Return a number, as bytes, of ``seed`` and ``name`` alone: a place in a queue."""
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
