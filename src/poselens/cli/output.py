"""How commands speak: JSON or a table on stdout, everything else on stderr."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from poselens.errors import PoselensError

if TYPE_CHECKING:
    from poselens.recipes.costing import MeasuredCost
    from poselens.recipes.evaluating import Result

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or auto.")]


def tell(message: str) -> None:
    """Say something to the person at the terminal."""
    typer.echo(message, err=True)


def tell_error(fault: PoselensError, *, as_json: bool) -> None:
    """Say what went wrong in one line, and as JSON where that was asked for."""
    typer.echo(f"{_speaker()}error[{fault.code}]: {fault}", err=True)
    # what a rank says of another that is gone must not come before that one's own error
    _tell_torchrun(f"error[{fault.code}]: {fault}", later=2 if fault.code == "DIST-003" else 0)
    if as_json:
        give_json({"error": fault.as_dict()})


def _speaker() -> str:
    """Name the rank where several processes speak at once."""
    size = os.environ.get("WORLD_SIZE", "1")
    return "" if size == "1" else f"rank {os.environ.get('RANK')} of {size}: "


def _tell_torchrun(message: str, *, later: int) -> None:
    """Leave the error where ``torchrun`` looks for it, and dates them in whole seconds."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not path:
        return
    told = {"message": message, "extraInfo": {"timestamp": str(int(time.time()) + later)}}
    # the error is on stderr already; a summary that cannot be written is no second one
    with suppress(OSError):
        Path(path).write_text(json.dumps({"message": told}), encoding="utf-8")


def give_json(facts: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    typer.echo(json.dumps(facts, ensure_ascii=False))


def give_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str | None = None,
    left: bool = False,
) -> None:
    """Print a table for people, its numbers to the right unless ``left`` says it is text."""
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.show_header = any(columns)
    for number, column in enumerate(columns):
        side: Literal["left", "right"] = "left" if left or number == 0 else "right"
        table.add_column(column, justify=side, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def give_results(title: str, result: "Result", costs: Sequence["MeasuredCost"] = ()) -> None:
    """Print how every stream and their fusion did, with 95 % intervals, and what a clip costs."""
    rows = [*result.streams, result.fused] if len(result.streams) > 1 else [result.fused]
    columns = ["stream", "Top-1 % [95 %]", "mean class % [95 %]", "n"]
    give_table(
        f"{title}, {result.part}: {result.fused.n} clips, {_views(result)}",
        [*columns, *(["GMACs", "ms"] if costs else [])],
        [
            [
                entry.stream,
                with_interval(entry.top1, entry.as_dict()["interval"]),
                with_interval(entry.mean_class, entry.as_dict()["mean_class_interval"]),
                str(entry.n),
                *_cost_cells(entry.stream, result.fused.stream, costs),
            ]
            for entry in rows
        ],
        caption="\n".join(leak.sentence() for leak in result.leakage) or None,
    )


def _cost_cells(stream: str, fused: str, costs: Sequence["MeasuredCost"]) -> list[str]:
    """Return what one view of one clip costs a stream; the fusion costs what its streams do."""
    if not costs:
        return []
    counted = [cost for cost in costs if cost.stream == stream or stream == fused]
    gmacs = sum(cost.gmacs for cost in counted)
    return [
        f"{gmacs:.2f}" if gmacs >= 0.1 else f"{gmacs:.2g}",
        f"{sum(cost.milliseconds for cost in counted):.1f}",
    ]


def _views(result: "Result") -> str:
    many = f"rgb in {result.views} views ({result.scores[-1].views})"
    return many if result.views > 1 else "1 view"


def percent(share: float) -> str:
    """Return a share as percent with one decimal."""
    return f"{100 * share:.1f}"


def with_interval(share: float, interval: Sequence[float]) -> str:
    """Return a share and its interval in percent."""
    return f"{percent(share)} [{percent(interval[0])}, {percent(interval[1])}]"
