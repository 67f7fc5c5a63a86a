"""Every form of scores that other tools write, and what is wrong with some of them."""

import pickle

import numpy as np
import pytest
import torch
from hostile_pickles import small_corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from score_files import (
    made_up_scores,
    write_annotations,
    write_csv,
    write_ctr_gcn,
    write_mmaction,
    write_pyskl,
)

from poselens.errors import AnnotationError, EnvironmentFault, InputError, PoselensError
from poselens.evaluation import foreign_tables
from poselens.evaluation.foreign import (
    Known,
    is_score_file,
    read_ids,
    read_labels,
    read_score_file,
)
from poselens.fusion.scores import write_scores
from poselens.types import Scores

IDS = [f"S001C001P00{person}R001A00{action}" for person in range(1, 4) for action in range(1, 3)]
CLASSES = ["clap", "wave", "point"]
LABELS = [0, 1, 2, 0, 1, 2]
DATA = Known(None, CLASSES, dict(zip(IDS, LABELS, strict=True)), complete=True)


@pytest.fixture
def scores():
    return made_up_scores(IDS, 3)


def check(read, scores, *, stream):
    np.testing.assert_array_equal(read.logits, scores)
    assert list(read.ids) == IDS
    assert list(read.classes) == CLASSES
    assert read.labels.tolist() == LABELS
    assert read.stream == stream


@pytest.mark.parametrize("protocol", range(6))
def test_ctr_gcn(tmp_path, scores, protocol):
    path = write_ctr_gcn(tmp_path / "epoch1_test_score.pkl", IDS, scores, protocol)
    check(read_score_file(path, DATA), scores, stream="epoch1_test_score")
    check(read_score_file(path, DATA, stream="joint"), scores, stream="joint")
    alone = read_score_file(path)
    assert list(alone.classes) == ["0", "1", "2"]
    assert alone.labels.tolist() == [-1] * 6


@pytest.mark.parametrize(
    "names",
    [
        [f"test_{place}" for place in range(6)],
        list(range(6)),
        [np.int64(place) for place in range(6)],
    ],
    ids=["ntu", "ucla", "numpy"],
)
def test_names_that_are_places_in_a_list(tmp_path, scores, names):
    path = write_ctr_gcn(tmp_path / "joint.pkl", names, scores)
    check(read_score_file(path, Known(IDS, CLASSES, DATA.labels, True)), scores, stream="joint")
    # the order of the dict does not matter, the places do
    turned = write_ctr_gcn(tmp_path / "joint.pkl", names[::-1], scores[::-1])
    read = read_score_file(turned, Known(IDS, CLASSES, DATA.labels, True))
    assert list(read.ids) == IDS[::-1]
    np.testing.assert_array_equal(read.logits, scores[::-1])
    with pytest.raises(InputError, match="is no clip of the data set") as caught:
        read_score_file(path, DATA)
    assert caught.value.code == "FUS-027"
    with pytest.raises(InputError, match="found 6 rows, but 5 ids") as caught:
        read_score_file(path, Known(IDS[:5]))
    assert caught.value.code == "FUS-026"
    high = write_ctr_gcn(tmp_path / "high.pkl", [*names[:5], "test_900"], scores)
    with pytest.raises(InputError, match="stands for place 900, but there are 6 rows"):
        read_score_file(high, Known(IDS))


def test_pyskl(tmp_path, scores):
    path = write_pyskl(tmp_path / "result.pkl", scores)
    check(read_score_file(path, Known(IDS, CLASSES, DATA.labels, True)), scores, stream="result")
    with pytest.raises(InputError, match="its 6 rows have no names") as caught:
        read_score_file(path, DATA)
    assert caught.value.code == "FUS-026"


def test_pyskl_in_the_order_of_an_annotation_file(tmp_path, scores):
    path = write_pyskl(tmp_path / "result.pkl", scores)
    labels = {"other": 1, **dict(zip(IDS, LABELS, strict=True))}
    # a split lists names in an order of its own
    listed = write_annotations(tmp_path / "ann.pkl", labels, {"val": IDS[::-1], "train": ["other"]})
    ids, found = read_ids(f"{listed}:val")
    assert ids == IDS
    assert found == dict(zip(IDS, LABELS, strict=True))
    read = read_score_file(path, Known(ids, CLASSES, found))
    check(read, scores, stream="result")
    assert read_ids(str(listed))[0] == ["other", *IDS]
    with pytest.raises(InputError, match="no split 'test'; found val, train") as caught:
        read_ids(f"{listed}:test")
    assert caught.value.code == "FUS-026"


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_mmaction(tmp_path, scores, nested, protocol):
    path = write_mmaction(tmp_path / "r.pkl", scores, LABELS, nested=nested, protocol=protocol)
    check(read_score_file(path, Known(IDS, CLASSES)), scores, stream="r")
    named = write_mmaction(tmp_path / "r.pkl", scores, LABELS, nested=nested, names=IDS)
    check(read_score_file(named, DATA), scores, stream="r")
    wrong = write_mmaction(tmp_path / "r.pkl", scores, LABELS[::-1], names=IDS)
    with pytest.raises(InputError, match="is 'point' here, but 'clap' in its data set") as caught:
        read_score_file(wrong, DATA)
    assert caught.value.code == "FUS-029"


def test_lists_of_numbers_and_one_array(tmp_path, scores):
    known = Known(IDS, CLASSES, DATA.labels, True)
    path = tmp_path / "a.pkl"
    path.write_bytes(
        pickle.dumps({name: row.tolist() for name, row in zip(IDS, scores, strict=True)})
    )
    check(read_score_file(path, DATA), scores, stream="a")
    path.write_bytes(pickle.dumps(scores))
    check(read_score_file(path, known), scores, stream="a")
    path.write_bytes(pickle.dumps([row[None] for row in scores]))
    check(read_score_file(path, known), scores, stream="a")


def test_arrays(tmp_path, scores):
    np.save(tmp_path / "a.npy", scores)
    check(read_score_file(tmp_path / "a.npy", Known(IDS, CLASSES, DATA.labels)), scores, stream="a")
    names = np.array(IDS)
    np.savez(tmp_path / "b.npz", scores=scores, names=names, labels=np.array(LABELS))
    check(read_score_file(tmp_path / "b.npz", Known(None, CLASSES)), scores, stream="b")
    told = np.array([CLASSES[label] for label in LABELS])
    turned = np.array(CLASSES)[[2, 0, 1]]
    np.savez(tmp_path / "c.npz", logits=scores[:, [2, 0, 1]], ids=names, classes=turned, label=told)
    check(read_score_file(tmp_path / "c.npz", DATA), scores, stream="c")


def test_our_own(tmp_path, scores):
    own = Scores(scores, IDS, np.array(LABELS), CLASSES, "bone", "3-crops")
    write_scores(tmp_path / "scores.npz", own)
    read = read_score_file(tmp_path / "scores.npz", DATA)
    check(read, scores, stream="bone")
    assert read.views == "3-crops"
    # probabilities are not guessed in a file that says what it holds
    flat = np.full((6, 3), 1 / 3, np.float32)
    write_scores(tmp_path / "scores.npz", Scores(flat, IDS, np.array(LABELS), CLASSES, "bone"))
    check(read_score_file(tmp_path / "scores.npz", DATA), flat, stream="bone")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv(tmp_path, scores, separator):
    path = tmp_path / "joint.csv"
    write_csv(path, IDS, scores, CLASSES, separator=separator)
    check(read_score_file(path, DATA), scores, stream="joint")
    told = [CLASSES[label] for label in LABELS]
    write_csv(path, IDS, scores[:, ::-1], CLASSES[::-1], told, separator)
    check(read_score_file(path, DATA), scores, stream="joint")
    alone = read_score_file(path)
    assert list(alone.classes) == CLASSES[::-1]
    assert [alone.classes[label] for label in alone.labels] == told


def test_a_clip_without_scores_in_a_csv(tmp_path):
    path = tmp_path / "joint.csv"
    path.write_text("id,label,a,b\nx,a,1,2\ny,,,\n")
    read = read_score_file(path)
    assert np.isnan(read.logits[1]).all()
    assert read.labels.tolist() == [0, -1]


@pytest.mark.parametrize(
    ("text", "where", "match"),
    [
        ("id,a,b\nx,1\n", "line 2", "found 2 fields, expected 3"),
        ("id,a,b\nx,1,2\n\ny,1,z\n", "line 4", "no number"),
        ("id,a,b\nx,1,nan\n", "line 2", "no finite number"),
        ("id,a,b\nx,1,inf\n", "line 2", "no finite number"),
        ("id,a,b\nx,1,１\n", "line 2", "no finite number"),
        ("id,a,b\nx,1,\n", "line 2", "no number"),
        ("id,a,b\n,1,2\n", "line 2", "the id is empty"),
        ("id,a,b\nx,1,2\nx,2,1\n", None, "'x' is there twice, in rows 0 and 1"),
        ("score,a,b\nx,1,2\n", "line 1", "the first column is 'score', expected id"),
        ("id,a\nx,1\n", "line 1", "one of its own for every class"),
        ("id,a,a\nx,1,2\n", "line 1", "one of its own for every class"),
        ("id,a,b\n", None, "found no row"),
        ('id,a,b\n"x,1,2\n', "line 2", "not UTF-8 CSV"),
        ("\0\0", "line 1", "first column"),
    ],
)
def test_a_csv_that_cannot_be_read(tmp_path, text, where, match):
    path = tmp_path / "joint.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=match) as caught:
        read_score_file(path)
    assert caught.value.code == "FUS-025"
    assert caught.value.where == where


def test_a_csv_over_the_limit_and_one_that_is_no_text(tmp_path, monkeypatch):
    path = tmp_path / "joint.csv"
    path.write_bytes(b"id,a,b\n\xff\xfe,1,2\n")
    with pytest.raises(InputError, match="not UTF-8 CSV text"):
        read_score_file(path)
    monkeypatch.setattr(foreign_tables, "TEXT_LIMIT", 5)
    with pytest.raises(InputError, match="the limit is 5"):
        read_score_file(path)


def softmaxed(scores):
    powers = np.exp(scores.astype(float))
    return powers / powers.sum(axis=1, keepdims=True)


def test_probabilities_are_told_from_logits(tmp_path, scores):
    shares = softmaxed(scores)
    path = write_csv(tmp_path / "joint.csv", IDS, shares, CLASSES)
    np.testing.assert_allclose(softmaxed(read_score_file(path, DATA).logits), shares, atol=1e-6)
    np.testing.assert_allclose(read_score_file(path, DATA, kind="logits").logits, shares, atol=1e-6)
    half = write_ctr_gcn(tmp_path / "half.pkl", IDS, shares.astype(np.float16))
    np.testing.assert_allclose(softmaxed(read_score_file(half, DATA).logits), shares, atol=2e-3)
    sure = np.eye(3)[LABELS]
    path = write_csv(tmp_path / "joint.csv", IDS, sure, CLASSES)
    read = read_score_file(path, DATA)
    assert np.isfinite(read.logits).all()
    np.testing.assert_allclose(softmaxed(read.logits), sure, atol=1e-6)
    logits = write_csv(tmp_path / "logits.csv", IDS, scores, CLASSES)
    with pytest.raises(InputError, match="outside \\[0, 1\\], expected probabilities") as caught:
        read_score_file(logits, DATA, kind="probabilities")
    assert caught.value.code == "FUS-025"


def test_ids_with_the_ending_of_a_file(tmp_path, scores):
    path = write_ctr_gcn(tmp_path / "joint.pkl", [f"{name}.skeleton" for name in IDS], scores)
    check(read_score_file(path, DATA), scores, stream="joint")
    odd = write_ctr_gcn(tmp_path / "odd.pkl", [*IDS[:5], "S001C001P009R001A002"], scores)
    with pytest.raises(InputError, match="'S001C001P009R001A002' is no clip.*did you mean"):
        read_score_file(odd, DATA)


def refusal(path, content, known=None):
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError) as caught:
        read_score_file(path, known)
    return caught.value.code, str(caught.value)


def test_pickles_that_are_no_scores(tmp_path):
    path = tmp_path / "a.pkl"
    row = np.zeros(3)
    for content, says in (
        ({}, "found no scores at all"),
        ([], "found no scores at all"),
        ("text", "found a str"),
        ({"x": row, "y": np.zeros(4)}, "row 1: found 4 classes, but 3 in the first row"),
        ({"x": np.zeros((2, 3))}, "'x': found numbers of shape (2, 3)"),
        ({"x": np.zeros(1)}, "found numbers of shape (1,)"),
        ({"x": np.array(["a", "b"])}, "found <U1, expected a row of numbers"),
        ({"x": "abc"}, "found str"),
        ({"x": [1, "b"]}, "other things than numbers"),
        ([{"rgb": row, "pose": row}], "found a dict of rgb, pose, expected pred_score"),
        ([row, {"pred_score": row}], "row 1: found dict"),
    ):
        code, text = refusal(path, content)
        assert (code, says in text) == ("FUS-025", True), text
    code, text = refusal(path, [{"pred_score": row, "gt_label": np.array([1, 2])}], Known(["x"]))
    assert (code, "the label is not one class" in text) == ("FUS-029", True)
    code, text = refusal(path, {"x": np.array([1.0, np.nan, 2.0])})
    assert (code, "not finite: x" in text) == ("FUS-004", True)
    code, text = refusal(path, {"x": np.array([1.0, np.inf, 2.0])})
    assert code == "FUS-004"
    code, text = refusal(path, {"x": np.array([1.0, 1e300, 2.0])})
    assert (code, "single precision" in text) == ("FUS-004", True)


def test_classes_and_labels_that_do_not_fit(tmp_path, scores):
    four = made_up_scores(IDS, 4)
    path = write_ctr_gcn(tmp_path / "a.pkl", IDS, four)
    with pytest.raises(InputError, match="found 4 classes, expected 3") as caught:
        read_score_file(path, DATA)
    assert caught.value.code == "FUS-028"
    path = write_csv(tmp_path / "a.csv", IDS, scores, ["clap", "wave", "pont"])
    with pytest.raises(InputError, match="found a class 'pont'; did you mean 'point'") as caught:
        read_score_file(path, DATA)
    assert caught.value.code == "FUS-028"
    path = write_csv(tmp_path / "a.csv", IDS, scores, CLASSES, ["jump"] * 6)
    with pytest.raises(InputError, match="line 2: the label of .* is 'jump'") as caught:
        read_score_file(path, DATA)
    assert caught.value.code == "FUS-029"
    path = write_csv(tmp_path / "a.csv", IDS, scores, CLASSES, ["3"] * 6)
    with pytest.raises(InputError, match="expected a class or 0 to 2"):
        read_score_file(path, DATA)
    path = write_pyskl(tmp_path / "a.pkl", scores)
    with pytest.raises(InputError, match="is labelled 7, but there are 3 classes"):
        read_score_file(path, Known(IDS, None, dict.fromkeys(IDS, 7)))


def test_arrays_that_are_no_scores(tmp_path, scores):
    path = tmp_path / "a.npz"
    for arrays, says in (
        ({"x": scores}, "no array of scores; found x"),
        ({"logits": scores[0]}, "expected numbers"),
        ({"logits": scores > 0}, "expected numbers"),
        ({"logits": scores, "ids": np.array(IDS[:4])}, "ids has shape \\(4,\\)"),
        ({"logits": scores, "labels": np.zeros(6)}, "labels has type float64"),
        ({"logits": scores, "ids": np.array(IDS, dtype=object)}, "never opened"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=says) as caught:
            read_score_file(path)
        assert caught.value.code == "FUS-025"
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="never opened"):
        read_score_file(tmp_path / "a.npy", Known(IDS))
    (tmp_path / "a.txt").write_text("x")
    for name, says in (
        ("a.txt", "no kind of score file ends in '.txt'"),
        ("b.pkl", "no score file"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            read_score_file(tmp_path / name)
        assert caught.value.code == "FUS-024"
    assert is_score_file(tmp_path / "a.npz")
    assert is_score_file(tmp_path / "missing.csv")
    assert not is_score_file(tmp_path)
    assert not is_score_file(tmp_path / "missing")


def test_lists_of_ids_and_labels(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("a\n\n b c \n")
    assert read_ids(str(path)) == (["a", "b c"], None)
    for text, says in (("a\na\n", "1 ids are there twice"), ("\n", "found no id")):
        path.write_text(text)
        with pytest.raises(InputError, match=says) as caught:
            read_ids(str(path))
        assert caught.value.code == "FUS-026"
    path.write_bytes(b"\xff\xff")
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_ids(str(path))
    with pytest.raises(InputError, match="the file is missing"):
        read_ids(str(tmp_path / "nowhere.txt"))
    table = tmp_path / "labels.csv"
    table.write_text("label;id\nwave;x\n0;y\n")
    assert read_labels(table, CLASSES) == {"x": 1, "y": 0}
    for text, says in (
        ("id,label\nx,jump\n", "'x' has the label 'jump'"),
        ("id,label\nx,0\nx,1\n", "and another one before"),
        ("id,class\nx,0\n", "expected id and label"),
        ("id,label\nx,\n", "without id or label"),
    ):
        table.write_text(text)
        with pytest.raises(InputError, match=says) as caught:
            read_labels(table, CLASSES)
        assert caught.value.code == "FUS-029"
    table.write_text("id,label\nx,wave\n")
    with pytest.raises(InputError, match="'x' has the label 'wave'"):
        read_labels(table, None)


# the bombs are the business of tests/data: it is the same reader
SMALL = {name: hostile.data for name, hostile in small_corpus().items()}


@pytest.mark.parametrize("name", sorted(SMALL))
def test_hostile_pickles(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "scores.pkl"
    path.write_bytes(SMALL[name])
    with pytest.raises(PoselensError) as caught:
        read_score_file(path, Known(["x"]))
    assert caught.value.code.startswith(("PKL-", "FUS-"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.pkl"]


def whole_files(folder):
    scores = made_up_scores(IDS, 3)
    write_ctr_gcn(folder / "a.pkl", IDS, scores)
    write_mmaction(folder / "b.pkl", scores, LABELS, names=IDS)
    write_csv(folder / "c.csv", IDS, scores, CLASSES)
    np.savez(folder / "d.npz", logits=scores, ids=np.array(IDS))
    np.save(folder / "e.npy", scores)
    return sorted(folder.iterdir())


@settings(max_examples=60, deadline=None)
@given(which=st.integers(0, 4), seed=st.integers(0, 2**31))
def test_damaged_files_end_in_an_error_of_ours_or_in_finite_scores(tmp_path_factory, which, seed):
    folder = tmp_path_factory.mktemp("files")
    path = whole_files(folder)[which]
    draw = np.random.default_rng(seed)
    data = bytearray(path.read_bytes())
    if draw.random() < 0.3:
        data = data[: draw.integers(0, len(data))]
    for place in draw.integers(0, max(len(data), 1), draw.integers(1, 6)) if data else ():
        data[place] = draw.integers(0, 256)
    path.write_bytes(bytes(data))
    try:
        read = read_score_file(path, Known(IDS))
    except (InputError, AnnotationError, EnvironmentFault):
        return
    whole = np.isfinite(read.logits).all(axis=1) | np.isnan(read.logits).all(axis=1)
    assert whole.all()


def test_tensors_that_are_no_plain_numbers(tmp_path):
    path = tmp_path / "a.pkl"
    for tensor, says in (
        (torch.zeros(3, dtype=torch.bfloat16), "a tensor of BFloat16"),
        (torch.zeros(3, dtype=torch.complex64), "a tensor of ComplexFloat"),
    ):
        path.write_bytes(pickle.dumps([{"pred_score": tensor}]))
        with pytest.raises(AnnotationError, match=says) as caught:
            read_score_file(path, Known(["x"]))
        assert caught.value.code == "PKL-004"
