import json
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from score_files import made_up_scores, write_annotations, write_csv, write_ctr_gcn, write_pyskl

from poselens.data.folder import open_folder
from poselens.errors import CheckpointError, InputError, UsageError
from poselens.fusion.scores import fuse, read_scores
from poselens.recipes.fusing_scores import Clips, any_score_file, fuse_scores, named_path
from poselens.recipes.judging_scores import evaluate_scores
from poselens.recipes.weighing import Choice, group_notes

CPU = torch.device("cpu")


@pytest.fixture
def folder(drawn):
    return open_folder(drawn.data)


def of_part(folder, part, strength=2.0, seed=0):
    rows = folder.indices("cross-subject", part)
    ids, labels = folder.ids[rows].tolist(), folder.labels[rows]
    scores = made_up_scores(ids, len(folder.info.classes), seed)
    scores[np.arange(len(ids)), labels] += strength
    return ids, scores


@pytest.fixture
def files(folder, tmp_path):
    """Two files of validation and two of test, as CTR-GCN and PYSKL leave them."""
    found = {}
    for part in ("val", "test"):
        for seed, name in enumerate(("joint", "bone")):
            ids, scores = of_part(folder, part, seed=seed)
            (tmp_path / name).mkdir(exist_ok=True)
            path = tmp_path / name / f"{part}_score.pkl"
            found[part, name] = write_ctr_gcn(path, ids, scores)
    return found


@pytest.fixture
def call(folder, tmp_path):
    def call(inputs, weights="equal", out="out", clips=None, **options):
        choice = Choice(
            weights, options.pop("objective", "likelihood"), options.pop("per_class", False)
        )
        given = clips or Clips(folder, "cross-subject")
        return fuse_scores(inputs, given, tmp_path / out, choice=choice, device=CPU, **options)

    return call


def test_weights_fitted_on_validation_are_used_for_test(folder, files, call, tmp_path):
    pair = [files["val", "joint"], files["val", "bone"]]
    facts = call(pair, "fitted", objective="accuracy", per_class=True, landscape=tmp_path / "l.svg")
    # one file's name is taken: the folder's takes its place
    assert set(facts["fusion"]["weights"]) == {"val_score", "bone"}
    assert facts["fusion"]["method"] == "fitted"
    assert facts["fusion"]["n"] == facts["clips"] == len(folder.indices("cross-subject", "val"))
    assert len(facts["fusion"]["per_class"]["bone"]) == len(folder.info.classes)
    assert facts["fusion"]["gain"]["clips"] == "validation, weights fitted out of fold"
    assert facts["fusion"]["landscape"]["clips"] == "validation"
    ET.parse(tmp_path / "l.svg")
    written = json.loads((tmp_path / "out" / "fusion.json").read_text())
    assert written["fusion"] == json.loads(json.dumps(facts["fusion"]))
    named = [tmp_path / f"val_score={files['test', 'joint']}", files["test", "bone"]]
    named = [type(tmp_path)(f"val_score={files['test', 'joint']}"), named[1]]
    named[1] = type(tmp_path)(f"bone={files['test', 'bone']}")
    test = call(named, str(tmp_path / "out" / "fusion.json"), "test",
                clips=Clips(folder, "cross-subject", "test"))  # fmt: skip
    assert test["fusion"]["gain"]["clips"] == "the TEST part, evaluated on request"
    assert test["fusion"]["per_class"] == facts["fusion"]["per_class"]
    result = evaluate_scores(
        tmp_path / "test" / "scores.npz", Clips(folder, "cross-subject", "test"),
        scores_out=tmp_path / "again" / "scores.npz",
    )  # fmt: skip
    assert result.fused.n == test["clips"]
    back = read_scores(tmp_path / "again" / "scores.npz")
    assert set(back.ids) == set(read_scores(tmp_path / "test" / "scores.npz").ids)


def test_fused_scores_are_eq_14(folder, files, call, tmp_path):
    call([files["val", "joint"], files["val", "bone"]], "val_score=3,bone=1")
    ids, joint = of_part(folder, "val", seed=0)
    _, bone = of_part(folder, "val", seed=1)
    fused = read_scores(tmp_path / "out" / "scores.npz")
    assert list(fused.ids) == ids
    shares = [np.exp(part) / np.exp(part).sum(axis=1, keepdims=True) for part in (joint, bone)]
    np.testing.assert_allclose(np.exp(fused.logits), 0.75 * shares[0] + 0.25 * shares[1], rtol=1e-4)


def test_runs_and_bundles_beside_score_files(drawn, folder, files, call):
    facts = call([type(drawn.rgb)(f"other={files['val', 'joint']}"), drawn.joint], "fitted")
    assert set(facts["fusion"]["weights"]) == {"other", "joint"}
    worth = {entry["stream"]: entry["cost"] for entry in facts["fusion"]["gain"]["worth"]}
    assert worth["joint"]["gmacs"] > 0
    assert worth["other"]["gmacs"] is None
    both = call([files["val", "bone"], drawn.bundle], "equal", "second")
    assert set(both["fusion"]["weights"]) == {"val_score", "rgb", "joint"}


def test_weights_are_not_fitted_on_what_a_run_was_trained_on(drawn, files, call, tmp_path):
    copy = shutil.copytree(drawn.joint, tmp_path / "seen")
    facts = json.loads((copy / "run.json").read_text())
    facts["data"]["val"] = 0
    (copy / "run.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="joint was trained on the validation slice") as caught:
        call([files["val", "bone"], copy], "fitted")
    assert caught.value.code == "FUS-010"


def test_without_a_data_set(folder, call, tmp_path):
    ids, scores = of_part(folder, "val")
    labels = dict(
        zip(ids, folder.labels[folder.indices("cross-subject", "val")].tolist(), strict=True)
    )
    first = write_pyskl(tmp_path / "a.pkl", scores)
    second = write_pyskl(tmp_path / "b.pkl", of_part(folder, "val", seed=3)[1])
    listed = write_annotations(tmp_path / "ann.pkl", labels, {"val": ids})
    clips = Clips(None, None, ids=f"{listed}:val")
    facts = call([first, second], "fitted", clips=clips)
    assert facts["fusion"]["n"] == len(ids)
    assert facts["fusion"]["gain"]["clips"].startswith("the clips given, of no known part")
    assert "nobody can tell which part these clips are of" in facts["notes"][0]
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    (tmp_path / "labels.csv").write_text(
        "id,label\n" + "".join(f"{clip},{label}\n" for clip, label in labels.items())
    )
    other = Clips(None, None, ids=str(tmp_path / "ids.txt"), labels=tmp_path / "labels.csv")
    again = call([first, second], "fitted", "again", clips=other)
    assert again["fusion"]["weights"] == facts["fusion"]["weights"]
    bare = call(
        [first, second], "equal", "bare", clips=Clips(None, None, ids=str(tmp_path / "ids.txt"))
    )
    assert bare["fusion"]["gain"] is None
    assert "no clip has a label, so nothing is judged" in bare["notes"]


def test_streams_that_know_different_clips(folder, call, tmp_path):
    ids, scores = of_part(folder, "val")
    whole = write_ctr_gcn(tmp_path / "a.pkl", ids, scores)
    some = write_ctr_gcn(tmp_path / "b.pkl", ids[:9], scores[:9])
    facts = call([whole, some], "fitted", cluster="source")
    assert facts["clips"] == len(ids)
    assert any("streams know different clips: a 16, b 9" in note for note in facts["notes"])
    assert facts["fusion"]["gain"]["over_best"]["interval_unit"] == "group"
    alone = fuse([read_scores(tmp_path / "out" / "scores.npz")], [1.0])
    assert list(alone.ids) == ids


@pytest.mark.parametrize(
    ("change", "code", "match"),
    [
        ({"weights": "equal", "per_class": True}, "FUS-030", "are not fitted"),
        ({"weights": "paper", "objective": "accuracy"}, "FUS-030", "are not fitted"),
        ({"weights": "fitted", "objective": "beauty"}, "FUS-021", "found objective 'beauty'"),
        ({"weights": "paper"}, "FUS-005", "the paper has no weight for stream 'val_score'"),
        ({"cluster": "mood"}, "CMP-005", "found cluster 'mood'"),
        ({"cluster": "subject"}, "CMP-005", "the clips are of 1 subject"),
    ],
)
def test_options_that_make_no_sense(files, call, tmp_path, change, code, match):
    with pytest.raises(UsageError, match=match) as caught:
        call([files["val", "joint"], files["val", "bone"]], **change)
    assert caught.value.code == code
    assert not (tmp_path / "out").exists()


def test_clips_of_another_part_and_fits_on_it(folder, files, call):
    pair = [files["test", "joint"], files["test", "bone"]]
    with pytest.raises(InputError, match="16 clips are not of the part val") as caught:
        call(pair)
    assert caught.value.code == "FUS-032"
    with pytest.raises(UsageError, match="fitted on the part test, expected val") as caught:
        call(pair, "fitted", clips=Clips(folder, "cross-subject", "test"))
    assert caught.value.code == "FUS-031"
    with pytest.raises(UsageError, match="expected train, val, test"):
        call(pair, clips=Clips(folder, "cross-subject", "exam"))


def test_what_needs_a_data_set(drawn, folder, files, call):
    with pytest.raises(UsageError, match="belong together") as caught:
        call([files["val", "joint"]], clips=Clips(folder, None))
    assert caught.value.code == "FUS-030"
    with pytest.raises(UsageError, match="no clips to score with it"):
        call([files["val", "joint"], drawn.joint], clips=Clips(None, None))
    with pytest.raises(UsageError, match="--cluster needs the clips' data set"):
        call([files["val", "joint"]], clips=Clips(None, None), cluster="subject")
    with pytest.raises(UsageError, match="judged as it is") as caught:
        evaluate_scores(files["val", "joint"], Clips(folder, None))
    assert caught.value.code == "FUS-030"


def test_weights_of_a_file_that_do_not_fit(files, call, tmp_path):
    pair = [files["val", "joint"], files["val", "bone"]]
    path = tmp_path / "weights.json"
    facts = {"weights": {"rgb": 1.0}, "temperatures": {"rgb": 1.0}, "method": "given", "n": 0}
    path.write_text(json.dumps({"fusion": facts}))
    with pytest.raises(UsageError, match="the weights know rgb, but not 'val_score'") as caught:
        call(pair, str(path))
    assert caught.value.code == "FUS-020"
    path.write_text(json.dumps({"fusion": [1]}))
    with pytest.raises(CheckpointError, match="holds no fusion weights") as caught:
        call(pair, str(path))
    assert caught.value.code == "CKPT-005"
    with pytest.raises(CheckpointError):
        call(pair, str(tmp_path / "nowhere.json"))


def test_few_groups_are_said():
    assert group_notes(None) == []
    assert group_notes({str(clip): str(clip % 12) for clip in range(40)}) == []
    (note,) = group_notes({str(clip): str(clip % 3) for clip in range(40)})
    assert note == "intervals over 3 groups, fewer than 10, are too narrow"


def test_names_of_streams(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = type(tmp_path)
    assert named_path(path("joint=work/a.pkl")) == ("joint", path("work/a.pkl"))
    assert named_path(path("work/a=b.pkl")) == (None, path("work/a=b.pkl"))
    assert named_path(path("work/a.pkl")) == (None, path("work/a.pkl"))
    (tmp_path / "a=b.pkl").touch()
    assert named_path(path("a=b.pkl")) == (None, path("a=b.pkl"))
    assert any_score_file([tmp_path, path("x=nowhere.pkl")])
    assert not any_score_file([tmp_path])


def test_a_file_without_some_of_the_clips_is_judged_on_the_rest(folder, tmp_path):
    ids, scores = of_part(folder, "test")
    few = write_csv(tmp_path / "some.csv", ids[:-3], scores[:-3], folder.info.classes)
    result = evaluate_scores(few, Clips(folder, "cross-subject", "test"))
    assert (result.fused.n, result.fused.unscored) == (len(ids) - 3, 3)
    assert any("no scores for 3 clips of test" in note for note in result.notes)
    right = (
        scores[:-3].argmax(axis=1) == folder.labels[folder.indices("cross-subject", "test")][:-3]
    )
    assert result.fused.top1 == pytest.approx(right.mean())
    assert result.as_dict()["selection"].startswith("scores of a file")
