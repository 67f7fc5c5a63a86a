import numpy as np
import pytest
import torch

from poselens.clips.disturb import KINDS
from poselens.data.folder import open_folder
from poselens.errors import UsageError
from poselens.recipes.robustness_choice import chosen_levels, subset
from poselens.recognition.bundle import load_bundle

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(drawn):
    return open_folder(drawn.data)


@pytest.fixture(scope="module")
def bundle(drawn):
    return load_bundle(drawn.bundle, device=CPU)


def test_every_kind_that_reaches_a_stream_is_tried(drawn, bundle, folder):
    assert list(chosen_levels([], [], bundle=bundle, folder=folder)) == list(KINDS)
    joint = load_bundle(drawn.joint, device=CPU)
    found = chosen_levels([], [], bundle=joint, folder=folder)
    assert {KINDS[name].acts for name in found} == {"joints", "time"}
    assert found["joint-noise"] == KINDS["joint-noise"].levels


def test_levels_are_sorted_and_rest_is_left_out(bundle, folder):
    def chosen(kinds, *levels):
        return chosen_levels(kinds, levels, bundle=bundle, folder=folder)

    both = ["occlusion", "frame-rate"]
    assert chosen(both, "occlusion=0.3,0,0.1,0.3", "frame-rate=1,3") == {
        "occlusion": (0.1, 0.3),
        "frame-rate": (3.0,),
    }
    assert chosen(["occlusion", "joint-dropout"], "0.5") == {
        "occlusion": (0.5,),
        "joint-dropout": (0.5,),
    }


@pytest.mark.parametrize(
    ("kinds", "levels", "code", "text"),
    [
        (["fog"], [], "EVAL-060", "unknown disturbance 'fog'"),
        (["occlusion"], ["fog=1"], "EVAL-060", "unknown disturbance 'fog'"),
        (["occlusion"], ["a,b"], "EVAL-061", "found level 'a,b', expected numbers"),
        (["occlusion"], ["0.1,2"], "EVAL-061", "found level 2 of occlusion"),
        (["occlusion"], ["darkness=1"], "EVAL-061", "levels of darkness, which is not tried"),
        (["occlusion"], ["nan"], "EVAL-061", "found level nan of occlusion"),
    ],
)
def test_what_cannot_be_tried_is_refused(bundle, folder, kinds, levels, code, text):
    with pytest.raises(UsageError, match=text) as caught:
        chosen_levels(kinds, levels, bundle=bundle, folder=folder)
    assert caught.value.code == code


def test_a_kind_that_reaches_nothing_is_refused(drawn, folder):
    joint = load_bundle(drawn.joint, device=CPU)
    with pytest.raises(UsageError, match="darkness reaches no stream of the model") as caught:
        chosen_levels(["darkness"], [], bundle=joint, folder=folder)
    assert caught.value.code == "EVAL-062"
    assert "joint-dropout" in caught.value.mend


class Labelled:
    """As much of a data set as a draw asks for."""

    root = None

    def __init__(self, labels):
        self.labels = np.array(labels)
        self.ids = np.array([f"c{clip}" for clip in range(len(labels))])


def test_a_subset_has_every_class_in_proportion_and_grows():
    folder = Labelled([0] * 60 + [1] * 30 + [2] * 2 + [-1] * 5)
    clips = np.arange(97)
    before = set()
    for limit in (3, 10, 31, 92, 200):
        found = subset(clips, folder, limit, 0)
        counts = np.bincount(folder.labels[found], minlength=3)
        assert len(found) == min(limit, 92)
        assert (counts >= 1).all()
        assert before <= set(found.tolist())
        assert found.tolist() == sorted(found.tolist())
        if limit == 31:
            assert abs(counts - np.array([20, 10, 1])).max() <= 1
        before = set(found.tolist())
    assert len(subset(clips, folder, None, 0)) == 92


def test_a_subset_depends_on_the_seed_and_the_ids_alone():
    folder = Labelled([0] * 40 + [1] * 40)
    one = subset(np.arange(80), folder, 20, 0)
    shuffled = subset(np.arange(80)[::-1], folder, 20, 0)
    assert set(one.tolist()) == set(shuffled.tolist())
    assert set(one.tolist()) != set(subset(np.arange(80), folder, 20, 1).tolist())


def test_a_subset_too_small_for_the_classes_is_refused():
    folder = Labelled([0, 1, 2, 2])
    with pytest.raises(UsageError, match="a limit of 2 clips, expected one of each") as caught:
        subset(np.arange(4), folder, 2, 0)
    assert caught.value.code == "EVAL-064"
    assert caught.value.mend == "--limit 3 or more"
