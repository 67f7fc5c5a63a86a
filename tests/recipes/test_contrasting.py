import shutil

import numpy as np
import pytest
from drawn import SMALL_SKELETON

from poselens.contrast.record import read_contrasted
from poselens.data.folder import open_folder
from poselens.errors import CheckpointError, UsageError
from poselens.recipes import load
from poselens.recipes.contrasting import contrast_history, require_contrast
from poselens.synth.make import PROTOCOL
from poselens.training.config import override
from poselens.training.run import Request, train

CONTRAST = "contrast={negatives: 6, cap: 2, positives: 2}"


@pytest.fixture(scope="module")
def contrasted(drawn, tmp_path_factory):
    """A run of two epochs with contrast."""
    out = tmp_path_factory.mktemp("contrasted") / "run"
    section = override(load("tiny").skeleton, [*SMALL_SKELETON, "training.epochs=2", CONTRAST])
    request = Request(drawn.data, PROTOCOL, "tiny", out, "cpu", False)
    assert train(open_folder(drawn.data), section, request).exit_code == 0
    return out


def test_a_run_says_what_it_was_contrasted_with(drawn, contrasted):
    history = require_contrast(contrasted)
    classes = open_folder(drawn.data).info.classes
    assert (history.stream, list(history.epochs)) == ("joint", [1, 2])
    assert list(history.classes) == list(classes)
    assert history.similarity.shape == (2, len(classes), len(classes))
    assert history.taken.keys() == {"random", "class-aware"}
    assert history.sampler == "class-aware"
    record = read_contrasted(contrasted)
    np.testing.assert_array_equal(history.similarity[1], record[2].similarity)
    # the bank is full in the second epoch: every anchor takes all it is asked for, of others
    counts = history.taken["class-aware"][1]
    assert np.trace(counts) == 0
    assert counts.sum() % 6 == 0


def test_without_contrast_there_is_nothing_to_show(drawn):
    with pytest.raises(UsageError, match="trained without contrast.*--set 'contrast={}'") as told:
        require_contrast(drawn.joint)
    assert told.value.code == "RUN-010"
    with pytest.raises(UsageError, match="the rgb stream was trained without contrast"):
        require_contrast(drawn.rgb)
    assert contrast_history(drawn.joint, "joint", ["a"]) is None


def test_a_bundle_is_sent_to_its_runs(drawn):
    with pytest.raises(UsageError, match="a bundle keeps no record.*one of the runs") as told:
        require_contrast(drawn.bundle)
    assert told.value.code == "RUN-010"


def test_a_folder_that_is_no_finished_run(drawn, tmp_path):
    for place, code in ((tmp_path / "none", "CKPT-001"), (drawn.data, "CKPT-014")):
        with pytest.raises(CheckpointError) as told:
            require_contrast(place)
        assert told.value.code == code


def test_a_record_of_other_classes_is_refused(contrasted, tmp_path):
    run = shutil.copytree(contrasted, tmp_path / "run")
    with pytest.raises(CheckpointError, match="expected tables of 2 classes, found 16") as told:
        contrast_history(run, "joint", ["a", "b"])
    assert told.value.code == "CKPT-017"
