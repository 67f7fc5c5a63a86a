"""``poselens data import`` of NTU RGB+D, raw and as CTR-GCN prepares it."""

import ctr_gcn_npz_files
import ntu_files


def test_raw(tmp_path, poselens) -> None:
    words, _, _ = ntu_files.importing(tmp_path / "src")
    answer = poselens(
        "data", "import", *words, "--out", tmp_path / "out", "--link", "hard", "--json"
    )
    assert answer.code == 0, answer.err
    assert (answer.facts["imported"], answer.facts["skipped"]) == (72, 0)
    assert answer.facts["counts"]["videos"] == 72
    assert answer.facts["notes"][0] == "not complete: 72 of 56,578 clips of NTU RGB+D 60"


def test_notes_are_told_and_listed_recordings_are_no_damage(tmp_path, poselens) -> None:
    for name in ("S001C002P005R002A008", "S001C001P001R001A001"):
        ntu_files.write_recording(tmp_path / "src", name, frames=4)
    answer = poselens(
        "data", "import", "ntu60", tmp_path / "src", "--out", tmp_path / "out", "--workers", 1
    )
    assert answer.code == 0
    assert "DATA-030" in answer.err + answer.out
    assert "ntu60-xsub train: 1 clips, 40,091 are published" in answer.err + answer.out


def test_archive(tmp_path, poselens) -> None:
    words, _, _ = ctr_gcn_npz_files.importing(tmp_path / "src")
    answer = poselens("data", "import", *words, "--out", tmp_path / "out", "--json")
    assert (answer.code, answer.facts["imported"]) == (0, 48)
    refused = poselens("data", "import", *words, "--out", tmp_path / "again", "--link", "hard")
    assert refused.code == 2
    assert "ctr-gcn takes --names" in refused.err
    assert "told" not in refused.err
