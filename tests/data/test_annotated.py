"""The tail that annotation importers share: times, splits, and lists in other spellings."""

from pathlib import Path

import pytest

from poselens.data.annotated import seconds
from poselens.data.csv_clips import import_csv
from poselens.data.folder import open_folder
from poselens.errors import AnnotationError, PoselensError

pytestmark = pytest.mark.usefixtures("fake_video")


def refuse(code: str, message: str, mend: str) -> AnnotationError:
    return AnnotationError(code, message, mend=mend)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None), ("0", 0), ("1.5", 1.5), ("12.", 12), ("2e1", 20), ("0:00:01.5", 1.5),
        ("01:02:03", 3723), ("100:00:00.001", 360000.001),
    ],
)  # fmt: skip
def test_times(text: str, expected: float | None) -> None:
    assert seconds(text, "start", refuse) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,5", "start is '1,5', with a decimal comma. Mend: write a point"),
        ("0:00:01,5", "with a decimal comma"),
        ("1:30", "start is '1:30', expected seconds. Mend: write 83.5 or 0:01:23.5"),
        ("0:60:00", "expected seconds"),
        ("0:00:60", "expected seconds"),
        ("-1", "expected seconds"),
        ("nan", "expected seconds"),
        ("１", "expected seconds"),
        ("1_0", "expected seconds"),
    ],
)
def test_times_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(PoselensError, match=message) as caught:
        seconds(text, "start", refuse)
    assert caught.value.code == "DATA-005"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_list_in_other_spellings(tmp_path: Path, separator: str) -> None:
    rows = [["\ufeffVideo", "Label", "Session", "event", "start", "end"]]
    for take in range(6):
        (tmp_path / f"{take}.mp4").write_text("64x48 30")
        rows.append([f"{take}.mp4", "a;b, c" if take % 2 else "d", "s1", "", "0:00:01", "2.5"])
    quoted = [[f'"{field}"' if field == "a;b, c" else field for field in row] for row in rows]
    text = "\r\n".join(separator.join(row) for row in quoted)
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    import_csv(tmp_path / "list.csv", tmp_path / "out")
    folder = open_folder(tmp_path / "out")
    assert folder.info.classes == ["a;b, c", "d"]
    record = folder.record(0)
    assert (record.session, record.start_s, record.end_s) == ("s1", 1.0, 2.5)
    header = (tmp_path / "out/clips.csv").read_text().splitlines()[0].split(",")
    # a column that no clip fills is not made
    assert "session" in header
    assert "event" not in header
