"""``poselens contrast``: what a run's sampler did, as a picture and a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poselens.cli.output import Json, give_json, give_table, percent, tell

if TYPE_CHECKING:
    from poselens.evaluation.contrasted import Rival


def contrast(
    run: Annotated[Path, typer.Argument(help="Run trained with contrast.")],
    out: Annotated[Path, typer.Option(help="SVG file to write.")],
    as_json: Json = False,
) -> int:
    """Show what each class was contrasted with in training.

    Draws similarity of classes, negatives by class, and both over the epochs.
    """
    from poselens.checkpoint import make_folder, write_bytes
    from poselens.evaluation.contrast_figure import contrast_figure
    from poselens.evaluation.contrasted import rivals
    from poselens.evaluation.figures import standalone
    from poselens.recipes.contrasting import require_contrast

    if out.suffix.lower() != ".svg":
        raise typer.BadParameter(f"--out expects a file ending in .svg, found {out.name!r}")
    history = require_contrast(run)
    make_folder(out.parent)
    write_bytes(out, standalone(contrast_figure(history)).encode())
    found = rivals(history)
    if as_json:
        give_json(
            {
                "figure": str(out),
                "stream": history.stream,
                "epoch": history.epochs[-1],
                "sampler": history.sampler,
                "rivals": {name: [vars(rival) for rival in each] for name, each in found.items()},
            }
        )
        return 0
    give_table(
        f"{run}: {history.stream}, % of {history.sampler} negatives in epoch {history.epochs[-1]} "
        "(similarity)",
        ["class", "first rival", "second", "third"],
        [
            [name, *(_told(rival) for rival in each), *[""] * (3 - len(each))]
            for name, each in found.items()
        ],
    )
    tell(f"{out}")
    return 0


def _told(rival: "Rival") -> str:
    similarity = "–" if rival.similarity is None else f"{rival.similarity:.2f}"
    return f"{rival.name}\n{percent(rival.share)} ({similarity})"
