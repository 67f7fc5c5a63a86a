from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselens.data.info import DatasetInfo, ProtocolInfo
from poselens.data.table import CHUNK, ClipTable, Texts, leaves_folder, read_clips
from poselens.errors import AnnotationError

INFO = DatasetInfo(
    name="x", classes=["wave", "clap"], protocols={"p": ProtocolInfo(description="")}
)
HEADER = "id,video,label,start_s,end_s,width,split:p\n"


def read(root: Path, text: str | bytes) -> ClipTable:
    content = text if isinstance(text, bytes) else text.encode()
    (root / "clips.csv").write_bytes(content)
    return read_clips(root, INFO)


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        (
            "b,,wav,,,,",
            "DATA-006",
            r"line 3: unknown label 'wav' \(2 classes\); did you mean 'wave",
        ),
        ("b,,,,,,train", "DATA-006", "line 3: the clip has no label, but is in the train part"),
        ("a,,wave,,,,", "DATA-007", "id 'a' is there twice, in lines 2 and 3"),
        ("b,,wave,,,,Train", "DATA-008", "line 3: split:p is 'Train', expected train, val, test"),
        ("b,../x.mp4,wave,,,,", "DATA-009", "line 3: video '../x.mp4' leads out"),
        ("b,/etc/passwd,wave,,,,", "DATA-009", "leads out"),
        ("b,C:\\x.mp4,wave,,,,", "DATA-009", "leads out"),
        ("b,,wave,,,", "DATA-005", "line 3: found 6 fields, expected 7"),
        ("b,,wave,,,,,", "DATA-005", "line 3: found 8 fields, expected 7"),
        (",,wave,,,,", "DATA-005", "line 3: the id is empty"),
        ("b" * 201 + ",,wave,,,,", "DATA-005", "the id has 201 characters, the limit is 200"),
        ("b\x01,,wave,,,,", "DATA-005", "characters that cannot be printed"),
        ("b,,wave,x,,,", "DATA-005", "line 3: start_s is 'x', expected seconds"),
        ("b,,wave,nan,,,", "DATA-005", "start_s is 'nan'"),
        ("b,,wave,-1,,,", "DATA-005", "start_s is '-1'"),
        ("b,,wave,2,1,,", "DATA-005", r"end_s is 1.0, which is not after start_s \(2.0\)"),
        ("b,,wave,,0,,", "DATA-005", "end_s is 0.0, which is not after"),
        ("b,,wave,,,1.5,", "DATA-005", "width is '1.5', expected pixels"),
        ("b,,wave,,,１２,", "DATA-005", "expected pixels"),
        ('b,"un"closed,wave,,,,', "DATA-005", "line 3: not valid CSV"),
    ],
)
def test_bad_rows(tmp_path: Path, row: str, code: str, message: str) -> None:
    with pytest.raises(AnnotationError, match=message) as caught:
        read(tmp_path, f"{HEADER}a,,wave,,,,\n{row}\n")
    assert caught.value.code == code


def test_bad_row_far_down_names_both_lines(tmp_path: Path) -> None:
    rows = "".join(f"c{clip},,wave,,,,\n" for clip in range(CHUNK + 10))
    with pytest.raises(AnnotationError, match=f"lines 9 and {CHUNK + 12}"):
        read(tmp_path, HEADER + rows + "c7,,wave,,,,\n")


def test_lines_are_counted_across_quoted_breaks(tmp_path: Path) -> None:
    text = HEADER + 'a,"videos/one\ntwo.mp4",wave,,,,\n\nb,,nope,,,,\n'
    with pytest.raises(AnnotationError, match="line 5: unknown label 'nope'"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("id,video,split:p", r"column 'label' is missing \(found id, video, split:p\)"),
        ("id,label", "column 'split:p' is missing"),
        ("id,label,split:p,subjct", "unknown column 'subjct'; did you mean 'subject'"),
        ("id,label,split:p,split:q", "unknown column 'split:q'"),
        ("id,label,split:p,id", "column 'id' is there twice"),
        ("", "column 'id' is missing"),
    ],
)
def test_bad_header(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(AnnotationError, match=message) as caught:
        read(tmp_path, header + "\n")
    assert caught.value.code == "DATA-004"


def test_not_text(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="not UTF-8 text"):
        read(tmp_path, HEADER.encode("utf-16"))


def test_accepts_what_spreadsheets_write(tmp_path: Path) -> None:
    text = "\ufeffid , label,split:p,end_s\r\na,wave ,train,1e1\r\n\r\nb,,test,2.\r\n"
    table = read(tmp_path, text)
    assert table.ids.tolist() == ["a", "b"]
    assert table.labels.tolist() == [0, -1]
    assert table.times[1].tolist() == [10.0, 2.0]
    assert np.isnan(table.times[0]).all()
    assert table.splits["p"].tolist() == [1, 3]
    assert table.sizes.tolist() == [[0, 0], [0, 0]]


def test_no_clips(tmp_path: Path) -> None:
    assert len(read(tmp_path, HEADER).ids) == 0


@given(st.lists(st.lists(st.text(max_size=5), max_size=4), max_size=4))
def test_texts_keep_any_text(batches: list[list[str]]) -> None:
    texts = Texts()
    for batch in batches:
        texts.extend([text.encode(errors="replace").decode() for text in batch])
    flat = [text.encode(errors="replace").decode() for batch in batches for text in batch]
    assert list(texts) == flat
    assert len(texts) == len(flat)


@pytest.mark.parametrize("path", ["a/../b", "..", "\\\\host\\x", "d:x.mp4", "/x", "a\0b", "a/.."])
def test_paths_that_leave(path: str) -> None:
    assert leaves_folder(path)


@pytest.mark.parametrize("path", ["", "a.mp4", "a..b/c", "videos/take 1: start.mp4", "é/x.mp4"])
def test_paths_that_stay(path: str) -> None:
    assert not leaves_folder(path)
