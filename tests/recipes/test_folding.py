import numpy as np
import pytest
from plain_folder import write_plain

from poselens.data.folder import open_folder
from poselens.data.info import ProtocolInfo
from poselens.errors import UsageError
from poselens.recipes.folding import Folding, fold_data


@pytest.fixture
def folder(tmp_path):
    """Twelve clips of each of six subjects; the last two of them test under ``p``."""
    entries = [{"subject": f"s{n % 6}", "label": ["a", "b", "c"][n // 6 % 3]} for n in range(72)]
    root = write_plain(tmp_path / "d", entries, classes=["a", "b", "c"])
    opened = open_folder(root)
    subject = opened.column("subject")
    parts = np.where(np.isin(subject, ["s4", "s5"]), "test", "train").tolist()
    about = ProtocolInfo(description="by subject", group="subject", metric="mean_class")
    bare = opened.with_split("p", about, parts)
    bare.info.protocols.pop("given", None)
    return bare


def judged_clips(folded):
    return [
        part.folder.ids[part.folder.indices(part.protocol, "test")].tolist()
        for part in folded.folds
    ]


def test_each_value_is_left_out_once_and_the_test_part_never(folder):
    folded = fold_data(folder, Folding(leave_out="subject", protocol="p"))
    assert sorted(part.groups for part in folded.folds) == [("s0",), ("s1",), ("s2",), ("s3",)]
    assert [part.name for part in folded.folds] == ["fold-1", "fold-2", "fold-3", "fold-4"]
    clips = [clip for fold in judged_clips(folded) for clip in fold]
    subject = dict(zip(folder.ids.tolist(), folder.column("subject").tolist(), strict=True))
    assert len(clips) == len(set(clips)) == 48
    assert {subject[clip] for clip in clips} == {"s0", "s1", "s2", "s3"}
    assert folded.kept_out == (24, "p")
    for part in folded.folds:
        parts = part.folder.parts(part.protocol)
        by_part = {
            name: {subject[clip] for clip in folder.ids[parts == name].tolist()}
            for name in ("train", "val", "test", "")
        }
        assert by_part["test"] == set(part.groups)
        assert by_part[""] == {"s4", "s5"}
        # nobody is in two parts
        assert not by_part["train"] & by_part["val"]
        assert by_part["train"] | by_part["val"] == {"s0", "s1", "s2", "s3"} - set(part.groups)
        about = part.folder.info.protocols[part.protocol]
        assert (about.group, about.metric) == ("subject", "mean_class")
        assert "outside the test part of 'p'" in about.description


def test_with_test_uses_every_clip(folder):
    folded = fold_data(folder, Folding(leave_out="subject", with_test=True, folds=3))
    assert [len(part.groups) for part in folded.folds] == [2, 2, 2]
    assert sum(len(clips) for clips in judged_clips(folded)) == 72
    assert folded.kept_out == (0, None)


def test_without_validation_everybody_else_trains(folder):
    folded = fold_data(folder, Folding(leave_out="subject", protocol="p", val=0))
    parts = folded.folds[0].folder.parts(folded.folds[0].protocol)
    assert (parts == "val").sum() == 0
    assert (parts == "train").sum() == 36


def test_two_groups_are_too_few_to_validate_on(tmp_path):
    entries = [{"subject": f"s{n % 2}", "label": "ab"[n // 2 % 2]} for n in range(16)]
    opened = open_folder(write_plain(tmp_path / "d", entries, classes=["a", "b"]))
    message = r"1 subject\(s\) of 2 are left to train and validate on"
    with pytest.raises(UsageError, match=message) as caught:
        fold_data(opened, Folding(leave_out="subject", with_test=True))
    assert caught.value.code == "DATA-014"


def family(folder, by, count=3):
    """Folds as data split writes them, over all clips."""
    subject = folder.column("subject")
    for number in range(count):
        held = np.isin(subject, [f"s{n}" for n in range(6) if n % count == number])
        about = ProtocolInfo(description="fold", group=by)
        parts = np.where(held, "test", "train").tolist()
        folder = folder.with_split(f"five-{number + 1}", about, parts)
    return folder


def test_given_folds_keep_the_test_part_out_of_train_and_test(folder):
    folded = fold_data(family(folder, "subject"), Folding(folds_of="five"))
    assert [part.protocol for part in folded.folds] == ["five-1", "five-2", "five-3"]
    assert [part.groups for part in folded.folds] == [("s0", "s3"), ("s1",), ("s2",)]
    assert folded.by == "subject"
    for part in folded.folds:
        there = part.folder
        used = there.ids[there.parts(part.protocol) != ""].tolist()
        assert len(used) == 48
    whole = fold_data(family(folder, "subject"), Folding(folds_of="five", with_test=True))
    assert sum(len(clips) for clips in judged_clips(whole)) == 72
    assert fold_data(family(folder, "id"), Folding(folds_of="five")).group is None


def test_a_fold_that_is_all_test_part_is_left_out_and_named(folder):
    folded = fold_data(family(folder, "subject", 6), Folding(folds_of="five", protocol="p"))
    assert [part.name for part in folded.folds] == ["fold-1", "fold-2", "fold-3", "fold-4"]
    assert folded.notes == [
        f"five-{number} tests on no clip outside the test part of 'p'" for number in (5, 6)
    ]


def test_clips_without_a_group_are_in_no_fold_and_counted(tmp_path):
    entries = [{"subject": f"s{n % 4}" if n else "", "label": "ab"[n % 2]} for n in range(32)]
    opened = open_folder(write_plain(tmp_path / "d", entries, classes=["a", "b"]))
    folded = fold_data(opened, Folding(leave_out="subject", with_test=True))
    assert folded.notes == ["1 clips without a label or a subject are in no fold"]
    assert sum(len(clips) for clips in judged_clips(folded)) == 31


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        (Folding(), "CFG-113", "found neither folds nor a column"),
        (Folding(folds_of="five", leave_out="subject"), "CFG-113", "found both folds and a column"),
        (
            Folding(leave_out="subject", protocol="p", with_test=True),
            "CFG-113",
            "the test part of 'p' to leave alone, and to use",
        ),
        (Folding(leave_out="subject"), "CFG-113", "has 2 protocols"),
        (Folding(leave_out="subjekt", protocol="p"), "CFG-114", "did you mean 'subject'"),
        (Folding(folds_of="six", protocol="p"), "CFG-114", "0 folds called six-1"),
        (Folding(leave_out="subject", protocol="q"), "CFG-004", "unknown protocol 'q'"),
        (Folding(leave_out="subject", protocol="p", folds=5), "DATA-014", "4 group"),
        (Folding(leave_out="view", protocol="p"), "DATA-014", "0 group"),
    ],
)
def test_what_cannot_be_folded(folder, wanted, code, message):
    about = ProtocolInfo(description="other")
    more = folder.with_split("other", about, ["train", "test"] * 36)
    with pytest.raises(UsageError, match=message) as caught:
        fold_data(more, wanted)
    assert caught.value.code == code
