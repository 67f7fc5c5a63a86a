import shutil

import numpy as np
import pytest
import torch

from poselens.data.folder import open_folder
from poselens.errors import InputError, UsageError
from poselens.fusion.scores import fuse
from poselens.recipes import robustness
from poselens.recipes.evaluating import evaluate_bundle
from poselens.recipes.robustness import Manner, robustness_card
from poselens.recognition.bundle import load_bundle
from poselens.recognition.score import score_folder

CPU = torch.device("cpu")
FEW = {"joint-dropout": (0.3,), "occlusion": (0.2, 0.5), "missing-frames": (1.0,)}


@pytest.fixture(scope="module")
def folder(drawn):
    return open_folder(drawn.data)


@pytest.fixture(scope="module")
def bundle(drawn):
    return load_bundle(drawn.bundle, device=CPU)


def manner(levels=FEW, **others):
    return Manner("cross-subject", "test", levels, workers=0, **others)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("card") / "card.cells"


@pytest.fixture(scope="module")
def card(bundle, folder, work):
    return robustness_card(bundle, folder, manner(), work)


def curve_of(card, kind, stream):
    return next(trial for trial in card.trials if trial.name == kind).curve(stream)


def test_the_undisturbed_is_what_evaluate_says(card, bundle, folder):
    result = evaluate_bundle(bundle, folder, "cross-subject", "test")
    for (name, point), found in zip(card.undisturbed, [*result.streams, result.fused], strict=True):
        assert name == found.stream
        assert (point.top1, point.n) == (found.top1, found.n)
        assert point.interval == found.top1_interval
    assert card.chance == 1 / 16
    assert (card.clips, card.of) == (16, 16)


def test_each_kind_has_a_point_for_each_severity_of_each_stream_it_reaches(card):
    assert [trial.name for trial in card.trials] == list(FEW)
    occlusion = card.trials[1]
    assert [curve.stream for curve in occlusion.curves] == ["rgb", "fused"]
    assert [point.level for point in occlusion.curves[0].points] == [0, 0.2, 0.5]
    assert [curve.stream for curve in card.trials[0].curves] == ["rgb", "joint", "fused"]


def test_a_stream_that_is_not_reached_keeps_its_scores_in_the_fusion(work, bundle, folder, card):
    from poselens.evaluation.robustness import judge
    from poselens.fusion.scores import read_scores

    rgb = read_scores(work / "occlusion-0.5" / "rgb.npz")
    joint = read_scores(work / "undisturbed" / "joint.npz")
    assert not (work / "occlusion-0.5" / "joint.npz").exists()
    fused = fuse([rgb, joint], bundle.fusion.weights, bundle.fusion.temperatures)
    found = curve_of(card, "occlusion", "fused").points[-1]
    assert found.top1 == judge(fused, level=0.5, skipped=0, undisturbed=None).top1


def test_without_a_stream_the_others_are_fused(card, work):
    from poselens.fusion.scores import read_scores

    for (missing, point), other in zip(card.without, ("joint", "rgb"), strict=True):
        assert missing != other
        scores = read_scores(work / "undisturbed" / f"{other}.npz")
        right = (scores.logits.argmax(axis=1) == scores.labels).mean()
        assert point.top1 == pytest.approx(right)
        assert point.change is not None


def test_a_disturbance_that_leaves_nothing_to_see_is_a_result(card):
    joint = curve_of(card, "missing-frames", "joint")
    assert [point.level for point in joint.points] == [0]
    fused = curve_of(card, "missing-frames", "fused")
    assert fused.points[-1].n == 16
    assert "missing-frames 1: joint can read none of 16 clips" in card.notes


def test_what_was_scored_is_not_scored_again(bundle, folder, work, card, monkeypatch):
    def unwanted(*_, **__):
        raise AssertionError("scored again")

    monkeypatch.setattr(robustness, "score_folder", unwanted)
    counts = []

    def begun(todo, done):
        counts.append((todo, done))
        return lambda _: None

    again = robustness_card(bundle, folder, manner(), work, begun=begun)
    assert again.as_dict() == card.as_dict()
    # undisturbed: two streams; dropout and missing frames reach both, occlusion one
    assert counts == [(0, 16 * (2 + 2 + 2 + 2))]


def test_a_stopped_card_goes_on_and_comes_to_the_same(bundle, folder, card, tmp_path, monkeypatch):
    calls, whole = [], robustness.score_folder

    def stopped(trained, *args, **kwargs):
        calls.append(trained.stream.name)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return whole(trained, *args, **kwargs)

    monkeypatch.setattr(robustness, "score_folder", stopped)
    with pytest.raises(KeyboardInterrupt):
        robustness_card(bundle, folder, manner(), tmp_path)
    assert len(list(tmp_path.rglob("*.npz"))) == 3
    again = robustness_card(bundle, folder, manner(), tmp_path)
    assert len(calls) == 4 + 5
    assert again.as_dict() == card.as_dict()


def test_progress_counts_every_clip_once(bundle, folder, tmp_path):
    told, promised = [], []

    def begun(todo, done):
        promised.append((todo, done))
        return told.append

    robustness_card(bundle, folder, manner({"joint-dropout": (0.1,)}), tmp_path, begun=begun)
    assert promised == [(64, 0)]
    assert sum(told) == 64


def test_a_subset_is_named(bundle, folder, tmp_path):
    about = folder.info.protocols["cross-subject"]
    every = folder.with_split("every", about, ["test"] * len(folder))
    limited = Manner("every", "test", {}, limit=20, workers=0)
    part = robustness_card(bundle, every, limited, tmp_path)
    assert (part.clips, part.of) == (20, 48)
    assert part.as_dict()["subset"]
    assert part.notes[0].startswith("these are 20 of 48 clips, drawn from every class")
    assert any("was trained on another data set" in note for note in part.notes)


def test_work_of_other_clips_is_refused(bundle, folder, tmp_path):
    robustness_card(bundle, folder, manner({}), tmp_path)
    with pytest.raises(UsageError, match="begun with another part") as caught:
        robustness_card(bundle, folder, Manner("cross-subject", "val", {}), tmp_path)
    assert caught.value.code == "EVAL-063"


def test_unknown_parts_and_protocols(bundle, folder, tmp_path):
    with pytest.raises(UsageError, match="found part 'tset'"):
        robustness_card(bundle, folder, Manner("cross-subject", "tset", {}), tmp_path)
    with pytest.raises(UsageError, match="unknown protocol 'xsub'"):
        robustness_card(bundle, folder, Manner("xsub", "test", {}), tmp_path)


def test_a_clip_that_cannot_be_read_is_counted(drawn, bundle, tmp_path):
    data = shutil.copytree(drawn.data, tmp_path / "data")
    broken = open_folder(data)
    clip = str(broken.ids[broken.indices("cross-subject", "test")[0]])
    (data / "videos" / f"{clip}.mp4").write_text("404")
    found = robustness_card(
        bundle, open_folder(data), manner({"occlusion": (0.2,)}), tmp_path / "w"
    )
    undisturbed = dict(found.undisturbed)
    assert [(p.n, p.skipped) for p in undisturbed.values()] == [(15, 1), (16, 0), (16, 0)]
    assert curve_of(found, "occlusion", "rgb").points[1].skipped == 1
    assert any(note.startswith("rgb cannot read 1 clips even undisturbed") for note in found.notes)


def test_data_that_nobody_can_read_is_no_result(drawn, bundle, tmp_path):
    data = shutil.copytree(drawn.data, tmp_path / "data")
    for video in (data / "videos").iterdir():
        video.write_bytes(b"")
    with pytest.raises(InputError, match="can read none of 16 clips") as caught:
        robustness_card(bundle, open_folder(data), manner({}), tmp_path / "w")
    assert caught.value.code == "EVAL-011"


def test_a_single_stream_has_no_fusion(drawn, folder, tmp_path):
    joint = load_bundle(drawn.joint, device=CPU)
    found = robustness_card(joint, folder, manner({"joint-noise": (0.5,)}), tmp_path)
    assert found.streams == ["joint"]
    assert found.without == []
    assert [curve.stream for curve in found.trials[0].curves] == ["joint"]


def test_scores_at_rest_are_the_undisturbed_to_the_bit(drawn, folder, bundle):
    from poselens.clips.disturb import KINDS, Disturbance

    clips = folder.indices("cross-subject", "test")[:4]
    for trained in bundle.streams:
        plain = score_folder(trained, folder, clips, workers=0).scores.logits
        for kind, about in KINDS.items():
            rest = Disturbance(kind, about.rest)
            found = score_folder(trained, folder, clips, workers=0, disturb=rest)
            np.testing.assert_array_equal(found.scores.logits, plain)


def test_order_batches_and_processes_change_nothing(folder, bundle):
    from poselens.clips.disturb import Disturbance

    clips = folder.indices("cross-subject", "test")[:6]
    for trained, kind, level in (
        (bundle.streams[0], "moving-occlusion", 0.3),
        (bundle.streams[0], "crop-shift", 0.3),
        (bundle.streams[1], "limb-dropout", 0.4),
        (bundle.streams[1], "joint-noise", 0.2),
    ):
        disturb = Disturbance(kind, level, seed=2)
        one = score_folder(trained, folder, clips, workers=0, disturb=disturb).scores
        other = score_folder(
            trained, folder, clips[::-1], workers=1, batch_size=2, disturb=disturb
        ).scores
        plain = score_folder(trained, folder, clips, workers=0).scores
        np.testing.assert_allclose(other.logits[::-1], one.logits, atol=1e-5)
        assert np.abs(one.logits - plain.logits).max() > 1e-4
