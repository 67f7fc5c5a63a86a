import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_folder import plain

from poselens.data.leakage import PAIRS, find_leaks, unknown_columns
from poselens.errors import UsageError

PARTS = ["train", "val", "test", ""]
row = st.fixed_dictionaries(
    {
        "video": st.sampled_from(["", "a.mp4", "b.mp4"]),
        "subject": st.sampled_from(["", "anna", "ben", "cleo"]),
        "source": st.sampled_from(["", "r1", "r2"]),
        "event": st.sampled_from(["", "e1", "e2"]),
        "session": st.sampled_from(["", "monday", "friday"]),
        "view": st.sampled_from(["", "left"]),
        "split:p": st.sampled_from(PARTS),
        "span": st.sampled_from(
            [("", ""), ("0", "1"), ("0.5", "2"), ("1", "3"), ("", "4"), ("2", "")]
        ),
    }
)
rows = st.lists(row, min_size=1, max_size=24)


def spread(found):
    given = [dict(entry) for entry in found]
    for number, entry in enumerate(given):
        entry["start_s"], entry["end_s"] = entry.pop("span")
        entry["id"] = f"c{number:03d}"
    return given


def opened(entries, **about):
    with tempfile.TemporaryDirectory() as folder:
        return plain(Path(folder), entries, **about)


def span_of(entry):
    return float(entry["start_s"] or 0), float(entry["end_s"] or "inf")


def by_loops(entries, twins, group):
    """Every pair of clips looked at by itself."""
    found = {}
    columns = ["subject", "source", "event"] + [group] * (group in ("session", "view"))
    for early, late in PAIRS:
        pairs = [
            (i, j)
            for i, one in enumerate(entries)
            for j, other in enumerate(entries)
            if one["split:p"] == early and other["split:p"] == late
        ]
        for name in columns:
            shared = [
                (entries[i][name], j)
                for i, j in pairs
                if entries[i][name] and entries[i][name] == entries[j][name]
            ]
            if shared:
                values, clips = {value for value, _ in shared}, {j for _, j in shared}
                found[name, (early, late)] = (len(values), len(clips))
        same, crossing = [], []
        for i, j in pairs:
            one, other = entries[i], entries[j]
            (start, end), (begin, finish) = span_of(one), span_of(other)
            filmed = one["video"] and one["video"] == other["video"]
            if (filmed and (start, end) == (begin, finish)) or {i, j} in twins:
                same.append((i, j))
            if filmed and (start, end) != (begin, finish) and start < finish and begin < end:
                crossing.append((i, j))
        for kind, which in (("clip", same), ("time", crossing)):
            if which:
                found[kind, (early, late)] = (len(which), len({j for _, j in which}))
    return found


@settings(max_examples=150)
@given(
    rows,
    st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), max_size=5),
    st.sampled_from(["subject", "session", "view", "id", "time"]),
)
def test_leaks_are_those_found_by_loops(found, pairs, group):
    entries = spread(found)
    twins = [(i, j) for i, j in pairs if i < len(entries) and j < len(entries) and i != j]
    leaks = find_leaks(opened(entries, group=group), "p", twins=twins)
    told = {(leak.kind, leak.parts): (leak.values, leak.clips) for leak in leaks}
    assert len(told) == len(leaks)
    assert told == by_loops(entries, [{i, j} for i, j in twins], group)
    counts = {part: sum(entry["split:p"] == part for entry in entries) for part in PARTS}
    for leak in leaks:
        assert leak.of == counts[leak.parts[1]]
        assert len(leak.examples) == min(leak.values, 10) or leak.kind in ("clip", "time")
        assert leak.severe == ("test" in leak.parts)


@settings(max_examples=60)
@given(rows, st.randoms())
def test_the_order_of_clips_plays_no_part(found, random):
    entries = spread(found)
    turned = entries[:]
    random.shuffle(turned)
    assert find_leaks(opened(entries), "p") == find_leaks(opened(turned), "p")


@settings(max_examples=60)
@given(rows)
def test_what_train_shares_with_test_test_shares_with_train(found):
    entries = spread(found)
    swap = {"train": "test", "test": "train"}
    turned = [{**e, "split:p": swap.get(e["split:p"], e["split:p"])} for e in entries]
    for one, other in ((entries, turned), (turned, entries)):
        values = {
            leak.kind: leak.values
            for leak in find_leaks(opened(one), "p")
            if leak.parts == ("train", "test")
        }
        again = {
            leak.kind: leak.values
            for leak in find_leaks(opened(other), "p")
            if leak.parts == ("train", "test")
        }
        assert values == again


def test_a_leak_is_told_in_a_sentence(tmp_path):
    entries = [
        {"subject": name, "split:p": part}
        for name in ("anna", "ben", "cleo", "dora")
        for part in ("train", "test", "test")
    ] + [{"subject": "emil", "split:p": "test"}]
    (leak,) = find_leaks(plain(tmp_path, entries), "p")
    assert leak.sentence() == (
        "train and test share 4 subjects (anna, ben, cleo, …): 8 of 9 test clips"
    )
    assert leak.severe
    assert leak.as_dict()["severe"] is True


def test_what_a_protocol_declares_is_told_and_not_severe(tmp_path):
    entries = [{"source": "r", "subject": "anna", "split:p": part} for part in ("train", "test")]
    leaks = find_leaks(plain(tmp_path, entries, shares={"source": "two cameras"}), "p")
    assert [(leak.kind, leak.severe) for leak in leaks] == [("subject", True), ("source", False)]
    assert leaks[1].sentence() == (
        "train and test share 1 source (r): 1 of 1 test clips; by definition: two cameras"
    )


def test_clips_that_touch_do_not_overlap(tmp_path):
    spans = [("0", "2", "train"), ("2", "4", "test"), ("3.999", "5", "val")]
    entries = [
        {"video": "a.mp4", "start_s": start, "end_s": end, "split:p": part}
        for start, end, part in spans
    ]
    (leak,) = find_leaks(plain(tmp_path, entries), "p")
    assert (leak.kind, leak.parts, leak.examples) == ("time", ("val", "test"), ("c002 and c001",))


def test_a_twin_of_one_span_counts_once(tmp_path):
    entries = [{"video": "a.mp4", "split:p": part} for part in ("train", "test")]
    folder = plain(tmp_path, entries)
    for twins in ([], [(0, 1)], [(1, 0), (0, 1), (0, 0)]):
        (leak,) = find_leaks(folder, "p", twins=twins)
        assert (leak.kind, leak.values, leak.clips) == ("clip", 1, 1)


def test_the_unknown_is_no_leak_and_is_counted(tmp_path):
    entries = [{"source": "r", "split:p": "train"}, {"split:p": "test"}, {"split:p": ""}]
    folder = plain(tmp_path, entries, group="session")
    assert find_leaks(folder, "p") == []
    assert unknown_columns(folder, "p") == {"subject": 2, "source": 1, "session": 2}


def test_an_unknown_protocol_is_refused(tmp_path):
    folder = plain(tmp_path, [{"split:p": "train"}])
    with pytest.raises(UsageError, match="unknown protocol 'q'"):
        find_leaks(folder, "q")
    with pytest.raises(UsageError, match="unknown protocol 'q'"):
        unknown_columns(folder, "q")


def test_many_videos_do_not_mix(tmp_path):
    draw = np.random.default_rng(0)
    entries = [
        {
            "video": f"v{draw.integers(8)}.mp4",
            "start_s": f"{start:.2f}",
            "end_s": f"{start + 3:.2f}",
            "split:p": PARTS[draw.integers(3)],
            "id": f"c{number:03d}",
        }
        for number, start in enumerate(draw.random(300) * 60)
    ]
    told = {
        (leak.kind, leak.parts): (leak.values, leak.clips)
        for leak in find_leaks(plain(tmp_path, entries), "p")
    }
    filled = [dict.fromkeys(("subject", "source", "event"), "") | entry for entry in entries]
    assert told == by_loops(filled, [], "id")
    assert len(list(combinations(told, 2))) > 0
