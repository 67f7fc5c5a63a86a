"""Dealing whole groups into folds, and cutting recordings in time."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from poselens.data.splits import draw
from poselens.errors import UsageError


def deal_folds(
    groups: Sequence[str], labels: Sequence[int], folds: int, *, seed: int = 0
) -> Int[np.ndarray, " n"]:
    r"""Return a fold for each clip, so that groups stay whole and classes are spread evenly.

    Groups come in an order hashed from ``seed`` and their names. They are dealt in rounds, one to
    each of F folds, so that

    .. math::
        \sum_{f,k} \left(\frac{n_{fk}}{n_k}\right)^2 + F \sum_f \left(\frac{n_f}{n}\right)^2

    grows least in each round (an assignment problem). The order of clips plays no part, and a clip
    more or less moves few of the others; taking the largest groups first evens
    out a little more, and moves half of all clips.

    Departure: scikit-learn's ``StratifiedGroupKFold`` promises no release the folds of another, and
    on random data one clip more moves more of the others than it does here.

    Args:
        groups: Group of each clip.
        labels: Class of each clip.
        folds: F, at least 2.
        seed: Of the order of groups.

    Raises:
        UsageError: ``DATA-014`` when there are fewer groups than folds.
    """
    names, code = np.unique(np.array(groups, np.str_), return_inverse=True)
    if len(names) < folds:
        raise UsageError(
            "DATA-014",
            f"{len(names)} group(s) ({', '.join(names[:5].tolist())}) for {folds} folds",
            mend="use fewer --folds, or part by something there is more of",
        )
    classes, label = np.unique(np.array(labels), return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (code, label), 1)
    # a class's clips count as one together, and so do all clips: rare classes are heard
    size = np.sqrt(folds) * counts.sum(axis=1, keepdims=True) / len(code)
    weights = np.concatenate([counts / counts.sum(axis=0), size], axis=1)
    order = sorted(range(len(names)), key=lambda group: draw(seed, str(names[group])))
    fold_of = np.zeros(len(names), np.int64)
    held = np.zeros((folds, weights.shape[1]))
    for begin in range(0, len(order), folds):
        block = order[begin : begin + folds]
        # (h + w)^2 - h^2 without w^2, which is the same wherever the group goes
        cost = 2 * weights[block] @ held.T
        # among equals, the first group goes to the first fold
        ties = -1e-9 * np.outer(np.arange(len(block)), np.arange(folds))
        taken, chosen = linear_sum_assignment(cost + ties)
        for position, fold in zip(taken, chosen, strict=True):
            fold_of[block[position]] = fold
            held[fold] += weights[block[position]]
    found: NDArray[np.int64] = fold_of[code]
    return found


def joined(columns: Sequence[Sequence[str]]) -> list[str]:
    """Return a group for each clip so that clips with a value in common are in one group.

    One column gives its values. Of several, clips that share a value of any are joined, and those
    joined to them; the group is named by its first value in alphabetical order. A clip without any
    value gets an empty group.

    Args:
        columns: One value per clip and column; an empty one joins nothing.
    """
    if len(columns) == 1:
        return list(columns[0])
    nodes: dict[tuple[int, str], int] = {}
    clips, values = [], []
    for number, column in enumerate(columns):
        for clip, value in enumerate(column):
            if value:
                clips.append(clip)
                values.append(nodes.setdefault((number, value), len(nodes)))
    count = len(columns[0])
    links = coo_array(
        (np.ones(len(clips)), (clips, np.array(values, np.int64) + count)),
        shape=(count + len(nodes),) * 2,
    )
    _, component = connected_components(links, directed=False)
    names: dict[int, tuple[int, str]] = {}
    for key, node in nodes.items():
        place = int(component[count + node])
        names[place] = min(names.get(place, key), key)
    return [names.get(place, (0, ""))[1] for place in component[:count].tolist()]


def cut_in_time(
    recordings: Sequence[str],
    times: Float[np.ndarray, "2 n"],
    *,
    val: float,
    test: float,
    gap_s: float,
) -> list[str | None]:
    """Return a part for each clip by when it happens in its recording, None for one left out.

    The clips of a recording are taken in the order of their start: the first train, the next are
    validation, the last test, as the shares say. A part ends ``gap_s`` before the next begins:
    clips that reach over are left out, and so are clips without a start or an end, where the
    recording has other clips. A recording of fewer clips than parts trains.

    Args:
        recordings: Recording of each clip.
        times: Start and end in seconds; NaN where unknown.
        val: Share of clips that validate, 0 for no such part.
        test: Share of clips that test.
        gap_s: Seconds between parts.
    """
    parts: list[str | None] = ["train"] * len(recordings)
    wanted = 3 if val else 2
    members: dict[str, list[int]] = {}
    for clip, name in enumerate(recordings):
        members.setdefault(name, []).append(clip)
    for clips in members.values():
        if len(clips) < 2:
            continue
        known = [clip for clip in clips if not np.isnan(times[:, clip]).any()]
        for clip in set(clips).difference(known):
            parts[clip] = None
        if len(known) < wanted:
            continue
        known.sort(key=lambda clip: (times[0, clip], times[1, clip]))
        last = max(round(test * len(known)), 1)
        middle = max(round(val * len(known)), 1) if val else 0
        first = max(len(known) - last - middle, 1)
        borders = [times[0, known[place]] for place in (first, first + middle)]
        for clip in known:
            parts[clip] = _between(times[:, clip], borders[0], borders[1], gap_s, has_val=val > 0)
    return parts


def _between(
    span: Float[np.ndarray, "2"], val_s: float, test_s: float, gap_s: float, *, has_val: bool
) -> str | None:
    start, end = span
    if start >= test_s:
        return "test"
    if has_val and start >= val_s:
        return "val" if end + gap_s <= test_s else None
    return "train" if end + gap_s <= val_s else None
