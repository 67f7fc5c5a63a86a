"""ELAN's documents and texts: which stretches they say, and which XML is refused."""

import re
from pathlib import Path

import elan_files as elan
import pytest
from boris_files import write_videos

from poselens.data.elan import import_elan, read_elan
from poselens.data.folder import open_folder
from poselens.errors import AnnotationError, UsageError

SIGNS = [(0.5, 1.25, "hello"), (2.0, 3.5, "thank  you")]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_document(tmp_path: Path) -> None:
    document = elan.eaf(
        {"sign": SIGNS, "ünïcode & <tier>": [(0, 4, "a < b")]}, ["a.mp4", "b.mp4"],
        participant="Ann", referring={"meaning": [(0, "greeting"), (1, "thanks")]},
    )  # fmt: skip
    content = read_elan(write(tmp_path / "a.eaf", document))
    assert content.tiers == ["sign", "ünïcode & <tier>", "meaning"]
    assert content.media == [("./a.mp4", 0.0), ("./b.mp4", 0.0)]
    found = {
        (one.tier, one.participant, one.text, one.start, one.end) for one in content.annotations
    }
    assert found == {
        ("sign", "Ann", "hello", 0.5, 1.25),
        ("sign", "Ann", "thank you", 2.0, 3.5),
        ("ünïcode & <tier>", "Ann", "a < b", 0.0, 4.0),
        # an annotation that refers to another has its times
        ("meaning", "", "greeting", 0.5, 1.25),
        ("meaning", "", "thanks", 2.0, 3.5),
    }


def test_tab_delimited_text(tmp_path: Path) -> None:
    plain = elan.text_rows("sign", SIGNS[:1])
    named = "Tier\tBegin Time - ss.msec\tEnd Time - ss.msec\tAnnotation\nsign\t0.5\t1.25\thello\n"
    german = "Tier\tx\tBeginn\tBeginn\tEnde\tEnde\tDauer\tDauer\tText\n" + plain
    columns = (
        '"#file:///D:/rec/a.mp4 -- offset: 250\n'
        "Begin Time - hh:mm:ss.ms\tEnd Time - hh:mm:ss.ms\tsign\twords\n"
        "00:00:00.500\t00:00:01.250\thello\t\n"
    )
    for text, media in ((plain, []), (named, []), (german, []),
                        (columns, [("file:///D:/rec/a.mp4", 0.25)])):  # fmt: skip
        content = read_elan(write(tmp_path / "a.txt", text))
        assert [(one.tier, one.text, one.start, one.end) for one in content.annotations] == [
            ("sign", "hello", 0.5, 1.25)
        ]
        assert content.media == media


def test_clips_of_a_tier(tmp_path: Path) -> None:
    for number in range(5):
        write_videos(tmp_path / "src", [f"t{number}.mp4"])
        document = elan.eaf({"sign": SIGNS, "empty": []}, ["old.mp4", f"t{number}.mp4"])
        document = document.replace('TIME_SLOT_ID="ts3" TIME_VALUE="3500"', 'TIME_SLOT_ID="ts3"')
        document = document.replace("thank  you", "") if number == 4 else document
        write(tmp_path / f"src/t{number}.eaf", document)
    report = import_elan(tmp_path / "src", tmp_path / "out")
    assert [entry.code for entry in report.skipped] == ["DATA-050"] * 5
    folder = open_folder(tmp_path / "out")
    assert (len(folder), folder.info.classes) == (5, ["hello"])
    record = folder.record(0)
    assert (record.video, record.start_s, record.end_s) == ("videos/t0.mp4", 0.5, 1.25)


def test_a_tier_has_to_be_said_where_there_are_several(tmp_path: Path) -> None:
    path = write(tmp_path / "a.eaf", elan.eaf({"sign": SIGNS, "gaze": SIGNS}, ["a.mp4"]))
    with pytest.raises(UsageError, match=re.escape("annotations on 2 tiers. Mend: --tier")):
        import_elan(path, tmp_path / "out")
    with pytest.raises(UsageError, match="no annotations on tier 'sing'; did you mean 'sign'"):
        import_elan(path, tmp_path / "out", tier="sing")
    with pytest.raises(AnnotationError, match="nothing to import; 2 skipped, the first"):
        import_elan(path, tmp_path / "out", tier="sign")
    with pytest.raises(UsageError, match="the ELAN file does not exist"):
        import_elan(tmp_path / "gone.eaf", tmp_path / "out")


GOOD = elan.eaf({"sign": SIGNS}, ["a.mp4"])


def with_doctype(declaration: str) -> str:
    return GOOD.replace("<ANNOTATION_DOCUMENT", f"{declaration}<ANNOTATION_DOCUMENT", 1)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (with_doctype('<!DOCTYPE a [<!ENTITY x "y">]>'), "DATA-052", "document type or entities"),
        (with_doctype('<!DOCTYPE a SYSTEM "file:///etc/passwd">'), "DATA-052", "line 2: the XML"),
        ("<a>" * 40 + "</a>" * 40, "DATA-047", "nested deeper than 32"),
        ("<html></html>", "DATA-047", "no ANNOTATION_DOCUMENT of ELAN"),
        (GOOD[:-40], "DATA-047", "not valid XML (unclosed token: line"),
        (GOOD.replace('REF1="ts0"', 'REF1="ts9"'), "DATA-047", "'a0' has no time slot 'ts9'"),
        (GOOD.replace('VALUE="500"', 'VALUE="-5"'), "DATA-047", "TIME_VALUE is '-5', expected"),
        (GOOD.replace('ID="a1"', 'ID="a0"'), "DATA-047", "annotation 'a0' is nameless or"),
        ("sign\t\tx\ty\n", "DATA-047", "no times hh:mm:ss.ms in any line. Mend: export with"),
        (elan.text_rows("s", SIGNS) + "s\t1\n", "DATA-047", "line 3: no begin and end time"),
        ("Begin Time - ss.msec\tsign\n1\tx\n", "DATA-047", "no column of end times as hh:mm:ss"),
        ("\n", "DATA-047", "no times"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_elan(tmp_path: Path, text: str, code: str, message: str) -> None:
    path = write(tmp_path / "a.eaf", text)
    with pytest.raises(AnnotationError, match=re.escape(message)) as caught:
        read_elan(path)
    assert caught.value.code == code
    assert caught.value.mend


def test_annotations_that_refer_in_a_circle(tmp_path: Path) -> None:
    document = elan.eaf({"sign": SIGNS}, ["a.mp4"], referring={"m": [(0, "x"), (0, "y")]})
    document = document.replace('"r0" ANNOTATION_REF="a0"', '"r0" ANNOTATION_REF="r1"')
    document = document.replace('"r1" ANNOTATION_REF="a0"', '"r1" ANNOTATION_REF="r0"')
    with pytest.raises(AnnotationError, match="annotation refers to 'r0'"):
        read_elan(write(tmp_path / "a.eaf", document))
