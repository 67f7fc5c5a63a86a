import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselens.data.info import ClipRecord
from poselens.data.splits import at_random, by_column, carve, hold_out
from poselens.errors import UsageError

RECORDS = [ClipRecord(f"{s}{v}", subject=s, view=v) for s in "1234" for v in "abc"]


def test_by_column() -> None:
    parts = by_column(RECORDS, "subject", test={"2", "4"}, val={"3"})
    assert {(record.subject, part) for record, part in zip(RECORDS, parts, strict=True)} == {
        ("1", "train"), ("2", "test"), ("3", "val"), ("4", "test"),
    }  # fmt: skip


def test_hold_out_never_touches_test() -> None:
    parts = hold_out(RECORDS, by_column(RECORDS, "view", test={"c"}), "subject", {"2"})
    for record, part in zip(RECORDS, parts, strict=True):
        expected = "test" if record.view == "c" else "val" if record.subject == "2" else "train"
        assert part == expected


def test_wrong_values() -> None:
    with pytest.raises(UsageError, match="subject '2' is asked for in both val and test"):
        by_column(RECORDS, "subject", test={"2"}, val={"2"})
    with pytest.raises(UsageError, match="no clip has subject '9'") as caught:
        by_column(RECORDS, "subject", test={"9"})
    assert caught.value.code == "DATA-014"
    with pytest.raises(UsageError, match="no clip has view 'x'"):
        hold_out(RECORDS, ["train"] * len(RECORDS), "view", {"x"})


clips = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, 3), st.sampled_from(["train", "test"])),
    min_size=1,
    max_size=60,
)


@given(clips, st.floats(0.05, 0.5), st.integers(0, 3))
def test_carve_takes_whole_groups_out_of_train_alone(clips: list, share: float, seed: int) -> None:
    groups, labels, parts = zip(*clips, strict=True)
    in_train = {group for group, part in zip(groups, parts, strict=True) if part == "train"}
    if len(in_train) < 2:
        with pytest.raises(UsageError, match="at least 2 are needed"):
            carve(groups, labels, parts, into="val", share=share, seed=seed)
        return
    result = carve(groups, labels, parts, into="val", share=share, seed=seed)
    for group in in_train:
        now = {
            p
            for p, g, was in zip(result, groups, parts, strict=True)
            if g == group and was == "train"
        }
        assert len(now) == 1
    assert {"train", "val"} <= set(result)
    assert [p for p, was in zip(result, parts, strict=True) if was == "test"] == [
        "test" for was in parts if was == "test"
    ]
    assert result == carve(groups, labels, parts, into="val", share=share, seed=seed)


def test_carve_keeps_classes_even() -> None:
    generator = np.random.default_rng(0)
    groups = [f"g{group}" for group in generator.integers(0, 100, 3000)]
    labels = generator.integers(0, 10, 3000).tolist()
    parts = carve(groups, labels, ["train"] * 3000, into="val", share=0.2, seed=1)
    taken = np.bincount([y for y, part in zip(labels, parts, strict=True) if part == "val"])
    share = taken / np.bincount(labels)
    assert (np.abs(share - 0.2) < 0.08).all()
    assert abs(sum(taken) / 3000 - 0.2) < 0.03
    assert parts != carve(groups, labels, ["train"] * 3000, into="val", share=0.2, seed=2)


def test_carve_refuses_a_share() -> None:
    with pytest.raises(UsageError, match=r"share is 0.6, expected more than 0 and at most 0.5"):
        carve(["a", "b"], [0, 0], ["train", "train"], into="val", share=0.6)


def test_at_random_parts_each_class() -> None:
    ids = [f"clip-{i}" for i in range(100)]
    labels = [0] * 50 + [1] * 47 + [2, 2] + [3]
    parts = at_random(ids, labels, seed=3)
    count = {
        label: tuple(
            sum(p == part and y == label for p, y in zip(parts, labels, strict=True))
            for part in ("train", "val", "test")
        )
        for label in range(4)
    }
    assert count == {0: (30, 10, 10), 1: (29, 9, 9), 2: (1, 0, 1), 3: (1, 0, 0)}


def test_at_random_does_not_depend_on_the_order_of_clips() -> None:
    ids = [f"clip-{i}" for i in range(40)]
    labels = [i % 3 for i in range(40)]
    parts = dict(zip(ids, at_random(ids, labels, seed=1), strict=True))
    assert dict(zip(ids[::-1], at_random(ids[::-1], labels[::-1], seed=1), strict=True)) == parts
    assert dict(zip(ids, at_random(ids, labels, seed=2), strict=True)) != parts
