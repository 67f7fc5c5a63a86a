import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_folder import CLASSES, plain

from poselens.data.leakage import find_leaks
from poselens.data.parting import Wish, count_parts, judge, part_clips
from poselens.errors import AnnotationError, UsageError

row = st.fixed_dictionaries(
    {
        "label": st.sampled_from([*CLASSES, ""]),
        "subject": st.sampled_from(["", *"abcdefgh"]),
        "source": st.sampled_from(["", *"rstuvwxyz"]),
        "event": st.sampled_from(["", "e1", "e2", "e3", "e4"]),
        "session": st.sampled_from(["monday", "friday", "sunday", "today"]),
        "view": st.sampled_from(["", "left", "right", "top"]),
    }
)
WAYS = [
    ("subject",), ("source",), ("session",), ("event",), ("view",), ("id",), ("subject", "source"),
]  # fmt: skip


def opened(entries):
    with tempfile.TemporaryDirectory() as folder:
        return plain(Path(folder), entries)


@settings(max_examples=150)
@given(
    st.lists(row, min_size=1, max_size=50),
    st.sampled_from(WAYS),
    st.sampled_from([None, 2, 3]),
    st.sampled_from([0.0, 0.2]),
    st.integers(0, 2),
    st.booleans(),
)
def test_what_is_parted_by_never_leaks(entries, by, folds, val, seed, stratify):
    folder = opened(entries)
    wish = Wish(by, folds=folds, val=val, seed=seed, stratify=stratify)
    try:
        made = part_clips(folder, "q", wish)
    except (UsageError, AnnotationError) as fault:
        assert fault.code in ("DATA-014", "DATA-056")  # noqa: PT017
        return
    tested = np.zeros(len(folder), int)
    for parted in made:
        after = folder.with_split(parted.name, parted.about, parted.parts)
        leaks = find_leaks(after, parted.name)
        assert not [leak for leak in leaks if leak.kind in by]
        parts = np.array(parted.parts)
        inside = parts != ""
        tested += parts == "test"
        assert {"train", "test"} <= set(parted.parts)
        assert ("val" in parted.parts) == (val > 0) or by == ("id",)
        assert not (inside & (folder.labels < 0)).any()
        assert inside.sum() + sum(parted.left_out.values()) == len(folder)
        assert parted.about.group == by[0]
    if folds:
        assert [parted.name for parted in made] == [f"q-{n + 1}" for n in range(folds)]
        assert set(tested[inside]) == {1}
        assert not tested[~inside].any()
    assert part_clips(folder, "q", wish) == made


def people(clips=400, groups=20, seed=0):
    draw = np.random.default_rng(seed)
    return [
        {"label": CLASSES[draw.integers(3)], "subject": f"s{draw.integers(groups):02d}"}
        for _ in range(clips)
    ]


def test_shares_are_of_all_clips(tmp_path):
    folder = plain(tmp_path, people())
    (parted,) = part_clips(folder, "q", Wish(("subject",)))
    counts = count_parts(folder, parted.parts)
    assert list(counts) == [*CLASSES, "all classes"]
    for count in counts.values():
        total = sum(count.values())
        assert abs(count["test"] / total - 0.2) < 0.06
        assert abs(count["val"] / total - 0.2) < 0.06
    assert sum(counts["all classes"].values()) == 400
    assert parted.about.description == (
        "random split by whole subjects, 20 % test, 20 % validation; classes as even as that "
        "allows, seed 0"
    )
    assert judge(folder, parted) == (
        [], ["400 clips of 'q' name no source, so nobody can tell whether parts share one"]
    )  # fmt: skip


def test_a_clip_more_moves_few(tmp_path):
    entries = people()
    before = part_clips(plain(tmp_path / "a", entries), "q", Wish(("subject",)))[0].parts
    moved = []
    for extra in range(10):
        folder = plain(tmp_path / f"b{extra}", [*entries, entries[extra]])
        after = part_clips(folder, "q", Wish(("subject",)))[0].parts
        moved.append(sum(x != y for x, y in zip(before, after, strict=False)) / len(before))
    assert np.median(moved) < 0.1


def test_named_values_test_and_validate(tmp_path):
    folder = plain(tmp_path, people(100, 5))
    wish = Wish(("subject",), test_values=("s00", "s03"), val_values=("s01",))
    (parted,) = part_clips(folder, "q", wish)
    where = dict(zip(folder.column("subject").tolist(), parted.parts, strict=True))
    assert where == {"s00": "test", "s01": "val", "s02": "train", "s03": "test", "s04": "train"}
    assert parted.about.description == "subject s00, s03 test, subject s01 validation"


def test_a_test_part_is_kept_while_validation_is_carved_anew(tmp_path):
    entries = [
        {**entry, "view": "left", "split:p": "test" if n % 4 == 0 else "train"}
        for n, entry in enumerate(people(100, 10))
    ]
    entries[0] = {"label": "", "split:p": "test"}
    entries[1] = {"label": "jump", "subject": "s01", "split:p": ""}
    entries[2] = {"label": "jump", "subject": "", "split:p": "train"}
    shares = {"subject": "meant so"}
    folder = plain(tmp_path, entries, group="view", shares=shares, metric="mean_class")
    (parted,) = part_clips(folder, "p", Wish(("subject",), base="p"))
    assert [p == "test" for p in parted.parts] == [n % 4 == 0 for n in range(100)]
    assert parted.parts[1] == parted.parts[2] == ""
    assert parted.left_out == {
        "not in the protocol it starts from": 1,
        "without a subject": 1,
    }
    subjects = folder.column("subject")
    held = {s for s, part in zip(subjects, parted.parts, strict=True) if part == "val"}
    assert held.isdisjoint(s for s, p in zip(subjects, parted.parts, strict=True) if p == "train")
    assert abs(parted.parts.count("val") - 20) < 10
    about = parted.about
    assert (about.group, about.shares, about.metric) == ("view", shares, "mean_class")
    assert "test part as in 'p' (as given), 20 % validation carved anew" in about.description


def test_cutting_in_time_declares_what_it_shares(tmp_path):
    entries = [
        {"subject": "anna", "source": f"r{n // 10}", "start_s": n % 10, "end_s": n % 10 + 1}
        for n in range(40)
    ]
    folder = plain(tmp_path, entries)
    (parted,) = part_clips(folder, "q", Wish(("time",)))
    assert parted.about.group == "time"
    assert set(parted.about.shares) == {"subject", "source"}
    leaks, _ = judge(folder, parted)
    assert leaks
    assert not any(leak.severe for leak in leaks)
    (apart,) = part_clips(folder, "q", Wish(("time",), gap_s=0.5))
    assert apart.left_out == {"at a border in time": 8}
    assert "0.5 s apart" in apart.about.description


def test_without_times_recordings_cannot_be_cut(tmp_path):
    folder = plain(tmp_path, [{"source": "r"}] * 5)
    with pytest.raises(AnnotationError, match="in train or val or test") as caught:
        part_clips(folder, "q", Wish(("time",)))
    assert caught.value.code == "DATA-056"


def test_classes_that_a_part_lacks_are_named(tmp_path):
    entries = [{"subject": s, "source": s, "label": CLASSES[n % 2]} for n, s in enumerate("abcd")]
    entries += [{"subject": "e", "source": "e", "label": "fall"}]
    folder = plain(tmp_path, entries)
    (parted,) = part_clips(folder, "q", Wish(("subject",), test_values=("a",), val=0))
    assert judge(folder, parted)[1] == ["2 classes have no clip in test: turn, fall"]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Wish(("subjct",)), "found --by 'subjct'; did you mean 'subject'"),
        (Wish(("id", "subject")), r"found --by 'id\+subject'"),
        (Wish(("subject", "subject")), "found --by"),
        (Wish(("subject",), test=0.6), "test 0.6 and val 0.2, expected"),
        (Wish(("subject",), test=0), "test 0 and val 0.2, expected"),
        (Wish(("subject",), test=float("nan")), "test nan and val"),
        (Wish(("subject",), val=-0.1), "test 0.2 and val -0.1, expected"),
        (Wish(("subject",), val=0.5), "at most half of the rest"),
        (Wish(("id",), test_values=("a",)), "values are named, but not of one column"),
        (Wish(("subject", "source"), val_values=("a",)), "values are named, but not of one"),
        (Wish(("subject",), folds=1), "folds need 2 or more"),
        (Wish(("time",), folds=3), "folds need 2 or more, by whole groups"),
        (Wish(("subject",), folds=3, base="p"), "each say what tests"),
        (Wish(("subject",), folds=3, test_values=("a",)), "each say what tests"),
        (Wish(("time",), base="p"), "--from keeps a test part"),
        (Wish(("subject",), gap_s=1), "only --by time has one"),
        (Wish(("time",), gap_s=-1), "a gap is in seconds from 0"),
    ],
)
def test_wishes_that_contradict_each_other_are_refused(tmp_path, wish, message):
    folder = plain(tmp_path, people(20, 5))
    with pytest.raises(UsageError, match=message) as caught:
        part_clips(folder, "q", wish)
    assert caught.value.code == "DATA-055"


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (Wish(("subject",)), r"2 subject\(s\) \(s00, s01\) for train and validation and test"),
        (Wish(("subject",), folds=3, val=0), r"2 subject\(s\) \(s00, s01\) for 3 folds"),
        (Wish(("subject",), folds=2), r"for 2 folds|are left"),
        (
            Wish(("subject",), val=0, test_values=("s00", "s01")),
            r"0 subject\(s\) \(\) of 2 are left",
        ),
        (Wish(("subject",), val=0, test_values=("s07",)), "no clip has subject 's07'"),
        (
            Wish(("subject",), val=0, test_values=("s00",), val_values=("s00",)),
            "subject 's00' is to validate, but is in the test part",
        ),
    ],
)
def test_too_few_groups_are_named(tmp_path, wish, message):
    folder = plain(tmp_path, people(20, 2))
    with pytest.raises(UsageError, match=message) as caught:
        part_clips(folder, "q", wish)
    assert caught.value.code == "DATA-014"


def test_an_empty_column_and_an_unknown_base_are_refused(tmp_path):
    folder = plain(tmp_path, people(20, 5))
    with pytest.raises(AnnotationError, match="no labelled clip has a session") as caught:
        part_clips(folder, "q", Wish(("session",)))
    assert caught.value.code == "DATA-056"
    with pytest.raises(UsageError, match="unknown protocol 'nope'"):
        part_clips(folder, "q", Wish(("subject",), base="nope"))


def test_single_clips_of_every_class_leave_none_to_test_on(tmp_path):
    folder = plain(tmp_path, [{"label": name} for name in CLASSES])
    with pytest.raises(
        UsageError, match="no class has two clips, so none is left to test on"
    ) as no:
        part_clips(folder, "q", Wish(("id",)))
    assert (no.value.code, no.value.mend) == ("DATA-014", "label more clips of each class")
