import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poselens.data.inspect import ClipTask, FileTask, Inspected, VideoFacts
from poselens.errors import UsageError, VideoError
from poselens.recipes.check_ledger import Columns, Ledger, as_line, clip_key, pair_key


def test_what_was_added_is_there_again(tmp_path):
    path = tmp_path / "deep" / "check.jsonl"
    ledger = Ledger(path)
    ledger.add(7, {"clip": "a\n\u00e4\udce9", "value": float("nan")})
    place = ledger.add(2**64 - 1, {"clip": "b"})
    ledger.close()
    again = Ledger(path)
    assert again.kept
    assert len(again) == 2
    assert 7 in again
    assert 8 not in again
    assert again.place(2**64 - 1) == place
    assert again.read(place)["clip"] == "b"
    assert again.read(again.place(7))["clip"] == "a\n\u00e4\udce9"
    again.close()


def test_fresh_begins_anew(tmp_path):
    ledger = Ledger(tmp_path / "c.jsonl")
    ledger.add(7, {"clip": "a"})
    ledger.close()
    fresh = Ledger(tmp_path / "c.jsonl", fresh=True)
    assert len(fresh) == 0
    fresh.close()


@given(cut=st.integers(0, 400))
@settings(max_examples=40)
def test_a_file_cut_anywhere_keeps_its_whole_lines(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "c.jsonl"
    with Ledger(path) as ledger:
        places = [ledger.add(key, {"clip": f"c{key}", "value": key}) for key in range(5)]
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    whole = [key for key, end in enumerate([*places[1:], len(content)]) if end <= cut]
    with Ledger(path) as again:
        assert len(again) == len(whole)
        assert again.read(again.add(9, {"clip": "new"}))["clip"] == "new"
    with Ledger(path) as last:
        assert len(last) == len(whole) + 1
        assert [last.read(last.place(key))["value"] for key in whole] == whole


@given(place=st.integers(0, 200), value=st.integers(0, 255))
@settings(max_examples=200)
def test_a_damaged_line_is_no_fact(tmp_path_factory, place, value):
    path = tmp_path_factory.mktemp("bits") / "c.jsonl"
    with Ledger(path) as ledger:
        ledger.add(1, {"clip": "a", "video": None, "frames": 3})
    content = bytearray(path.read_bytes())
    before = bytes(content)
    content[place % len(content)] = value
    path.write_bytes(bytes(content))
    with Ledger(path) as again:
        found = again.read(again.place(1)) if 1 in again else {}
        assert (found == {}) == (bytes(content) != before)


def test_two_checks_of_one_data_set_do_not_run_together(tmp_path):
    first = Ledger(tmp_path / "c.jsonl")
    with pytest.raises(UsageError, match="another check of this data set is running") as caught:
        Ledger(tmp_path / "c.jsonl")
    assert caught.value.code == "CHK-029"
    first.close()
    Ledger(tmp_path / "c.jsonl").close()


def test_where_nothing_can_be_written_lines_live_for_this_run(tmp_path):
    (tmp_path / ".cache").write_text("a file in the way")
    ledger = Ledger(tmp_path / ".cache" / "c.jsonl")
    place = ledger.add(3, {"clip": "a"})
    assert not ledger.kept
    assert ledger.read(place)["clip"] == "a"
    ledger.close()
    assert (tmp_path / ".cache").read_text() == "a file in the way"


def test_a_key_follows_from_file_span_and_depth_of_the_look(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"one")
    key = lambda quick=False, **span: clip_key(  # noqa: E731
        FileTask(video, (), quick), ClipTask(0, **span)
    )
    keys = {key(), key(quick=True), key(start_s=1.0), key(end_s=1.0)}
    assert len(keys) == 4
    assert key() in keys
    video.write_bytes(b"other")
    assert key() not in keys
    assert pair_key(1, 2) == pair_key(2, 1) != pair_key(1, 3)


def test_columns_take_what_a_line_says():
    facts = VideoFacts(30, 31, 2, 25.0, 0.5, 90, 48, 64)
    fault = VideoError("VID-006", "not one frame", file="a", mend="copy it")
    columns = Columns(3)
    columns.take(1, as_line("a", Inspected(1, facts, 30, content="ab" * 32)), 5, 0)
    columns.take(2, as_line("b", Inspected(2, fault=fault)), 6, 100)
    assert columns["video_promised"][1] == 31
    assert columns["frames"][1] == 30
    assert np.isnan(columns["frames"][[0, 2]]).all()
    assert columns.fault.tolist() == [-1, -1, 0]
    assert columns.codes == ["VID-006"]
    assert columns.content.tolist() == [0, int("ab" * 8, 16), 0]
    assert not columns.comparable.any()
