import shutil

import numpy as np
import pytest
import torch
from scipy.special import softmax

from poselens.clips.assemble import RgbClips, skeleton_input
from poselens.clips.views import choose_views, count_views
from poselens.data.folder import open_folder
from poselens.data.info import read_info, write_info
from poselens.errors import EnvironmentFault, InputError, UsageError
from poselens.recognition.score import score_folder, score_inputs
from poselens.recognition.streams import load_run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def joint(drawn):
    return load_run(drawn.joint, device=CPU)


@pytest.fixture(scope="module")
def rgb(drawn):
    return load_run(drawn.rgb, device=CPU)


@pytest.fixture
def data(drawn, tmp_path):
    """A copy of the drawn data set whose description and videos may be changed."""
    return shutil.copytree(drawn.data, tmp_path / "data")


def test_a_killed_data_process_is_named(rgb, drawn, monkeypatch):
    def killed(*_, **__):
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")

    monkeypatch.setattr("poselens.recognition.score.collect_scores", killed)
    with pytest.raises(EnvironmentFault, match="a data process was killed") as caught:
        score_folder(rgb, open_folder(drawn.data), [0, 1], workers=0)
    assert caught.value.code == "ENV-011"


def describe(data, **changes):
    info = read_info(data).model_copy(update=changes)
    (data / "dataset.yaml").write_bytes(write_info(info))
    return open_folder(data)


def test_every_clip_is_scored_once_in_order(drawn, rgb):
    folder = open_folder(drawn.data)
    clips, told = folder.indices("cross-subject", "test"), []
    scored = score_folder(rgb, folder, clips, batch_size=5, workers=0, told=told.append)
    assert list(scored.scores.ids) == [str(folder.ids[clip]) for clip in clips]
    np.testing.assert_array_equal(scored.scores.labels, folder.labels[clips])
    assert scored.scores.stream == "rgb"
    assert scored.skipped == {}
    assert told == [5, 5, 5, 1]


def test_a_clip_alone_scores_as_in_any_batch(drawn, joint):
    folder = open_folder(drawn.data)
    together = score_folder(joint, folder, [3, 20, 40], workers=0).scores.logits
    for row, clip in enumerate((3, 20, 40)):
        alone = score_folder(joint, folder, [clip], workers=0).scores.logits
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_prepared_inputs_score_as_the_folder_does(drawn, joint):
    folder = open_folder(drawn.data)
    given = joint.stream.input
    inputs = [skeleton_input(folder.skeleton(clip, given.space), given) for clip in (1, 2)]
    found = score_inputs(joint, inputs, "clip")
    expected = score_folder(joint, folder, [1, 2], workers=0).scores.logits
    assert [(scores.stream, scores.ids) for scores in found] == [("joint", ["clip"])] * 2
    np.testing.assert_allclose(np.concatenate([s.logits for s in found]), expected, atol=1e-5)


def test_a_bad_clip_is_left_out_and_named(data, rgb):
    (data / "videos" / "synth-000001.mp4").write_bytes(b"")
    scored = score_folder(rgb, open_folder(data), [0, 1, 2], workers=0)
    assert scored.scores.ids == ["synth-000000", "synth-000002"]
    assert scored.skipped.keys() == {"synth-000001"}
    assert scored.skipped["synth-000001"].startswith("VID-002")


def test_joints_that_cannot_be_read_are_left_out_and_named(data, joint, monkeypatch):
    folder = open_folder(data)
    whole = folder.skeleton

    def without_one(clip, space):
        return None if clip == 1 else whole(clip, space)

    monkeypatch.setattr(folder, "skeleton", without_one)
    told = []
    scored = score_folder(joint, folder, [0, 1, 2], batch_size=1, told=told.append)
    assert scored.scores.ids == ["synth-000000", "synth-000002"]
    assert scored.skipped == {"synth-000001": "SKEL-011 synth-000001: the clip has no skeleton"}
    assert told == [1, 1, 1]
    monkeypatch.setattr(folder, "skeleton", lambda *_: None)
    with pytest.raises(InputError, match="can read none of 2 clips, the first because: SKEL-011"):
        score_folder(joint, folder, [0, 1])


def test_a_stream_that_can_read_nothing_says_why(data, rgb):
    for clip in range(2):
        (data / "videos" / f"synth-00000{clip}.mp4").unlink()
    with pytest.raises(InputError, match="can read none of 2 clips, the first because: VID-001"):
        score_folder(rgb, open_folder(data), [0, 1], workers=0)


def test_other_classes_are_refused(data, rgb):
    classes = read_info(data).classes
    folder = describe(data, classes=[*classes[1:], classes[0]])
    with pytest.raises(UsageError, match="16 classes and the data set has 16, or they differ") as f:
        score_folder(rgb, folder, [0])
    assert f.value.code == "EVAL-010"


def test_other_joints_are_refused_before_they_give_wrong_numbers(drawn, data, joint):
    pixels = read_info(data).skeletons["pixels"]
    folder = describe(data, skeletons={"pixels": pixels})
    with pytest.raises(UsageError, match="reads coco-17 of 3 coordinates in metres") as caught:
        score_folder(joint, folder, [0])
    assert caught.value.code == "EVAL-012"
    assert "the data set has none" in caught.value.message
    kinect = load_run(drawn.joint, device=CPU)
    stream = kinect.stream.model_copy(update={"layout": "kinect-20"})
    kinect = type(kinect)(stream, kinect.network, CPU, kinect.facts, kinect.weights)
    with pytest.raises(UsageError, match=r"reads kinect-20 .* has coco-17 of 3 coordinates"):
        score_folder(kinect, open_folder(drawn.data), [0])


def test_the_scores_of_views_are_the_mean_of_their_probabilities(drawn, rgb):
    folder, settings = open_folder(drawn.data), rgb.stream.input
    clips = [2, 5, 7, 11]
    name = f"3-crops+{settings.snippet_length}-offsets"
    scored = score_folder(rgb, folder, clips, workers=0, views=name).scores
    assert scored.views == name
    views = choose_views(name, settings)
    for row, clip in enumerate(clips):
        sample = RgbClips(folder, settings=settings, augment=None, seed=0, views=views)[0, 0, clip]
        each = score_inputs(rgb, list(sample.inputs[0]), "clip")
        assert len(each) == count_views(name)
        mean = np.mean([softmax(alone.logits[0].astype(float)) for alone in each], axis=0)
        np.testing.assert_allclose(softmax(scored.logits[row].astype(float)), mean, atol=1e-5)
        np.testing.assert_allclose(scored.logits[row], np.log(mean), atol=1e-4)


def test_views_leave_the_network_in_the_mode_it_came_in(drawn, rgb):
    folder = open_folder(drawn.data)
    assert not rgb.network.training
    score_folder(rgb, folder, [1], workers=0, views="3-crops")
    assert not rgb.network.training


def test_a_skeleton_has_one_view(drawn, joint):
    folder = open_folder(drawn.data)
    found = score_folder(joint, folder, [1, 2], workers=0, views="3-crops").scores
    assert found.views == "centre"
    plain = score_folder(joint, folder, [1, 2], workers=0).scores
    np.testing.assert_array_equal(found.logits, plain.logits)
