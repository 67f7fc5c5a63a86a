import shutil

import numpy as np
import pytest
import torch

from poselens.data.folder import open_folder
from poselens.errors import UsageError
from poselens.recipes.choosing import Chosen, choose_clips, classes_asked, score_clips
from poselens.recipes.evaluating import evaluate_bundle
from poselens.recognition.bundle import load_bundle

CPU = torch.device("cpu")
PROTOCOL = "cross-subject"


@pytest.fixture(scope="module")
def folder(drawn):
    return open_folder(drawn.data)


@pytest.fixture(scope="module")
def bundle(drawn):
    return load_bundle(drawn.bundle, device=CPU, folded=False)


def test_the_surest_come_first_wrong_ones_before_right_ones(bundle, folder):
    found = choose_clips(bundle, folder, PROTOCOL, top=3)
    sure = found.probabilities.max(axis=1)
    right = found.labels == found.predicted
    wrong = int((~right).sum())
    assert wrong == 3
    assert not right[:3].any()
    assert (np.diff(sure[:3]) <= 0).all()
    assert (np.diff(sure[3:]) <= 0).all()
    every = score_clips(bundle, folder, folder.indices(PROTOCOL, "test"))
    missed = every.probabilities.max(axis=1)[every.labels != every.predicted]
    assert sure[0] == missed.max()


def test_what_the_model_says_is_what_is_evaluated(bundle, folder):
    found = score_clips(bundle, folder, folder.indices(PROTOCOL, "test"))
    result = evaluate_bundle(bundle, folder, PROTOCOL, "test")
    np.testing.assert_array_equal(found.predicted, result.scores[-1].logits.argmax(1))
    assert found.streams.keys() == {"rgb", "joint"}
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def test_named_clips_come_as_named_once(bundle, folder):
    ids = [str(folder.ids[7]), str(folder.ids[2]), str(folder.ids[7])]
    found = choose_clips(bundle, folder, PROTOCOL, ids=ids)
    assert found.clips.tolist() == [7, 2]
    with pytest.raises(UsageError, match="no clip has the id 'synth-0'") as caught:
        choose_clips(bundle, folder, PROTOCOL, ids=["synth-0"])
    assert caught.value.code == "DATA-013"


def test_a_clip_one_stream_cannot_read_is_judged_by_the_other(bundle, drawn, tmp_path):
    data = shutil.copytree(drawn.data, tmp_path / "data")
    clips = open_folder(data).indices(PROTOCOL, "test")[:2]
    name = str(open_folder(data).ids[clips[0]])
    (data / "videos" / f"{name}.mp4").write_text("404")
    found = score_clips(bundle, open_folder(data), clips)
    assert list(found.skipped) == [f"{name} (rgb)"]
    assert np.isnan(found.streams["rgb"][0]).all()
    assert (found.predicted >= 0).all()


def chosen(probabilities, labels):
    table = np.array(probabilities, float)
    predicted = np.where(np.isfinite(table).all(1), np.nan_to_num(table).argmax(1), -1)
    clips = np.arange(len(table))
    return Chosen(clips, np.array(labels), predicted, table, {}, {})


def test_which_class_is_asked_about():
    says = chosen([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]], [0, 1])
    names = ["a", "b", "label of c"]
    assert classes_asked("predicted", says, names)[0].tolist() == [0, 2]
    assert classes_asked("label", says, names)[0].tolist() == [0, 1]
    wanted, against = classes_asked("pair", says, names)
    # right: before the runner-up; wrong: before what it was taken for
    assert (wanted.tolist(), against.tolist()) == ([0, 1], [1, 2])
    assert classes_asked("label of c", says, names)[0].tolist() == [2, 2]
    assert classes_asked("b", says, names)[1] is None


def test_classes_that_nobody_can_ask_about():
    says = chosen([[0.6, 0.4], [np.nan, np.nan]], [-1, 1])
    with pytest.raises(UsageError, match="no class 'waves'; did you mean 'wave'") as caught:
        classes_asked("waves", says, ["wave", "clap"])
    assert caught.value.code == "EXP-010"
    for asked in ("label", "predicted", "pair"):
        with pytest.raises(UsageError, match="1 of 2 clips have no") as caught:
            classes_asked(asked, says, ["wave", "clap"])
        assert caught.value.code == "EXP-010"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"pick": "worst"}, "EXP-008"),
        ({"top": 0}, "EXP-008"),
        ({"part": "tests"}, "CFG-009"),
    ],
)
def test_choices_that_are_none(bundle, folder, options, code):
    with pytest.raises(UsageError) as caught:
        choose_clips(bundle, folder, PROTOCOL, **options)
    assert caught.value.code == code


def test_a_part_without_a_clip_of_the_kind(bundle, folder, monkeypatch):
    from poselens.recipes import choosing

    says = chosen([[0.6, 0.4]], [0])
    monkeypatch.setattr(choosing, "score_clips", lambda *_: says)
    with pytest.raises(UsageError, match="no clip of the test part is wrong") as caught:
        choose_clips(bundle, folder, PROTOCOL, pick="wrong")
    assert caught.value.code == "EXP-008"
    assert len(choose_clips(bundle, folder, PROTOCOL).clips) == 1
