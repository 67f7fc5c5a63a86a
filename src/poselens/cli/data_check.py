"""``poselens data check``: look at every clip once and say what is wrong."""

from pathlib import Path
from typing import Annotated

import typer

from poselens.cli.output import Json, give_json, tell


def check(
    folder: Annotated[Path, typer.Argument(help="Data set folder.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; DIR/check by default.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Split to look at; all of them by default.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Decoding processes; one per core by default.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Count frames instead of decoding them.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Look at everything again, whatever is known.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for warnings too.")] = False,
    as_json: Json = False,
) -> int:
    """Look at every clip once and say what is wrong; nothing is changed.

    Writes check.html, check.json and bad.csv. A check that was stopped goes on where it was. Exit
    code 1 when there are errors.
    """
    from poselens.cli.progress import bar
    from poselens.data.folder import open_folder
    from poselens.recipes.check_findings import judge
    from poselens.recipes.check_ledger import Ledger
    from poselens.recipes.check_report import summary, write_check
    from poselens.recipes.check_rules import Facts
    from poselens.recipes.checking import find_copies, ledger_path, look_at_clips

    data = open_folder(folder)
    protocols = list(data.info.protocols) if protocol is None else [protocol]
    for name in protocols:
        data.parts(name)
    with Ledger(ledger_path(folder, quick=quick), fresh=fresh) as ledger:
        with bar("looking at clips", len(data)) as told:
            columns = look_at_clips(data, ledger, quick=quick, workers=workers, told=told)
        with bar("comparing clips that look alike", None) as told:
            copies = find_copies(data, columns, ledger, workers=workers, told=told)
        checked = judge(Facts(data, columns, ledger), copies, protocols, quick=quick)
        written = write_check(checked, out or folder / "check", workers=workers)
        if as_json:
            give_json(summary(checked))
    if not as_json:
        tell(checked.verdict())
        for finding in checked.findings:
            tell(f"  {finding.severity}: {finding.title}: {finding.count} {finding.counted}")
        tell(f"look at {written.page}")
    return 1 if checked.failed(strict=strict) else 0
