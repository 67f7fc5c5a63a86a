import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from spoiled import add_copy, change_row, change_rows, frames_of, spoil

from poselens.data.audit import audit, refuse_leaks
from poselens.data.folder import open_folder
from poselens.errors import AnnotationError
from poselens.recipes.check_findings import Checked, bad_csv, judge
from poselens.recipes.check_ledger import Ledger
from poselens.recipes.check_report import summary, write_check
from poselens.recipes.check_rules import Facts
from poselens.recipes.checking import find_copies, ledger_path, look_at_clips
from poselens.synth.make import PROTOCOL

Check = Callable[..., Checked]


@pytest.fixture
def check() -> Iterator[Check]:
    """Check a data set; what was found can be read until the next check."""
    with ExitStack() as opened:

        def run(root: Path, *, quick: bool = False) -> Checked:
            opened.close()
            folder = open_folder(root)
            ledger = opened.enter_context(Ledger(ledger_path(root, quick=quick)))
            columns = look_at_clips(folder, ledger, workers=1, quick=quick)
            copies = find_copies(folder, columns, ledger, workers=1)
            return judge(Facts(folder, columns, ledger), copies, list(folder.info.protocols))

        yield run


@pytest.fixture
def data(drawn, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(drawn.data, root)
    return root


def clips_of(checked: Checked) -> dict[str, list[str]]:
    return {each.code: [item.id for item in each.items] for each in checked.findings}


def state(root: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file() and ".cache" not in file.parts
    }


def test_a_drawn_set_is_fine_and_its_clips_are_no_copies_of_each_other(data, check):
    before = state(data)
    checked = check(data)
    assert checked.verdict() == "48 clips: all fine"
    assert not checked.failed(strict=True)
    assert set(clips_of(checked)) <= {"CHK-010"}
    assert bad_csv(checked) == b"id,file,code,reason,mend\n"
    assert state(data) == before


def test_each_planted_fault_is_found_where_it_is_and_nothing_else_is_blamed(data, check):
    planted = spoil(data)
    before = state(data)
    checked = check(data)
    found = clips_of(checked)
    for code, clip in planted.items():
        assert clip in found[code], code
    # the file cut short is also shorter than its joints, and its last step is uneven
    alone = {code: clips for code, clips in found.items() if code not in ("CHK-010", "CHK-020")}
    blamed = {clip for clips in alone.values() for clip in clips}
    assert blamed == set(planted.values())
    assert found["CHK-020"] == ["synth-000020", "synth-000021"]
    assert [len(group) for group in checked.groups] == [2, 2, 2]
    assert (checked.unreadable, checked.fine) == (1, 51 - 1 - 6 - 12)
    assert checked.failed()
    assert state(data) == before


def test_bad_csv_has_every_error_and_warning_with_the_code_of_its_fault(data, check):
    spoil(data)
    lines = bad_csv(check(data)).decode().splitlines()
    assert lines[0] == "id,file,code,reason,mend"
    assert lines[1].startswith("synth-000000,videos/synth-000000.mp4,VID-003,not a video: looks ")
    assert "CHK-010" not in "".join(lines)
    assert any(
        ",CHK-021,the same content: synth-000022 (" in line.replace('"', "") for line in lines
    )


@pytest.mark.parametrize(
    ("change", "crf"),
    [
        (lambda frames: frames, 28),
        (lambda frames: frames[2:], 23),
        (lambda frames: frames[:-2], 23),
    ],
    ids=["re-encoded", "start", "end"],
)
def test_a_copy_in_test_of_a_clip_that_trains_is_a_severe_leak(data, change, crf, check):
    folder = open_folder(data)
    clip = str(folder.ids[folder.indices(PROTOCOL, "train")[0]])
    add_copy(data, clip, "copy", change(frames_of(data / "videos" / f"{clip}.mp4")), crf)
    change_row(data, "copy", **{f"split:{PROTOCOL}": "test", "subject": "new"})
    checked = check(data)
    leaks = [leak for leak in checked.parts[0].leaks if leak.kind == "clip"]
    assert [(leak.parts, leak.values, leak.severe) for leak in leaks] == [
        (("train", "test"), 1, True)
    ]
    assert "test shares 1 pair of equal clips with train" in checked.verdict()
    assert checked.failed()


def test_the_same_span_of_one_video_is_a_copy_and_another_span_is_none(data, check):
    add_copy(data, "synth-000000", "copy", None, 0)
    add_copy(data, "synth-000000", "early", None, 0)
    change_row(data, "early", end_s="0.6")
    checked = check(data)
    names = [[str(checked.facts.folder.ids[clip]) for clip in group] for group in checked.groups]
    assert names == [["synth-000000", "copy"]]


def test_what_a_check_found_is_what_training_refuses(data, check):
    folder = open_folder(data)
    val = str(folder.ids[folder.indices(PROTOCOL, "val")[0]])
    column = f"split:{PROTOCOL}"
    # the copy that was compared with both lies in validation; train and test share it all the same
    for name, part in (("copy-1", "train"), ("copy-2", "test")):
        add_copy(data, val, name, None, 0)
        change_row(data, name, subject=name, **{column: part})
    assert audit(open_folder(data), PROTOCOL).leaks == []
    write_check(check(data), data / "check", workers=1)
    leaks = audit(open_folder(data), PROTOCOL).severe
    assert {leak.parts for leak in leaks} == {("train", "test"), ("val", "test")}
    with pytest.raises(AnnotationError, match="1 clip is in both train and test"):
        refuse_leaks(open_folder(data), PROTOCOL, allowed=False)


def test_a_second_check_decodes_only_what_changed(data, monkeypatch, check):
    check(data)
    asked = []

    def nothing(_work, items, **_options):
        asked.extend(items)
        return iter(())

    monkeypatch.setattr("poselens.recipes.checking.in_children", nothing)
    first = check(data)
    assert asked == []
    assert first.verdict() == "48 clips: all fine"
    video = data / "videos" / "synth-000003.mp4"
    video.write_bytes(video.read_bytes() + b"\0")
    check(data)
    assert [task.video for task in asked] == [video]


def test_a_damaged_line_is_looked_at_again(data, check):
    before = summary(check(data))["numbers"]
    path = ledger_path(data, quick=False)
    path.write_bytes(path.read_bytes().replace(b'"decoded":5', b'"decoded":1'))
    assert summary(check(data))["numbers"] == before


def test_progress_counts_every_clip_once(data):
    spoil(data)
    told = []
    folder = open_folder(data)
    with Ledger(ledger_path(data, quick=False)) as ledger:
        look_at_clips(folder, ledger, workers=1, told=told.append)
        assert sum(told) == 51
        look_at_clips(folder, ledger, workers=1, told=told.append)
        assert sum(told) == 102


def test_a_quick_check_counts_frames_and_knows_no_likeness(data, check):
    spoil(data)
    found = clips_of(check(data, quick=True))
    assert "synth-000000" in found["CHK-001"]
    assert "synth-000001" in found["CHK-002"]
    assert "synth-000004" in found["CHK-006"]
    assert "CHK-007" not in found
    assert found["CHK-020"] == ["synth-000021"]


def test_a_video_outside_the_folder_is_not_opened(data, check):
    video = data / "videos" / "synth-000002.mp4"
    outside = data.parent / "outside.mp4"
    video.rename(outside)
    video.symlink_to(outside)
    checked = check(data)
    (item,) = [i for f in checked.findings if f.code == "CHK-001" for i in f.items]
    assert (item.id, item.code) == ("synth-000002", "DATA-009")


def test_classes_without_clips_and_clips_without_use(data, check):
    column = f"split:{PROTOCOL}"

    def change(row):
        if row["label"] == "wave-slow" and row[column] == "train":
            return {**row, column: ""}
        if row["label"] == "wave-fast" and row[column] == "test":
            return {**row, "label": ""}
        return row

    change_rows(data, change)
    checked = check(data)
    told = {f.code: [item.reason for item in f.items] for f in checked.findings}
    assert told["CHK-025"] == [f"{PROTOCOL}: no clip of wave-slow in train"]
    assert told["CHK-026"] == [f"{PROTOCOL}: no clip of wave-fast in test"]
    assert len(told["CHK-011"]) == len(told["CHK-028"]) + 0 == 1
    table = summary(checked)["protocols"][PROTOCOL]["classes"]
    assert table["wave-slow"]["in none"] == 1
    assert table[""]["test"] == 1


def test_sharing_by_definition_is_shown_and_is_no_error(data, check):
    change_rows(data, lambda row: {**row, "subject": "same"})
    checked = check(data)
    assert checked.failed()
    assert "test shares 1 subject with train" in checked.verdict()
    text = (data / "dataset.yaml").read_text()
    text = text.replace("shares: {}", "shares: {subject: one athlete}")
    (data / "dataset.yaml").write_text(text)
    checked = check(data)
    assert not checked.failed()
    (item, *_) = [i for f in checked.findings if f.code == "CHK-023" for i in f.items]
    assert "by definition: one athlete" in item.reason


def test_the_summary_is_plain_json_with_stable_keys(data, check):
    spoil(data)
    facts = json.loads(json.dumps(summary(check(data)), allow_nan=False))
    assert list(facts) == [
        "format", "dataset", "fingerprint", "clips_fingerprint", "quick", "verdict", "clips",
        "fine", "with_warnings", "with_errors", "unreadable", "errors", "warnings", "notes",
        "findings", "twins",
        "copy_groups", "protocols", "subjects", "numbers", "sizes",
    ]  # fmt: skip
    assert facts["format"] == 1
    assert facts["copy_groups"] == 3
    assert ["synth-000020", "copy-worse"] in facts["twins"]
    assert facts["sizes"]["64x64"] == 50
    assert facts["numbers"]["fps"]["median"] == 24
    assert sum(facts["subjects"].values()) == 51
    for finding in facts["findings"]:
        assert set(finding) == {"code", "severity", "title", "mend", "count", "unit", "items"}


@pytest.mark.shared
def test_nw_ucla_has_joints_of_one_view_under_two_names(shared, tmp_path, check):
    from poselens.data.nw_ucla import import_nw_ucla

    root = tmp_path / "ucla"
    import_nw_ucla(shared / "data" / "nw_ucla", root)
    checked = check(root)
    assert len(checked.groups) == 95
    assert {len(group) for group in checked.groups} == {2}
    assert all(copy.same or copy.apart < 1e-6 for copy in checked.copies)
    views = [sorted(checked.facts.folder.record(c).view for c in group) for group in checked.groups]
    assert views == [["2", "3"]] * 95
    found = clips_of(checked)
    frames = np.array([checked.facts["metres_frames"][checked.facts.folder.index_of(c)]
                       for c in found["CHK-017"]])  # fmt: skip
    assert 1 in frames


def test_warnings_about_the_set_are_in_the_verdict(data, check):
    """Every clip is fine, and there is nothing to test on."""
    rows = data / "clips.csv"
    rows.write_text(rows.read_text().replace(",test\n", ",train\n"))
    assert check(data).verdict() == "48 clips: all fine; 1 warning about the set as a whole"
