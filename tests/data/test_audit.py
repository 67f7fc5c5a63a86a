import json

import pytest
from plain_folder import plain

from poselens.data.audit import CHECK_FILE, audit, kept_leaks, leak_facts, refuse_leaks
from poselens.errors import AnnotationError

CLEAN = [
    {"subject": s, "source": s, "split:p": part}
    for s, part in (("anna", "train"), ("ben", "val"), ("cleo", "test"))
]


def checked(folder, content):
    path = folder.root / CHECK_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return audit(folder, "p")


def test_a_clean_split_passes(tmp_path):
    found = refuse_leaks(plain(tmp_path, CLEAN), "p", allowed=False)
    assert (found.leaks, found.unknown, found.notes) == ([], [], [])


def test_leaks_are_refused_in_one_sentence(tmp_path):
    entries = [
        *CLEAN,
        {"subject": "anna", "source": "anna", "video": "a.mp4", "split:p": "train"},
        {"subject": "anna", "video": "a.mp4", "split:p": "test"},
        {"subject": "ben", "video": "a.mp4", "start_s": 1, "split:p": "test"},
    ]
    folder = plain(tmp_path, entries)
    with pytest.raises(AnnotationError) as caught:
        refuse_leaks(folder, "p", allowed=False)
    fault = caught.value
    assert fault.code == "DATA-060"
    assert fault.message == (
        "1 clip, moments of 1 clip, 1 subject (anna) are in both train and test; "
        "1 subject (ben) is in both val and test"
    )
    assert "--allow-leakage" in fault.mend
    assert "data split" in fault.mend
    found = refuse_leaks(folder, "p", allowed=True)
    assert len(found.severe) == 4
    assert found.about("test") == found.leaks
    assert found.about("val") == []


def test_what_is_declared_or_between_train_and_validation_is_not_refused(tmp_path):
    entries = [{"source": "r", "split:p": part} for part in ("train", "val", "test")]
    folder = plain(tmp_path, entries, shares={"source": "blocks of one recording"})
    assert len(refuse_leaks(folder, "p", allowed=False).leaks) == 3
    entries = [{"source": "r", "split:p": part} for part in ("train", "val")]
    assert len(refuse_leaks(plain(tmp_path, entries), "p", allowed=False).leaks) == 1


def test_copies_found_by_a_check_of_this_version_count(tmp_path):
    folder = plain(tmp_path, CLEAN)
    facts = {"clips_fingerprint": folder.clips_fingerprint(), "twins": [["c002", "c000"]]}
    (leak,) = checked(folder, facts).leaks
    assert (leak.kind, leak.parts, leak.examples) == ("clip", ("train", "test"), ("c000 and c002",))
    assert checked(folder, {**facts, "twins": []}).leaks == []
    stale = checked(folder, {**facts, "clips_fingerprint": "0" * 64})
    assert stale.leaks == []
    assert stale.notes == [
        "check/check.json is about other clips than this data set has: copies of clips that it "
        "names are not looked at"
    ]


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", "[" * 9999, {"twins": 3}, {"twins": [["c000"]]},
        {"twins": [["c000", "nobody"]]}, {"twins": [["c000", 7]]}, {"twins": ["c0"]},
        {"twins": [["c000", ["c001"]]]}, {"twins": None},
    ],
)  # fmt: skip
def test_a_damaged_check_is_passed_over_and_that_is_said(tmp_path, content):
    folder = plain(tmp_path, CLEAN)
    if isinstance(content, dict):
        content = {"clips_fingerprint": folder.clips_fingerprint(), **content}
    found = checked(folder, content)
    assert found.leaks == []
    assert found.notes == [
        "check/check.json is damaged: copies of clips that it names are not looked at"
    ]


def test_leaks_kept_with_a_run_are_read_back(tmp_path):
    entries = [{"subject": "anna", "split:p": part} for part in ("train", "test")]
    leaks = audit(plain(tmp_path, entries), "p").leaks
    facts = json.loads(json.dumps({"leakage": leak_facts(leaks)}))
    (kept,) = kept_leaks(facts)
    assert kept["told"] == "train and test share 1 subject (anna): 1 of 1 test clips"
    assert kept["severe"] is True
    for damaged in (None, 3, {}, {"leakage": 3}, {"leakage": [3, {}, {"told": 3, "parts": []}]}):
        assert kept_leaks(damaged) == []
