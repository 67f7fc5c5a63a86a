"""A data set of descriptions alone: two files, no video and no joints."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from poselens.data.folder import ClipFolder, open_folder

COLUMNS = (
    "id", "video", "label", "subject", "view", "source", "start_s", "end_s", "session", "event",
    "split:p",
)  # fmt: skip
CLASSES = ["jump", "turn", "fall"]


def write_plain(
    root: Path, rows: Sequence[Mapping[str, object]], *, classes: Sequence[str] = CLASSES, **about
) -> Path:
    """Write rows of ``clips.csv``; what a row does not name is empty, its label the first class."""
    root.mkdir(parents=True, exist_ok=True)
    protocol = {"description": "as given", "group": "subject", **about}
    content = {"name": "plain", "classes": list(classes), "protocols": {"p": protocol}}
    (root / "dataset.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    with (root / "clips.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for number, row in enumerate(rows):
            writer.writerow({"id": f"c{number:03d}", "label": classes[0], **row})
    return root


def plain(root: Path, rows: Sequence[Mapping[str, object]], **about) -> ClipFolder:
    """Write and open it."""
    return open_folder(write_plain(root, rows, **about))
