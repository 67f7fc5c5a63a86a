"""Fill the paper's tables with what runs, bundles and score files reach."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from poselens.clips.stream import SkeletonStream
from poselens.evaluation.metrics import evaluate
from poselens.evaluation.published import Published, published
from poselens.evaluation.tables import Entry, On, Unmatched, accuracy_table, cost_table
from poselens.fusion.scores import fuse
from poselens.fusion.weights import (
    SKELETON_SHARES,
    FusionWeights,
    fit_weights,
    fixed_weights,
)
from poselens.recipes.table_costs import given_costs, preset_costs
from poselens.recipes.table_rows import labels_of, row_of, samplers_of, without_twins
from poselens.recipes.table_runs import Given, Item, Read, read_given, val_scores

COSTS = 3
PRESETS = ("paper", "table4-tsm", "table4-ma")
_FINEST = "random+class-aware"


def make_table(number: int, given: Given, *, presets: Sequence[str] = PRESETS) -> dict[str, Any]:
    """Return one of the paper's tables with what was measured beside what is printed.

    Tables 1, 2 and 4: an RGB run is of a row by its crop, attention and aggregation; runs of both
    branches with the same seed are fused for the row of the whole method. Table 5: a skeleton run
    is of a row by where its negatives come from. Table 3 counts recipes and ``given`` streams.

    Raises:
        UsageError: ``CFG-111`` no such table, ``EVAL-042`` no such row, ``EVAL-044`` a score file
            whose row nothing tells; else as ``read_given`` and ``accuracy_table``.
        CheckpointError: As ``read_given``.
        InputError: As ``read_given``.
    """
    table = published(number)
    if number == COSTS:
        return cost_table(number, table, [*preset_costs(presets), *given_costs(given)])
    read = read_given(given)
    entries, strangers = _entries(number, table, read, given)
    unit = given.cluster or "clip"
    facts = accuracy_table(
        number,
        table,
        entries,
        [*read.unusable, *strangers],
        groups=read.groups,
        unit=unit,
    )
    return {**facts, "remarks": [*facts["remarks"], *read.notes]}


def _entries(
    number: int, table: Published, read: Read, given: Given
) -> tuple[list[Entry], list[Unmatched]]:
    """Return an entry for every item that is of a row, and for every fusion of runs."""
    entries: list[Entry] = []
    strangers: list[Unmatched] = []
    placed: list[tuple[str, Item]] = []
    for item in read.items:
        row, reason = row_of(number, table, item)
        if row is None:
            strangers.append(Unmatched(item.source, f"{reason}; {_told(item)}"))
        else:
            placed.append((row, item))
    placed, twins = without_twins(placed)
    strangers += twins
    labels = labels_of(placed)
    for row, item in placed:
        entries.append(
            Entry(
                row,
                labels[id(item)],
                item.seed,
                item.scores,
                item.on,
                item.selection,
                (item.source,),
            )
        )
    fused, notes = _fusions(number, placed, labels, given.weights)
    return [*entries, *fused], [*strangers, *notes]


def _told(item: Item) -> str:
    """Say what was measured, for what is of no row."""
    judged = evaluate(item.scores, resamples=10)
    return f"Top-1 {100 * judged.top1:.1f}, mean-class {100 * judged.mean_class:.1f}, n {judged.n}"


def _fusions(
    number: int, placed: Sequence[tuple[str, Item]], labels: Mapping[int, str], weights: str
) -> tuple[list[Entry], list[Unmatched]]:
    """Fuse runs of one seed: skeleton streams with each other, and with the whole RGB branch."""
    runs = [(row, item) for row, item in placed if item.config and len(item.streams) == 1]
    skeletons = [(row, item) for row, item in runs if isinstance(item.streams[0], SkeletonStream)]
    entries: list[Entry] = []
    notes: list[Unmatched] = []
    own_row = "skeleton" if number in (1, 2) else "pose"
    grouped: dict[tuple[str, On, str, str], dict[str, list[Item]]] = {}
    for row, item in skeletons:
        key = (row, item.on, item.seed, samplers_of(item))
        grouped.setdefault(key, {}).setdefault(item.streams[0].name, []).append(item)
    for (row, on, seed, _), streams in grouped.items():
        if len(streams) > 1 and all(len(items) == 1 for items in streams.values()):
            chosen = _ordered([each[0] for each in streams.values()])
            entries.append(_fused(row, on, seed, chosen, weights))
    if number == 5:
        return entries, notes
    for row, item in runs:
        if row not in ("staa", "rgb"):
            continue
        chosen, reason = _partners(item, skeletons, own_row)
        if chosen:
            target = "ours" if row == "staa" else "fused"
            entry = _fused(target, item.on, item.seed, [item, *chosen], weights)
            entries.append(_with_label(entry, labels[id(item)]))
        elif reason:
            notes.append(Unmatched(item.source, f"was not fused: {reason}"))
    return entries, notes


def _partners(rgb: Item, skeletons: Iterable[tuple[str, Item]], row: str) -> tuple[list[Item], str]:
    """Return the skeleton runs of an RGB run's seed and data, one per stream."""
    own = [
        item for key, item in skeletons if key == row and (item.on, item.seed) == (rgb.on, rgb.seed)
    ]
    settings = {samplers_of(item) for item in own}
    if len(settings) > 1:
        # the paper's method is the one whose row is its own in table 5
        own = [item for item in own if samplers_of(item) == _FINEST]
    names = [item.streams[0].name for item in own]
    if len(set(names)) < len(names):
        return [], "there are several skeleton settings of one stream and seed: give a bundle"
    return _ordered(own), ""


def _ordered(items: Sequence[Item]) -> list[Item]:
    """Return runs in the order in which their streams are usually named."""
    usual = list(SKELETON_SHARES)

    def place(item: Item) -> tuple[int, str]:
        name = item.streams[0].name
        return (usual.index(name) if name in usual else len(usual), name)

    return sorted(items, key=place)


def _fused(row: str, on: On, seed: str, items: Sequence[Item], weights: str) -> Entry:
    chosen = _weights(items, weights)
    scores = fuse([item.scores for item in items], chosen.weights, chosen.temperatures)
    names = " + ".join(item.streams[0].name for item in items)
    contrast = {samplers_of(item) for item in items if isinstance(item.streams[0], SkeletonStream)}
    said = "no contrast" if contrast == {"none"} else f"contrast {', '.join(sorted(contrast))}"
    rules = dict.fromkeys(item.selection for item in items)
    return Entry(
        row,
        f"{names}, {weights} weights, {said}",
        seed,
        scores,
        on,
        f"{'; '.join(rules)}; fusion: {weights} weights",
        tuple(item.source for item in items),
    )


def _with_label(entry: Entry, label: str) -> Entry:
    return Entry(
        entry.row, f"{entry.setting}; {label}", entry.seed, entry.scores, entry.on,
        entry.selection, entry.sources,
    )  # fmt: skip


def _weights(items: Sequence[Item], weights: str) -> FusionWeights:
    """Return the weights of Eq. (14); fitted ones see validation scores of the runs alone.

    Raises:
        UsageError: ``FUS-005`` unknown weights, or streams that ``paper`` has none for.
        InputError: ``FUS-006`` a run has no validation scores to fit on.
    """
    if weights == "fitted":
        return fit_weights([val_scores(item) for item in items])
    return fixed_weights([item.streams[0].name for item in items], weights)
