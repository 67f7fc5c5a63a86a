import csv
import json

import numpy as np
import pytest
from drawn import SMALL_SKELETON

from poselens.data.folder import open_folder
from poselens.errors import CheckpointError, UsageError
from poselens.evaluation.intervals import bootstrap_interval
from poselens.fusion.scores import fuse, read_scores
from poselens.recipes import load
from poselens.recipes.crossval import Validation, cross_validate
from poselens.recipes.folding import Folding
from poselens.recipes.pooled import pool_files

WANTED = Folding(leave_out="subject", with_test=True)
"""Three folds, as three subjects were drawn."""


def plan(out, **changes):
    given = {
        "recipe": load("tiny"), "streams": ("joint", "bone"), "out": out,
        "settings": SMALL_SKELETON, "device": "cpu",
    }  # fmt: skip
    return Validation(**{**given, **changes})


@pytest.fixture(scope="module")
def crossed(drawn, tmp_path_factory):
    out = tmp_path_factory.mktemp("crossval") / "out"
    told = []
    folder = open_folder(drawn.data)
    return out, cross_validate(folder, WANTED, plan(out), told=told.append), told, folder


def test_every_clip_is_judged_once_by_a_fold_that_was_kept_from_it(crossed):
    out, done, told, folder = crossed
    assert done.exit_code == 0
    assert len(told) == 6
    assert told[0].startswith("fold 1 of 3, joint: without subject ")
    others = set(folder.ids.tolist())
    rows = list(csv.DictReader((out / "folds.csv").read_text().splitlines()))
    assert {row["id"] for row in rows} == others
    for stream in ("joint", "bone", "fused"):
        pooled = read_scores(out / f"oof_{stream}.npz")
        assert len(pooled.ids) == len(others)
        assert set(pooled.ids) == others
        assert list(pooled.ids) == [row["id"] for row in rows]
        labels = [folder.labels[folder.index_of(clip)] for clip in pooled.ids]
        assert labels == pooled.labels.tolist()
    for row in rows:
        # of a subject that the fold's training never saw
        facts = json.loads((out / row["fold"] / "joint" / "run.json").read_text())
        assert facts["data"]["protocol"] == f"leave-subject-{row['fold'][-1]}"
        assert row["subject"] == folder.record(folder.index_of(row["id"])).subject


def test_pooled_scores_are_those_of_the_folds_and_fused_within_each(crossed):
    out, *_ = crossed
    for stream in ("joint", "bone"):
        each = [read_scores(out / f"fold-{n}" / stream / "scores_test.npz") for n in (1, 2, 3)]
        pooled = read_scores(out / f"oof_{stream}.npz")
        np.testing.assert_array_equal(
            pooled.logits, np.concatenate([scores.logits for scores in each])
        )
    parts = [
        fuse(
            [read_scores(out / f"fold-{n}" / name / "scores_test.npz") for name in
             ("joint", "bone")], [1, 1],
        )
        for n in (1, 2, 3)
    ]  # fmt: skip
    np.testing.assert_allclose(
        read_scores(out / "oof_fused.npz").logits,
        np.concatenate([scores.logits for scores in parts]),
        atol=1e-6,
    )


def test_numbers_are_pooled_with_intervals_over_the_groups_left_out(crossed):
    out, done, _, folder = crossed
    facts = json.loads((out / "crossval.json").read_text())
    assert facts == done.facts
    assert facts["data"]["fingerprint"] == folder.fingerprint()
    assert facts["kept_out"] == {"clips": 0, "test_part_of": None}
    assert [len(fold["left_out"]) for fold in facts["folds"]] == [1, 1, 1]
    pooled = read_scores(out / "oof_joint.npz")
    judged = facts["streams"]["joint"]
    right = pooled.logits.argmax(1) == pooled.labels
    assert judged["top1"] == pytest.approx(right.mean())
    subject = [folder.record(folder.index_of(clip)).subject for clip in pooled.ids]
    interval = bootstrap_interval(pooled, groups=subject)
    assert judged["interval"] == [interval.low, interval.high]
    assert (judged["interval_unit"], judged["groups"], judged["n"]) == ("group", 3, 48)
    assert [fold["n"] for fold in judged["folds"]] == [16, 16, 16]
    assert "intervals over 3 groups, fewer than 10, are too narrow" in facts["notes"]
    assert facts["gain"]["over"] in ("joint", "bone")
    assert facts["gain"]["interval_unit"] == "group"


def test_the_same_call_goes_on_and_trains_nothing_twice(crossed, monkeypatch):
    out, done, _, folder = crossed
    runs = sorted(out.glob("fold-*/*/run.json"))
    before = [path.stat().st_mtime_ns for path in runs]
    (out / "oof_fused.npz").unlink()
    again = cross_validate(folder, WANTED, plan(out), told=lambda _: None)
    assert again.facts == done.facts
    assert (out / "oof_fused.npz").is_file()
    assert [path.stat().st_mtime_ns for path in runs] == before


def test_other_folds_in_the_same_folder_are_refused(crossed):
    out, _, _, folder = crossed
    other = Folding(leave_out="subject", folds=2, with_test=True, val=0)
    with pytest.raises(CheckpointError) as caught:
        cross_validate(folder, other, plan(out), told=lambda _: None)
    assert caught.value.code == "CKPT-011"


def test_a_stopped_run_stops_all_and_says_so(drawn, tmp_path, monkeypatch):
    from poselens.recipes import crossval
    from poselens.training.run import Finished

    monkeypatch.setattr(crossval, "train", lambda *_: Finished(143, {}))
    done = cross_validate(open_folder(drawn.data), WANTED, plan(tmp_path / "o"), told=print)
    assert (done.exit_code, done.facts["complete"]) == (143, False)
    assert not (tmp_path / "o" / "crossval.json").exists()


def test_weights_and_streams_are_refused_before_any_training(drawn, tmp_path):
    folder = open_folder(drawn.data)
    for changes, code in (
        ({"streams": ()}, "RUN-009"),
        ({"weights": "best"}, "FUS-005"),
        (
            {"weights": "fitted", "settings": (*SMALL_SKELETON, "training.validation=none")},
            "FUS-010",
        ),
    ):
        with pytest.raises(UsageError) as caught:
            cross_validate(folder, WANTED, plan(tmp_path / "o", **changes), told=lambda _: None)
        assert caught.value.code == code
    assert not (tmp_path / "o").exists()


def test_folds_without_validation_train_on_all_and_leave_the_test_part_alone(drawn, tmp_path):
    folder = open_folder(drawn.data)
    wanted = Folding(leave_out="subject", protocol="cross-subject", val=0)
    done = cross_validate(
        folder, wanted, plan(tmp_path / "o", streams=("joint",)), told=lambda _: None
    )
    assert done.facts["kept_out"] == {"clips": 16, "test_part_of": "cross-subject"}
    pooled = read_scores(tmp_path / "o" / "oof_joint.npz")
    test = set(folder.ids[folder.indices("cross-subject", "test")].tolist())
    assert set(pooled.ids) == set(folder.ids.tolist()) - test
    run = json.loads((tmp_path / "o" / "fold-1" / "joint" / "run.json").read_text())
    assert (run["data"]["train"], run["data"]["val"]) == (16, 0)
    assert done.facts["gain"] is None
    assert not (tmp_path / "o" / "oof_fused.npz").exists()


def test_weights_are_fitted_within_each_fold(crossed, tmp_path):
    out, _, _, folder = crossed
    done = cross_validate(folder, WANTED, plan(out, weights="fitted"), told=lambda _: None)
    assert done.facts["streams"]["fused"]["selection"].endswith("fusion: fitted weights")
    cross_validate(folder, WANTED, plan(out), told=lambda _: None)


def test_files_of_folds_are_pooled(crossed, drawn, tmp_path):
    out, done, _, _ = crossed
    files = [out / f"fold-{n}" / "joint" / "scores_test.npz" for n in (1, 2, 3)]
    facts = pool_files(files, out=tmp_path / "new" / "p.npz", data=drawn.data, cluster="subject")
    for key in ("top1", "interval", "mean_class", "n", "groups"):
        assert facts["streams"]["joint"][key] == done.facts["streams"]["joint"][key]
    assert (tmp_path / "new" / "p.npz").read_bytes() == (out / "oof_joint.npz").read_bytes()
    plain = pool_files(files, out=None, data=None, cluster=None)
    assert (plain["files"], plain["streams"]["joint"]["groups"]) == ({}, None)
    with pytest.raises(UsageError, match="is in .* and in"):
        pool_files([files[0], out / "oof_joint.npz"], out=None, data=None, cluster=None)
    with pytest.raises(UsageError, match="found cluster without --data") as caught:
        pool_files(files, out=None, data=None, cluster="subject")
    assert caught.value.code == "CMP-005"
