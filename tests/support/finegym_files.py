"""FineGym's lists, categories and times as published, and clips to go with them."""

import json
from collections.abc import Iterable
from pathlib import Path

from pyskl_files import annotation, joints, write_clip, write_pickle

NAMES = (
    "round-off, flic-flac with 0.5 turn on, stretched salto forward with 0.5 turn off",
    "round-off, flic-flac on, stretched salto backward with 2 turn off",
    "salto backward tucked with 1 twist",
    "stag jump      ",
)
SETS = {1: "vault", 21: "FX_leap_jump_hop", 33: "BB_flight_salto", 35: "BB_dismounts"}


def clip(video: int, event: int, element: int) -> str:
    """The name of a clip: events of 20 s every 100 s, elements of 2 s every 5 s."""
    begin = 100 * event
    return (
        f"vid_-{video:06d}_E_{begin:06d}_{begin + 20:06d}"
        f"_A_{5 * element:04d}_{5 * element + 2:04d}"
    )  # fmt: skip


def lines(clips: Iterable[tuple[str, int]]) -> str:
    """Lines of ``gym99_train_element_v1.0.txt``."""
    return "".join(f"{name} {label}\n" for name, label in clips)


def categories(count: int = 99) -> str:
    """Lines of ``gym99_categories.txt``; 58 and 70 have one name, as in the published file."""
    text = ""
    for label in range(count):
        number = 1 if label < 6 else 21 if label < 41 else 33 if label < 70 else 35
        event = {1: "VT", 21: "FX", 33: "BB", 35: "BB"}[number]
        name = f"element {label}" if label > 1 else NAMES[label]
        if label in (58, 70):
            name = "salto backward tucked"
        if label == 16:
            name = NAMES[3]
        text += (
            f"Clabel: {label:3d}; set: {number:2d}; Glabel: {3 * label + 1:3d}; ({event}) {name}\n"
        )
    return text


def times(clips: Iterable[str], *, late: float = 0.5) -> dict[str, object]:
    """The JSON of exact times: everything is ``late`` seconds after the whole ones."""
    found: dict[str, dict[str, dict[str, object]]] = {}
    for name in clips:
        video, event, element = name[:11], name[12:27], name[28:]
        begin, end = int(event[2:8]), int(event[9:])
        first, last = int(element[2:6]), int(element[7:])
        entry = found.setdefault(video, {}).setdefault(
            event, {"event": 1, "timestamps": [[begin + late, end + late]], "segments": {}}
        )
        middle = (first + last) / 2 + late
        entry["segments"][element] = {  # type: ignore[index]
            "stages": 2,
            "timestamps": [[first + late, middle], [middle, last + late]],
        }
    found["no_elements"] = {
        "E_000001_000002": {"event": 2, "timestamps": [[1, 2]], "segments": None}
    }
    return dict(found)


def write_lists(
    root: Path, train: Iterable[tuple[str, int]], test: Iterable[tuple[str, int]]
) -> Path:
    """Write lists of v1.0, categories and sets."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "gym99_train_element_v1.0.txt").write_text(lines(train))
    (root / "gym99_val_element.txt").write_text(lines(test))
    (root / "gym99_categories.txt").write_text(categories())
    sets = "".join(f"set: {number}; {name}\n" for number, name in SETS.items())
    (root / "set_categories.txt").write_text(sets)
    return root


def write_times(root: Path, clips: Iterable[str]) -> Path:
    """Write the JSON of exact times."""
    path = root / "finegym_annotation_info_v1.1.json"
    path.write_text(json.dumps(times(clips)))
    return path


def some_clips() -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """24 clips that train, of six videos, and 8 that test, two of them of a routine that trains."""
    train = [(clip(video, 1, element), element % 2) for video in range(6) for element in range(4)]
    test = [(clip(video, 2, element), element % 2) for video in (5, 6, 7) for element in range(2)]
    return train, [*test, (clip(0, 1, 8), 0), (clip(0, 1, 9), 1)]


def write_skeletons(path: Path, clips: Iterable[tuple[str, int]], *, frames: int = 20) -> Path:
    """Write ``gym_hrnet.pkl`` for the clips, whose names lack ``E_`` and ``A_``."""
    entries = [
        annotation(
            name.replace("_E_", "_").replace("_A_", "_"), label, number,
            keypoint=joints(2 * number + label, frames=frames),
        )
        for number, (name, label) in enumerate(clips)
    ]  # fmt: skip
    names = [entry["frame_dir"] for entry in entries]
    return write_pickle(path, {"split": {"train": names, "val": []}, "annotations": entries})


def importing(root: Path) -> tuple[list[object], str, str]:
    """Write 32 clips of two classes with videos and joints; return how they are imported."""
    train, test = some_clips()
    src = write_lists(root / "lists", train, test)
    for name, _ in (*train, *test):
        write_clip(root / "videos" / f"{name}.mp4")
    skeletons = write_skeletons(root / "gym_hrnet.pkl", [*train, *test])
    words = ["finegym", src, "--videos", root / "videos", "--skeletons", skeletons]
    return words, "finegym99", "both"
