"""Which row of a table a run belongs to, by its settings and not by its name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from poselens.clips.stream import RgbStream, SkeletonStream
from poselens.errors import UsageError
from poselens.evaluation.published import Published, published
from poselens.evaluation.tables import On, Unmatched, own_rows
from poselens.recipes.table_runs import Item

SAMPLERS = ("hard", "random", "class-aware")
SHOWN_KEYS = 4
"""Settings that a label names at most, where several of a row differ."""


def row_of(number: int, table: Published, item: Item) -> tuple[str | None, str]:
    """Return the key of an item's row, or None and why there is none."""
    compares = number in (1, 2)
    if compares and item.on.protocol not in table.protocols:
        return None, (
            f"was measured on {item.on.data or 'unnamed data'}, {item.on.protocol or 'no protocol'}"
            f": table {number} compares {', '.join(table.protocols)}"
        )
    if item.row is not None:
        if item.row not in own_rows(table):
            raise UsageError(
                "EVAL-042",
                f"table {number} has no row {item.row!r}",
                file=item.source,
                mend=f"use one of {', '.join(own_rows(table))}",
            )
        return item.row, ""
    key, reason = negatives_row(item) if number == 5 else component_row(item)
    names = {"staa": "rgb", "pose": "skeleton", "ours": "fused"}
    if compares and key is not None:
        key, reason = names.get(key), f"table {number} takes the whole RGB branch, this is {key!r}"
    return key, reason


def component_row(item: Item) -> tuple[str | None, str]:
    """Return the row of table 4 that a run or bundle is of, or None and why it is of none.

    Raises:
        UsageError: ``EVAL-044`` scores of an RGB stream from a file, which do not say of which.
    """
    if not item.streams:
        if item.scores.stream == "rgb":
            raise _unknown_row(item, "baseline, crop, ma, staa")
        return ("ours" if item.scores.stream == "fused" else "pose"), ""
    rgb = [stream for stream in item.streams if isinstance(stream, RgbStream)]
    if not rgb:
        return "pose", ""
    row = _rgb_row(rgb[0])
    if row is None:
        return None, "its RGB network is of no row: " + _parts(rgb[0])
    if len(item.streams) == 1:
        return row, ""
    if row != "staa":
        return None, f"fuses the RGB network of the row {row!r}; the table fuses that of 'staa'"
    return "ours", ""


def negatives_row(item: Item) -> tuple[str | None, str]:
    """Return the row of table 5 that a run is of, or None and why it is of none.

    Raises:
        UsageError: ``EVAL-044`` scores from a file, which do not say how negatives were sampled.
    """
    if not item.streams:
        raise _unknown_row(item, "none, hard, random, class-aware, random+class-aware")
    if not item.config:
        return None, "a bundle does not say how negatives were sampled: give its runs"
    if not isinstance(item.streams[0], SkeletonStream):
        return None, "an RGB run has no contrast"
    key = samplers_of(item)
    rows = own_rows(published(5))
    return (key, "") if key in rows else (None, f"the paper has no row for negatives {key}")


def samplers_of(item: Item) -> str:
    """Return where the negatives of a run come from, as the rows of table 5 are called."""
    contrast = item.config.get("contrast")
    if not isinstance(contrast, Mapping):
        return "none"
    chosen = contrast.get("samplers") or ()
    return "+".join(name for name in SAMPLERS if name in chosen)


def _unknown_row(item: Item, rows: str) -> UsageError:
    return UsageError(
        "EVAL-044",
        f"scores of the stream {item.scores.stream!r} do not say of which row they are",
        file=item.source,
        mend=f"write ROW=FILE with one of {rows}",
    )


def _rgb_row(stream: RgbStream) -> str | None:
    given, network = stream.input, stream.network
    if not network.shift or network.causal:
        return None
    rows = {
        (False, False, False): "baseline",
        (True, False, False): "crop",
        (True, True, False): "ma",
        (True, True, True): "staa",
    }
    return rows.get((given.crop, network.attend, network.aggregate))


def _parts(stream: RgbStream) -> str:
    facts = {
        "crop": stream.input.crop, "shift": stream.network.shift, "causal": stream.network.causal,
        "attend": stream.network.attend, "aggregate": stream.network.aggregate,
    }  # fmt: skip
    return ", ".join(f"{name} {'on' if value else 'off'}" for name, value in facts.items())


def without_twins(
    placed: Sequence[tuple[str, Item]],
) -> tuple[list[tuple[str, Item]], list[Unmatched]]:
    """Leave out a second run of one setting and seed: it is no further seed."""
    seen: dict[Any, str] = {}
    kept, twins = [], []
    for row, item in placed:
        streams = tuple(stream.name for stream in item.streams)
        key = (row, item.on, item.seed, item.setting, streams, item.weights)
        if key in seen and item.config:
            twins.append(Unmatched(item.source, f"the same setting and seed as {seen[key]}"))
            continue
        seen[key] = item.source
        kept.append((row, item))
    return kept, twins


def labels_of(placed: Sequence[tuple[str, Item]]) -> dict[int, str]:
    """Name the setting of every item, different settings of a row and data set differently.

    A short name comes first; where settings of a row share it, the keys that differ follow.
    """
    labels: dict[int, str] = {}
    groups: dict[tuple[str, str, On], list[Item]] = {}
    for row, item in placed:
        groups.setdefault((row, _short(item), item.on), []).append(item)
    for (_, short, _), items in groups.items():
        told = _differences([dict(item.setting) for item in items if item.streams])
        names: dict[str, list[Any]] = {}
        for item in items:
            text = f"{short}; {told(dict(item.setting))}".removesuffix("; ")
            known = names.setdefault(text, [])
            if item.setting not in known and item.streams:
                known.append(item.setting)
            place = known.index(item.setting) if item.streams else 0
            # settings that differ only in keys that are not shown
            labels[id(item)] = text if place == 0 else f"{text} (setting {place + 1})"
    return labels


def _differences(settings: Sequence[Mapping[str, str]]) -> Callable[[Mapping[str, str]], str]:
    """Return what tells settings apart, as a function of one of them."""
    keys = sorted({key for each in settings for key in each})
    # a whole section is said by its keys, and keys that a section lacks by the section's own name
    keys = [key for key in keys if not any(other.startswith(f"{key}.") for other in keys)]
    lacking = {key for key in keys if any(key not in each for each in settings)}
    differing = [key for key in keys if len({each.get(key) for each in settings}) > 1]
    shown = [key for key in differing if key not in lacking] or differing
    return lambda each: ", ".join(f"{key}={each[key]}" for key in shown[:SHOWN_KEYS] if key in each)


def _short(item: Item) -> str:
    if not item.streams:
        return item.scores.stream
    if len(item.streams) > 1:
        names = " + ".join(stream.name for stream in item.streams)
        return f"{names}, {item.weights} weights"
    stream = item.streams[0]
    if isinstance(stream, RgbStream):
        width = "" if stream.network.width == 1 else f" x {stream.network.width:g}"
        return (
            f"{stream.network.backbone}{width}, {stream.input.segments} frames of "
            f"{stream.input.size}"
        )
    contrast = samplers_of(item)
    said = "no contrast" if contrast == "none" else f"contrast {contrast}"
    return f"{stream.name}, width {stream.network.width}, {said}"
