"""What ``data import`` says beyond counts."""

import json
from pathlib import Path

import keypoint_files as tools


def test_people_without_tracks_are_told(tmp_path: Path, poselens) -> None:
    for clip in range(6):
        whole = tools.moving(clip, 25, people=2)
        tools.write_openpose(tmp_path / "src" / "ab"[clip % 2] / f"c{clip}", whole)
    answer = poselens("data", "import", "keypoints", tmp_path / "src", "--out", tmp_path / "out")
    assert answer.code == 0
    assert "6 files list people without saying who is who" in answer.out + answer.err
    notes = json.loads((tmp_path / "out/import_report.json").read_text())["notes"]
    assert len(notes) == 1
    answer = poselens(
        "data", "import", "csv", tmp_path / "src", "--out", tmp_path / "o2", "--size", "6x4"
    )
    assert "csv has no use for --size" in answer.err
