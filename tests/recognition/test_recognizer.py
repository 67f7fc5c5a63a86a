import numpy as np
import pytest

import poselens
from poselens.clips import assemble
from poselens.data.folder import open_folder
from poselens.data.skeleton_file import write_skeleton
from poselens.errors import CheckpointError, EnvironmentFault, SkeletonError, UsageError
from poselens.fusion.scores import fuse
from poselens.fusion.weights import fixed_weights
from poselens.recognition.recognizer import Recognizer
from poselens.recognition.score import score_folder
from poselens.types import Skeleton


def sound(recognition, classes):
    assert list(recognition.scores) == list(classes)
    assert sum(recognition.scores.values()) == pytest.approx(1.0, abs=1e-6)
    assert recognition.label == max(recognition.scores, key=recognition.scores.get)
    for scores in recognition.streams.values():
        assert sum(scores.values()) == pytest.approx(1.0, abs=1e-6)


def test_the_example_of_the_documentation(drawn):
    recognition = poselens.Recognizer.load(str(drawn.bundle)).recognize(str(drawn.video))
    assert recognition.label in open_folder(drawn.data).info.classes
    assert recognition.status == "ok"


def test_both_branches_are_fused(recognizer, drawn):
    found = recognizer.recognize(drawn.video, skeleton=drawn.skeleton)
    sound(found, recognizer.bundle.classes)
    assert list(found.streams) == ["rgb", "joint"]
    for name, share in found.scores.items():
        mean = (found.streams["rgb"][name] + found.streams["joint"][name]) / 2
        assert share == pytest.approx(mean, abs=1e-6)
    assert (found.pose, found.person_coverage, found.status) == ("given", 1.0, "ok")
    assert found.frames == found.joints.frames
    assert found.box is not None
    assert found.notes == ()


def test_prediction_gives_what_evaluation_gives(recognizer, drawn):
    folder = open_folder(drawn.data)
    clip = folder.index_of("synth-000040")
    scores = [score_folder(t, folder, [clip], workers=0).scores for t in recognizer.bundle.streams]
    expected = np.exp(fuse(scores, [1, 1]).logits[0])
    found = recognizer.recognize(drawn.video, skeleton=drawn.data)
    np.testing.assert_allclose(list(found.scores.values()), expected, atol=1e-5)


def test_video_only(recognizer, rgb_only, drawn):
    found = recognizer.recognize(drawn.video)
    sound(found, recognizer.bundle.classes)
    assert found.scores == pytest.approx(rgb_only.recognize(drawn.video).scores)
    assert (found.status, found.pose, found.person_coverage) == ("ok", "none", None)
    assert "joint left out: it reads joints in metres, found none" in found.notes


def test_skeleton_only(recognizer, skeleton_only, drawn):
    found = recognizer.recognize(skeleton=drawn.skeleton)
    sound(found, recognizer.bundle.classes)
    assert found.scores == pytest.approx(skeleton_only.recognize(skeleton=drawn.skeleton).scores)
    assert found.clip == str(drawn.skeleton)
    assert found.box is None
    assert found.notes == ("rgb left out: no video",)


def test_a_bundle_that_lacks_a_branch(rgb_only, skeleton_only, drawn):
    seen = rgb_only.recognize(drawn.video, skeleton=drawn.skeleton)
    assert list(seen.streams) == ["rgb"]
    assert seen.box is not None
    moved = skeleton_only.recognize(drawn.video, skeleton=drawn.skeleton)
    assert list(moved.streams) == ["joint"]
    assert moved.box is None
    assert moved.notes == ()


def test_a_stream_of_weight_zero_still_answers_alone(recognizer, drawn):
    fusion = fixed_weights(["rgb", "joint"], {"rgb": 1, "joint": 0})
    bundle = recognizer.bundle
    alone = Recognizer(type(bundle)(bundle.streams, fusion, bundle.facts))
    sound(alone.recognize(skeleton=drawn.skeleton), bundle.classes)


def test_nobody_is_not_an_error(recognizer, skeleton_only, drawn):
    seen = recognizer.recognize(drawn.video, skeleton=drawn.bad("nobody.json"))
    assert (seen.status, seen.person_coverage) == ("no_person", 0.0)
    assert list(seen.streams) == ["rgb"]
    assert "joint left out: nobody was found" in seen.notes
    sound(seen, recognizer.bundle.classes)
    alone = skeleton_only.recognize(skeleton=drawn.bad("nobody.json"))
    assert (alone.status, alone.label, alone.scores, alone.streams) == ("no_person", None, {}, {})
    assert alone.as_dict()["score"] is None


def test_one_frame(recognizer, drawn):
    found = recognizer.recognize(drawn.bad("one-frame.mp4"))
    sound(found, recognizer.bundle.classes)
    assert found.frames == 1
    assert "short clip: 1 of 8 frames or more" in found.notes


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kinect.npz", "it reads coco-17 joints, found kinect-20"),
        ("flat.npz", "it reads joints of 3 coordinates, found 2"),
    ],
)
def test_joints_of_another_kind_are_left_out_or_refused(
    recognizer, skeleton_only, drawn, name, text
):
    found = recognizer.recognize(drawn.video, skeleton=drawn.bad(name))
    assert list(found.streams) == ["rgb"]
    assert any(note.startswith(f"joint left out: {text}") for note in found.notes)
    with pytest.raises(SkeletonError, match=text) as caught:
        skeleton_only.recognize(skeleton=drawn.bad(name))
    assert caught.value.code == "SKEL-012"


def test_a_video_that_no_stream_can_read_says_how_to_mend(skeleton_only, drawn):
    with pytest.raises(SkeletonError, match="no stream of the bundle can read") as caught:
        skeleton_only.recognize(drawn.video)
    assert "weights fetch movenet-lightning" in caught.value.mend


def test_two_people(recognizer, drawn, tmp_path):
    folder = open_folder(drawn.data)
    one = folder.skeleton(folder.index_of("synth-000040"), "metres").positions
    expected = recognizer.recognize(skeleton=drawn.skeleton).scores
    for name, people in {
        "second": [one, one + 1],
        "first-absent": [np.full_like(one, np.nan), one],
    }.items():
        file = tmp_path / f"{name}.npz"
        write_skeleton(file, {"metres": Skeleton(np.concatenate(people), "coco-17", "metres")})
        found = recognizer.recognize(skeleton=file)
        assert found.scores == pytest.approx(expected, abs=1e-5)
        assert found.person_coverage == 1.0


def test_prefixes_decode_the_video_once(recognizer, drawn, monkeypatch):
    calls = []
    read_frames = assemble.read_frames

    def counted(*arguments, **options):
        calls.append(options)
        return read_frames(*arguments, **options)

    monkeypatch.setattr(assemble, "read_frames", counted)
    clip = recognizer.read(drawn.video, skeleton=drawn.skeleton)
    shares = [0.25, 0.5, 0.75, 1.0]
    course = recognizer.course(clip, shares)
    assert len(calls) == 1
    assert course[-1].scores == pytest.approx(recognizer.score(clip).scores, abs=1e-5)
    first = Skeleton(clip.joints["metres"].positions[:, : clip.frames // 4], "coco-17", "metres")
    part = type(clip)("part", None, {"metres": first}, "given")
    alone = recognizer.score(part).streams["joint"]
    assert course[0].streams["joint"] == pytest.approx(alone, abs=1e-5)


def test_a_prefix_before_anybody_appears_has_no_label(skeleton_only, drawn):
    clip = skeleton_only.read(skeleton=drawn.skeleton)
    joints = clip.joints["metres"].positions.copy()
    joints[:, : clip.frames // 2 + 2] = np.nan
    late = type(clip)("late", None, {"metres": Skeleton(joints, "coco-17", "metres")}, "given")
    course = skeleton_only.course(late, [0.25, 0.5, 1.0])
    assert [each.label is None for each in course] == [True, True, False]
    assert 0 < course[-1].person_coverage < 0.5
    assert course[-1].notes == ()


def test_facts_for_machines(recognizer, drawn):
    facts = recognizer.recognize(drawn.video, skeleton=drawn.skeleton).as_dict()
    assert facts["score"] == facts["scores"][facts["label"]]
    assert set(facts) == {
        "clip", "status", "label", "score", "scores", "streams", "person_coverage", "frames",
        "pose", "notes", "best",
    }  # fmt: skip


def test_loading_refuses_what_it_cannot_use(drawn, tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        Recognizer.load(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="found device 'tpu', expected cpu, cuda or auto"):
        Recognizer.load(drawn.rgb, device="tpu")
    with pytest.raises(UsageError, match="found pose 'openpose', expected movenet"):
        Recognizer.load(drawn.rgb, pose="openpose")


def test_a_gpu_that_is_not_there(drawn, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(EnvironmentFault, match="no usable GPU") as caught:
        Recognizer.load(drawn.rgb, device="cuda")
    assert caught.value.code == "ENV-010"


@pytest.mark.shared
def test_a_filmed_clip_with_estimated_pose(drawn, shared):
    pytest.importorskip("ai_edge_litert")
    from poselens.recognition.pose import choose_estimator

    weights = shared / "weights" / "movenet_single_pose_lightning_ptq.tflite"
    estimator, _ = choose_estimator("movenet", weights)
    recognizer = Recognizer.load(drawn.posed, device="cpu", pose=estimator)
    found = recognizer.recognize(shared / "data" / "asl_clips" / "book.mkv")
    sound(found, recognizer.bundle.classes)
    assert list(found.streams) == ["rgb", "joint"]
    assert (found.pose, found.frames) == ("estimated", 109)
    assert found.person_coverage > 0.9
    # she stands in the middle of a 640 x 480 picture
    assert 0 < found.box.left < 320 < found.box.right < 640
