import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import torch

from poselens.clips.assemble import skeleton_input
from poselens.clips.device import choose_device
from poselens.data.folder import open_folder
from poselens.errors import SkeletonError, UsageError
from poselens.explain.joints import attribute_joints
from poselens.recipes.explained_joints import (
    CANVAS,
    check_joints,
    explain_joints,
    front_row,
    joint_row,
)
from poselens.recipes.seen_clip import see_clip
from poselens.recognition.streams import load_run

CLIP = 3


@pytest.fixture(scope="module")
def folder(drawn):
    return open_folder(drawn.data)


@pytest.fixture(scope="module")
def trained(drawn):
    return load_run(drawn.joint, device=choose_device("cpu"))


@pytest.fixture(scope="module")
def found(trained, folder):
    return explain_joints(trained, folder, CLIP, 2)


def test_the_attribution_is_that_of_the_networks_input(trained, folder, found):
    inputs = skeleton_input(folder.skeleton(CLIP, "metres"), trained.stream.input)[None]
    want = attribute_joints(trained.network, inputs, [2])[0]
    np.testing.assert_allclose(found.attribution[0], want[0], atol=1e-6)
    assert len(found.times) == trained.stream.input.window
    assert (np.diff(found.times) > 0).all()
    assert found.times[-1] <= found.skeleton.frames - 1
    facts = found.as_dict()
    assert sum(facts["share_by_joint"].values()) == pytest.approx(1.0, abs=1e-3)
    assert facts["sum"] == pytest.approx(float(want.sum()), abs=1e-4)
    against = explain_joints(trained, folder, CLIP, 2, 1).attribution
    other = explain_joints(trained, folder, CLIP, 1).attribution
    np.testing.assert_allclose(against, found.attribution - other, atol=1e-5)


def test_people_and_frames_that_are_never_seen_are_left_out(trained, folder, found, monkeypatch):
    whole = folder.skeleton(CLIP, "metres")
    nobody = np.full_like(whole.positions, np.nan)
    late = np.full((1, 5, *whole.positions.shape[2:]), np.nan, np.float32)
    positions = np.concatenate(
        [np.concatenate([late, each], axis=1) for each in (nobody, whole.positions)]
    )
    other = replace(whole, positions=positions)
    monkeypatch.setattr(type(folder), "skeleton", lambda self, i, space: other)
    moved = explain_joints(trained, folder, CLIP, 2)
    assert not moved.attribution[0].any()
    np.testing.assert_allclose(moved.attribution[1], found.attribution[0], atol=1e-6)
    np.testing.assert_allclose(moved.times, found.times + 5)


def test_rows_have_the_frames_of_the_other_branch(drawn, folder, found):
    rgb = load_run(drawn.rgb, device=choose_device("cpu"), folded=False)
    seen = see_clip(folder, CLIP, rgb.stream.input)
    row = joint_row(
        found, seen.pictures, seen.joints, seen.frames, seen.source.frames, rate=24, note="n"
    )
    assert (row.name, row.note) == ("joint", "n")
    assert len(row.pictures) == len(seen.pictures)
    assert min(row.pictures.shape[1:3]) >= 320
    assert row.curve is not None
    assert row.curve.values.max() == 1.0
    np.testing.assert_allclose(row.curve.times * 24, found.times)
    front = front_row(found, np.array([0, 4, 9]), rate=24)
    assert front.pictures.shape == (3, *CANVAS, 3)
    assert len({picture.tobytes() for picture in front.pictures}) == 3


def test_what_is_shown_of_frames_is_the_mean_around_them(found):
    frames = np.array([0, found.skeleton.frames // 2, found.skeleton.frames - 1])
    values = found.on_frames(frames, found.skeleton.frames)
    assert values.shape == (1, 3, 17)
    twice = found.on_frames(2 * frames, 2 * found.skeleton.frames - 1)
    np.testing.assert_allclose(twice, values, atol=1e-6)


def test_the_map_of_a_person_is_one_svg(found):
    drawn = found.figure(title="clip", key="clip-1")
    ElementTree.fromstring(drawn)
    assert "right wrist" in drawn


def test_clips_and_streams_without_joints_are_refused(drawn, trained, folder, monkeypatch):
    rgb = load_run(drawn.rgb, device=choose_device("cpu"), folded=False)
    with pytest.raises(UsageError, match="found the stream 'rgb'") as caught:
        explain_joints(rgb, folder, CLIP, 2)
    assert caught.value.code == "EXP-041"
    monkeypatch.setattr(type(folder), "skeleton", lambda self, i, space: None)
    with pytest.raises(SkeletonError, match="has no skeleton") as caught:
        explain_joints(trained, folder, CLIP, 2)
    assert caught.value.code == "SKEL-011"


def test_checks_hold_joints_still_and_shuffle_weights(trained, folder):
    clips = torch.stack(
        [skeleton_input(folder.skeleton(clip, "metres"), trained.stream.input) for clip in range(6)]
    )
    before = {name: value.clone() for name, value in trained.network.state_dict().items()}
    checked = check_joints(trained, clips, folder.labels[:6], method="gradient-input", steps=4)
    assert checked.randomisation.layers[0] == "classify"
    assert checked.randomisation.layers[-1] == "data_norm"
    assert len(checked.deletion.curve) == 5
    # with nothing held, and with all, the order does not matter
    for ends in (0, -1):
        assert checked.deletion.curve[ends] == pytest.approx(checked.deletion.random[ends])
    assert checked.deletion.curve[0] == pytest.approx(checked.insertion.curve[-1])
    shown = checked.shown()
    assert len(shown.verdicts) == 3
    assert set(checked.as_dict()) == {"randomisation", "deletion", "insertion"}
    for name, value in trained.network.state_dict().items():
        assert torch.equal(value, before[name])
