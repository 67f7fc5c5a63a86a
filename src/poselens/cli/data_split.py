"""``poselens data split``: part the clips of a data set that is there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poselens.cli.output import Json, give_json, give_table, tell

if TYPE_CHECKING:
    from poselens.data.folder import ClipFolder
    from poselens.data.parting import Parted, Wish

MOST_ROWS = 60
"""Classes that a table shows; ``--json`` has all."""


def split(
    folder: Annotated[Path, typer.Argument(help="Data set folder.")],
    name: Annotated[str, typer.Option(help="Name of the protocol to write.")],
    by: Annotated[
        str,
        typer.Option(
            help="What stays whole: subject, source, session, event or view, joined as in "
            "subject+source; id for single clips; time to cut each recording."
        ),
    ],
    folds: Annotated[
        int | None, typer.Option(help="Write NAME-1 to NAME-K, each clip in one test part.")
    ] = None,
    test: Annotated[float, typer.Option(help="Share of clips that test.")] = 0.2,
    val: Annotated[float, typer.Option(help="Share of clips that validate; 0 for none.")] = 0.2,
    stratify: Annotated[bool, typer.Option(help="Spread the classes evenly.")] = True,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal splits.")] = 0,
    test_values: Annotated[
        str | None, typer.Option(help="Values that test, by commas, instead of a share.")
    ] = None,
    val_values: Annotated[
        str | None, typer.Option(help="Values that validate, by commas, instead of a share.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--from", help="Keep this protocol's test part; carve validation anew."),
    ] = None,
    gap: Annotated[float, typer.Option(help="Seconds between parts, with --by time.")] = 0.0,
    shares: Annotated[
        list[str] | None,
        typer.Option(help="COLUMN=REASON: what the parts share by definition, and why."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the protocol.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, write nothing.")] = False,
    as_json: Json = False,
) -> int:
    """Part the clips of a data set by people, recordings or time, and say what the parts share.

    The protocol is added to dataset.yaml and clips.csv; nothing else is touched.
    """
    from poselens.data.parting import Wish

    wish = Wish(
        by=tuple(part.strip() for part in by.split("+")),
        test=test,
        val=val,
        folds=folds,
        stratify=stratify,
        seed=seed,
        test_values=_values(test_values),
        val_values=_values(val_values),
        base=base,
        gap_s=gap,
        shares=_shares(shares or []),
    )
    opened, made, remark = _make(folder, name, wish, overwrite=overwrite, write=not dry_run)
    return _tell(opened, made, wish, written=not dry_run, remark=remark, as_json=as_json)


def _make(
    root: Path, name: str, wish: "Wish", *, overwrite: bool, write: bool
) -> "tuple[ClipFolder, list[Parted], str | None]":
    """Return the data set as it was, its new protocols, and a remark on how they were written."""
    from contextlib import nullcontext

    from poselens.data.folder import open_folder
    from poselens.data.parting import part_clips
    from poselens.data.resplit import only_writer, require_names, write_protocols

    # what another process has written before this one's turn counts
    with only_writer(root) if write else nullcontext():
        folder = open_folder(root)
        made = part_clips(folder, name, wish)
        require_names(folder, [parted.name for parted in made], overwrite=overwrite)
        return folder, made, write_protocols(folder, made) if write else None


def _values(text: str | None) -> tuple[str, ...]:
    return tuple(value.strip() for value in text.split(",") if value.strip()) if text else ()


def _shares(given: list[str]) -> dict[Any, str]:
    from poselens.data.info import COLUMN_NAMES
    from poselens.errors import UsageError

    found = {}
    for text in given:
        column, _, reason = (part.strip() for part in text.partition("="))
        if column not in COLUMN_NAMES or not reason:
            raise UsageError(
                "DATA-055",
                f"found --shares {text!r}",
                mend=f"write COLUMN=REASON with one of {', '.join(COLUMN_NAMES)}",
            )
        found[column] = reason
    return found


def _tell(
    folder: "ClipFolder",
    made: "list[Parted]",
    wish: "Wish",
    *,
    written: bool,
    remark: str | None,
    as_json: bool,
) -> int:
    from poselens.data.audit import leak_facts
    from poselens.data.parting import count_parts, judge

    entries: list[dict[str, Any]] = []
    for parted in made:
        leaks, notes = judge(folder, parted)
        counts = count_parts(folder, parted.parts)
        entries.append(
            {
                "protocol": parted.name,
                "description": parted.about.description,
                "group": parted.about.group,
                "shares": parted.about.shares,
                "counts": counts,
                "left_out": parted.left_out,
                "leakage": leak_facts(leaks),
                "notes": notes,
            }
        )
        if not as_json:
            _give_counts(parted, counts)
            for reason, count in parted.left_out.items():
                tell(f"{count} clips left out: {reason}")
            for leak in leaks:
                tell(f"{'LEAK' if leak.severe else 'shared'}: {leak.sentence()}")
            for note in notes:
                tell(f"note: {note}")
    if as_json:
        facts = {"data": str(folder.root), "written": written, "seed": wish.seed}
        give_json({**facts, "protocols": entries, "remark": remark})
        return 0
    if remark:
        tell(f"note: {remark}")
    names = ", ".join(parted.name for parted in made)
    tell(f"{folder.root}: {names} written" if written else f"{names} not written: --dry-run")
    return 0


def _give_counts(parted: "Parted", counts: dict[str, dict[str, int]]) -> None:
    rows = list(counts.items())
    shown = rows if len(rows) <= MOST_ROWS + 1 else [*rows[:MOST_ROWS], rows[-1]]
    more = len(rows) - len(shown)
    give_table(
        f"{parted.name}: {parted.about.description}",
        ["class", "train", "val", "test"],
        [[name, *(str(count[part]) for part in ("train", "val", "test"))] for name, count in shown],
        caption=f"{more} classes more; --json has all" if more else None,
    )
