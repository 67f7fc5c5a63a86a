"""``poselens fuse``: runs in, one bundle out."""

from pathlib import Path
from typing import Annotated

import typer

from poselens.cli.output import Device, Json, give_json, give_table, tell


def fuse(
    runs: Annotated[list[Path], typer.Argument(help="Runs to fuse.")],
    data: Annotated[Path, typer.Option(help="Data set folder.")],
    protocol: Annotated[str, typer.Option(help="Split of the data set.")],
    out: Annotated[Path, typer.Option(help="Bundle to write.")],
    weights: Annotated[
        str, typer.Option(help="paper, equal, fitted, or stream=number,stream=number.")
    ] = "paper",
    unknown: Annotated[
        float | None,
        typer.Option(help="Keep the threshold of `unknown` at this false-alarm rate on val."),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Join runs to one bundle.

    The weights are those of Eq. (14); fitted ones see validation clips only.
    """
    from poselens.clips.device import choose_device
    from poselens.data.folder import open_folder
    from poselens.recipes.fusing import fuse_runs

    facts = fuse_runs(
        runs,
        open_folder(data),
        protocol,
        out,
        weights=weights,
        device=choose_device(device),
        unknown=unknown,
    )
    if as_json:
        give_json({"bundle": str(out), **facts})
        return 0
    fusion = facts["fusion"]
    give_table(
        f"{out}: {fusion['method']} weights",
        ["stream", "weight", "temperature"],
        [
            [name, f"{weight:.3f}", f"{fusion['temperatures'][name]:.2f}"]
            for name, weight in fusion["weights"].items()
        ],
    )
    if fusion["n"]:
        tell(f"fitted on {fusion['n']} validation clips")
    if "unknown" in facts:
        chosen = facts["unknown"]
        tell(f"unknown below {chosen['threshold']:.3f}, on {chosen['n']} validation clips")
    return 0
