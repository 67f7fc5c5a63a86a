from dataclasses import replace

import numpy as np
import pytest

from poselens.errors import AnnotationError, InputError, UsageError
from poselens.fusion.scores import align, fuse, read_scores, write_scores
from poselens.types import Scores


def make(logits, ids, labels, stream="rgb", classes=("a", "b")):
    return Scores(np.asarray(logits, dtype=np.float32), ids, np.asarray(labels), classes, stream)


def test_align_matches_by_id_and_marks_what_a_stream_lacks():
    first = make([[1, 0], [2, 0]], ["x", "y"], [0, -1])
    second = make([[0, 3], [0, 4]], ["z", "y"], [1, 1], "joint")
    ours, theirs = align([first, second])
    assert ours.ids == theirs.ids == ["x", "y", "z"]
    assert ours.labels.tolist() == theirs.labels.tolist() == [0, 1, 1]
    assert np.isnan(ours.logits[2]).all()
    assert np.isnan(theirs.logits[0]).all()
    assert theirs.logits[1].tolist() == [0, 4]


def test_a_missing_stream_leaves_the_others_their_full_say():
    first = make([[1, 0], [2, 0]], ["x", "y"], [0, 0])
    second = make([[0, 3]], ["y"], [0], "joint")
    fused = fuse([first, second], {"rgb": 1.0, "joint": 3.0})
    alone = fuse([first], [1.0])
    np.testing.assert_allclose(fused.logits[0], alone.logits[0], rtol=1e-6)
    assert fused.logits[1].argmax() == 1
    assert fused.stream == "fused"


def test_streams_of_weight_zero_answer_where_nobody_else_does():
    first = make([[5, 0]], ["x"], [0])
    second = make([[0, 3]], ["y"], [1], "joint")
    fused = fuse([first, second], [1.0, 0.0])
    assert fused.logits.argmax(axis=1).tolist() == [0, 1]
    assert np.isfinite(fused.logits).all()


def test_extreme_logits_stay_finite():
    fused = fuse([make([[1e4, -1e4]], ["x"], [0])], [1.0])
    assert np.isfinite(fused.logits).all()


@pytest.mark.parametrize(
    ("scores", "error", "match"),
    [
        ([], UsageError, "no stream to fuse"),
        ([make([[1, 0]], ["x"], [0])] * 2, UsageError, "'rgb' is given 2 times"),
        (
            [make([[1, 0]], ["x"], [0]), make([[1, 0]], ["x"], [0], "joint", ("a", "c"))],
            UsageError,
            "class 1 is 'b' and 'c'",
        ),
        (
            [make([[1, 0]], ["x"], [0]), make([[1, 0, 0]], ["x"], [0], "joint", ("a", "b", "c"))],
            UsageError,
            "2 and 3 classes",
        ),
        (
            [make([[1, 0]], ["x"], [0]), make([[1, 0]], ["x"], [1], "joint")],
            AnnotationError,
            "'x' is 'a' in one stream and 'b' in 'joint'",
        ),
        ([make([[1, 0]] * 2, ["x", "x"], [0, 0])], AnnotationError, "scores clip 'x' twice"),
        ([make([[1, np.nan]], ["x"], [0])], InputError, "1 rows of logits .* not finite: x"),
        ([make([[1, np.inf]], ["x"], [0])], InputError, "not finite"),
    ],
)
def test_align_refuses(scores, error, match):
    with pytest.raises(error, match=match):
        align(scores)


@pytest.mark.parametrize(
    ("weights", "temperatures", "match"),
    [
        ([1.0, 2.0], None, "found 2 weights for 1 streams"),
        ({"joint": 1.0}, None, "no weight for stream 'rgb'; found joint"),
        ([-1.0], None, "expected numbers from 0 up"),
        ([0.0], None, "not all 0"),
        ([np.nan], None, "expected numbers from 0 up"),
        ([1.0], [0.0], "expected numbers above 0"),
        ([1.0], {"bone": 1.0}, "no temperature for stream 'rgb'"),
    ],
)
def test_fuse_refuses_numbers_that_do_not_fit(weights, temperatures, match):
    with pytest.raises(UsageError, match=match):
        fuse([make([[1, 0]], ["x"], [0])], weights, temperatures)


def test_fuse_refuses_a_clip_nobody_scored():
    with pytest.raises(InputError, match="no stream has scores for 1 clips, first 'x'"):
        fuse([make([[np.nan, np.nan]], ["x"], [0])], [1.0])


def test_scores_come_back_from_disk_and_the_bytes_are_the_same(tmp_path):
    scores = make([[1, np.pi], [np.nan, np.nan]], ["ä/1", "y"], [0, -1])
    write_scores(tmp_path / "a.npz", scores)
    write_scores(tmp_path / "b.npz", scores)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = read_scores(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.logits, scores.logits)
    assert back.ids == ["ä/1", "y"]
    assert back.labels.tolist() == [0, -1]
    assert back.classes == ["a", "b"]
    assert back.stream == "rgb"


def test_views_are_kept_with_the_scores_where_there_are_several(tmp_path):
    path = tmp_path / "scores.npz"
    one = make([[1, 0]], ["x"], [0])
    write_scores(path, one)
    assert "views" not in np.load(path).files
    assert read_scores(path).views == "centre"
    write_scores(path, replace(one, views="3-crops"))
    assert read_scores(path).views == "3-crops"
    other = make([[0, 1]], ["x"], [0], stream="joint")
    assert fuse([other, read_scores(path)], [1, 1]).views == "3-crops"
    assert fuse([other, one], [1, 1]).views == "centre"
    fields = dict(np.load(path))
    np.savez(path, **{**fields, "views": np.array(3)})
    with pytest.raises(InputError, match="views has type int64"):
        read_scores(path)
    np.savez(path, **{**fields, "views": np.array(["3-crops"])})
    with pytest.raises(InputError, match="shapes contradict each other"):
        read_scores(path)


def test_damaged_score_files_are_refused(tmp_path):
    path = tmp_path / "scores.npz"
    with pytest.raises(InputError, match="missing"):
        read_scores(path)
    write_scores(path, make([[1, 0]] * 50, [f"c{i}" for i in range(50)], [0] * 50))
    whole = path.read_bytes()
    for cut in (0, 10, 100, len(whole) - 10):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="damaged or not a score file"):
            read_scores(path)
    np.savez(path, logits=np.zeros((1, 2), np.float32))
    with pytest.raises(InputError, match="not a score file"):
        read_scores(path)


def test_score_files_that_contradict_themselves_are_refused(tmp_path):
    path = tmp_path / "scores.npz"
    fields = {
        "logits": np.zeros((1, 2), np.float32),
        "ids": np.array(["x", "y"]),
        "labels": np.zeros(1, np.int64),
        "classes": np.array(["a", "b"]),
        "stream": np.array("rgb"),
    }
    np.savez(path, **fields)
    with pytest.raises(InputError, match=r"shapes contradict each other: logits \(1, 2\)"):
        read_scores(path)
    np.savez(path, **{**fields, "labels": np.zeros(2)})
    with pytest.raises(InputError, match="labels has type float64"):
        read_scores(path)
    np.savez(path, **{**fields, "ids": np.array(["x", None], dtype=object)})
    with pytest.raises(InputError, match="damaged or not a score file"):
        read_scores(path)


def test_score_files_beyond_the_limit_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "scores.npz"
    write_scores(path, make([[1, 0]], ["x"], [0]))
    monkeypatch.setattr("poselens.fusion.scores.MAX_SCORE_BYTES", 100)
    with pytest.raises(InputError, match="the limit is 100"):
        read_scores(path)
