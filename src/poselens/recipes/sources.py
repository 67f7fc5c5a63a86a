"""Whatever a user points at, as a data set folder."""

import json
from pathlib import Path

from poselens.data.class_folders import import_class_folders
from poselens.data.csv_clips import import_csv
from poselens.data.folder import ClipFolder, open_folder
from poselens.data.importing import REPORT_FILE
from poselens.data.info import INFO_FILE
from poselens.errors import UsageError


def as_folder(source: Path, made: Path) -> tuple[ClipFolder, list[str]]:
    """Open a data set folder, or import a folder of videos per class or a CSV into ``made``.

    Returns:
        The data set, and a line for each file that was left out.

    Raises:
        UsageError: ``DATA-001`` when there is nothing at ``source``; others as the importers.
    """
    if (source / INFO_FILE).is_file():
        return open_folder(source), []
    if made.exists():
        return open_folder(made), _noted_at_import(made)
    if source.is_file() and source.suffix.lower() == ".csv":
        import_csv(source, made)
    elif source.is_dir():
        import_class_folders(source, made, link="symbolic")
    else:
        raise UsageError(
            "DATA-001",
            "not a data set folder, a folder of videos per class, or a CSV",
            file=source,
        )
    return open_folder(made), _noted_at_import(made)


def _noted_at_import(made: Path) -> list[str]:
    """Return a line for each file that the import left out, as it wrote them down."""
    written = made / REPORT_FILE
    entries = json.loads(written.read_text(encoding="utf-8"))["list"] if written.exists() else []
    return [f"{entry['file']}: {entry['code']} {entry['message']}" for entry in entries]
