import json

import numpy as np
import pytest

from poselens.errors import CheckpointError, UsageError
from poselens.recipes.robustness_ledger import Cells
from poselens.recognition.score import Scored
from poselens.types import Scores

ABOUT = {"model": {"joint": "abc"}, "data": "0", "seed": 0}


def scored(*ids, skipped=()):
    logits = np.arange(2 * len(ids), dtype=np.float32).reshape(-1, 2)
    scores = Scores(logits, list(ids), np.zeros(len(ids), np.int64), ["x", "y"], "joint")
    return Scored(scores, {clip: "VID-002 empty" for clip in skipped})


def test_what_was_written_is_read(tmp_path):
    Cells(tmp_path / "cells", ABOUT).write("occlusion-0.1", "joint", scored("a", skipped=["b"]))
    cells = Cells(tmp_path / "cells", ABOUT)
    found = cells.read("occlusion-0.1", "joint", ["b", "a"])
    assert found.scores.ids == ["a"]
    np.testing.assert_array_equal(found.scores.logits, [[0, 1]])
    assert found.skipped == {"b": "VID-002 empty"}
    assert cells.read("occlusion-0.1", "rgb", ["a", "b"]) is None
    assert cells.read("occlusion-0.2", "joint", ["a", "b"]) is None


def test_a_stream_that_read_nothing_is_remembered(tmp_path):
    cells = Cells(tmp_path, ABOUT)
    nothing = Scored(
        Scores(np.zeros((0, 2), np.float32), [], np.zeros(0, np.int64), ["x", "y"], "joint"),
        {"a": "none"},
    )
    cells.write("c", "joint", nothing)
    assert cells.read("c", "joint", ["a"]).scores.logits.shape == (0, 2)


@pytest.mark.parametrize("spoil", ["cut", "empty", "no skips", "other clips"])
def test_a_cell_that_is_not_whole_is_done_again(tmp_path, spoil):
    cells = Cells(tmp_path, ABOUT)
    cells.write("c", "joint", scored("a", "b"))
    file = tmp_path / "c" / "joint.npz"
    if spoil == "cut":
        file.write_bytes(file.read_bytes()[:-30])
    elif spoil == "empty":
        file.write_bytes(b"")
    elif spoil == "no skips":
        (tmp_path / "c" / "joint.skipped.json").unlink()
    clips = ["a", "c"] if spoil == "other clips" else ["a", "b"]
    assert cells.read("c", "joint", clips) is None


def test_work_of_another_model_is_not_taken_up(tmp_path):
    Cells(tmp_path, ABOUT)
    with pytest.raises(UsageError, match="begun with another seed: 0, now 1") as caught:
        Cells(tmp_path, {**ABOUT, "seed": 1})
    assert caught.value.code == "EVAL-063"
    assert "--fresh" in caught.value.mend
    with pytest.raises(UsageError, match="another model"):
        Cells(tmp_path, {**ABOUT, "model": {"joint": "abd"}})


def test_fresh_forgets(tmp_path):
    Cells(tmp_path / "w", ABOUT).write("c", "joint", scored("a"))
    cells = Cells(tmp_path / "w", {**ABOUT, "seed": 1}, fresh=True)
    assert cells.read("c", "joint", ["a"]) is None
    assert json.loads((tmp_path / "w" / "about.json").read_text())["seed"] == 1


def test_a_damaged_description_is_named(tmp_path):
    (tmp_path / "about.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        Cells(tmp_path, ABOUT)
