"""BORIS' projects and tables: which stretches they say, and what is left out of them."""

import json
import re
from pathlib import Path

import boris_files as boris
import pytest

from poselens.data.boris import import_boris, read_boris
from poselens.data.folder import open_folder
from poselens.data.importing import ImportReport
from poselens.errors import AnnotationError, PoselensError, UsageError


def events(path: Path) -> tuple[list[tuple[object, ...]], list[str]]:
    report = ImportReport()
    found = [
        (one.media, one.subject, one.behaviour, round(one.start, 3), round(one.stop, 3))
        for one in read_boris(path, report)
    ]
    return found, [entry.code + " " + entry.message for entry in report.skipped]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_aggregated_events(tmp_path: Path) -> None:
    rows = [
        boris.aggregated_row("o1", "a.mp4", "No focal subject", "s", 1.8, 8.125),
        boris.aggregated_row("o1", "a.mp4", "subject1", "p", 32.8, 32.8),
        boris.aggregated_row("o2", "a.mp4", "subject1", "s", 1, 2),
        boris.aggregated_row("o2", "b.mp4", "subject1", "s", 200, 210),
        boris.aggregated_row("live", "", "subject1", "s", 1, 2),
    ]
    for separator in ("\t", ",", ";"):
        path = write(tmp_path / "a.tsv", boris.aggregated(rows, separator))
        found, left_out = events(path)
        assert found == [
            ("a.mp4", "", "s", 1.8, 8.125),
            ("a.mp4", "subject1", "p", 32.8, 32.8),
        ]
        assert [line[:30] for line in left_out] == [
            "DATA-048 observation 'o2' has ",
            "DATA-048 observation 'o2' has ",
            "DATA-048 no media file: a live",
        ]


def test_the_newer_columns(tmp_path: Path) -> None:
    head = "Observation id,Source,Time offset (s),Subject,Behavior,Behavior type,Start (s),Stop (s)"
    path = write(
        tmp_path / "a.csv",
        f"{head},Media file name\no,player #1:x,0.0,r,s,STATE,1,2,d/a.mp4\n"
        "o,player #1:x,3.5,r,s,STATE,1,2,d/a.mp4\n",
    )
    found, left_out = events(path)
    assert found == [("d/a.mp4", "r", "s", 1, 2)]
    assert left_out == ["DATA-048 a time offset of 3.5 s; set it to 0 in BORIS"]


def test_single_events_are_paired(tmp_path: Path) -> None:
    text = boris.single_events(
        "a.mp4",
        [(1.5, "ann", "s", "START"), (2, "bob", "s", "START"), (2.25, "ann", "p", "POINT"),
         (3, "ann", "s", "STOP"), (4, "bob", "s", "STOP"), (5, "bob", "s", "START")],
    )  # fmt: skip
    found, left_out = events(write(tmp_path / "a.tsv", text))
    assert found == [
        ("a.mp4", "ann", "p", 2.25, 2.25),
        ("a.mp4", "ann", "s", 1.5, 3),
        ("a.mp4", "bob", "s", 2, 4),
    ]
    assert left_out == ["DATA-050 's' starts and never stops"]
    path = write(tmp_path / "a.tsv", boris.single_events("a.mp4", [(1, "ann", "s", "STOP")]))
    with pytest.raises(AnnotationError, match="status is 'STOP', which fits no event before it"):
        events(path)


def test_a_project_counts_times_from_the_start_of_each_file(tmp_path: Path) -> None:
    content = boris.project(
        {
            "two": boris.observation(
                {"a.mp4": 10.0, "b.mp4": 20.0},
                [[12, "", "s", "", ""], [1, "ann", "s", "", ""], [2.5, "ann", "s", "", ""],
                 [15, "", "s", "", ""], [9, "", "t", "", ""], [11, "", "t", "", ""],
                 [3, "ann", "p", "", ""]],
            ),
            "shifted": boris.observation(
                {"a.mp4": 10.0}, [[1, "", "p", "", ""]], **{"time offset": 5.0}
            ),
            "live": boris.observation({}, [[1, "", "p", "", ""]], type="LIVE", file=[]),
            "nothing": boris.observation({"a.mp4": 10.0}, []),
            "open": boris.observation({"a.mp4": 10.0}, [[1, "", "s", "", ""]]),
        }
    )  # fmt: skip
    found, left_out = events(write(tmp_path / "p.boris", content))
    assert found == [
        ("a.mp4", "ann", "s", 1, 2.5),
        ("a.mp4", "ann", "p", 3, 3),
        ("b.mp4", "", "s", 2, 5),
    ]
    assert left_out == [
        "DATA-050 goes on from 'a.mp4' into the next file",
        "DATA-048 a time offset of 5.0 s; set it to 0 in BORIS",
        "DATA-048 no media file: a live observation or one of pictures",
        "DATA-050 's' starts and never stops",
    ]


def test_clips_of_events(tmp_path: Path) -> None:
    names = [f"v{n}.mp4" for n in range(5)]
    boris.write_videos(tmp_path / "videos/deep", names)
    rows = [
        boris.aggregated_row(name, f"/home/x/{name}", "", what, start, stop)
        for name in [*names, "gone.mp4"]
        for what, start, stop in (("s", 0.5, 1.5), ("p", 0.25, 0.25))
    ]
    path = write(tmp_path / "a.tsv", boris.aggregated(rows))
    with pytest.raises(UsageError, match=re.escape("6 of 12 events have no duration, such as 'p'")):
        import_boris(path, tmp_path / "out", videos=tmp_path / "videos")
    report = import_boris(path, tmp_path / "out", videos=tmp_path / "videos", point_window=1)
    assert [entry.code for entry in report.skipped] == ["DATA-048", "DATA-048"]
    folder = open_folder(tmp_path / "out")
    assert folder.info.classes == ["p", "s"]
    record = folder.record(1)
    assert (record.start_s, record.end_s, record.source) == (0, 0.75, "deep/v0.mp4")
    assert record.id == "deep/v0@0.000"
    with pytest.raises(UsageError, match="the BORIS file does not exist"):
        import_boris(tmp_path / "gone.boris", tmp_path / "out2")


ROW = boris.aggregated_row("o", "a", "", "s", 4, 5)
DECIMAL_COMMA = boris.aggregated([ROW]).replace("4.000", "1,5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "no columns Subject, Behavior and Start (s), Stop (s), or Time and Status"),
        ("{", "not valid JSON"),
        ('{"observations": {}}', "found no observations and behaviors_conf"),
        (boris.project({"o": {"events": 3}}), "observation 'o': an observation without events"),
        (
            boris.project({"o": boris.observation({"a": 1.0}, [[True, "", "s", ""]])}),
            "observation 'o' event 0: an event whose time is no number",
        ),
        (
            boris.project({"o": boris.observation({"a": 1.0}, [[1, "", "zzz", ""]])}),
            "behaviour 'zzz' is not among those of the project",
        ),
        (
            DECIMAL_COMMA,
            "line 2: start (s) is '1,5', with a decimal comma. Mend: write a point",
        ),
    ],
)  # fmt: skip
def test_what_is_no_file_of_boris(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "a.boris", text)
    with pytest.raises(AnnotationError, match=re.escape(message)) as caught:
        events(path)
    assert caught.value.code == "DATA-047"
    assert caught.value.mend


def test_a_link_does_not_make_a_wrong_video(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        boris.write_videos(tmp_path / folder, ["v.mp4"], seconds=1)
    rows = [
        boris.aggregated_row("o", media, "", "s", 0, 1)
        for media in ("x/v.mp4", "C:\\a\\two\\v.mp4")
    ]
    path = write(tmp_path / "a.tsv", boris.aggregated(rows[:1]))
    with pytest.raises(PoselensError, match=r"no video 'x/v.mp4', or several, in"):
        import_boris(path, tmp_path / "out")
    rows += [boris.aggregated_row("o2", "one/v.mp4", "", "t", 0, 1)]
    write(path, boris.aggregated(rows[1:]))
    import_boris(path, tmp_path / "out")
    folder = open_folder(tmp_path / "out")
    assert [folder.record(n).video for n in range(2)] == ["videos/two/v.mp4", "videos/one/v.mp4"]
    assert json.loads((tmp_path / "out/import_report.json").read_text())["skipped"] == 0
