import json
import shutil

import keypoint_files
import numpy as np
import pytest

from poselens.data.skeleton_file import write_skeleton
from poselens.data.video import probe, write_video
from poselens.errors import AnnotationError, SkeletonError, UsageError, VideoError
from poselens.pose.estimators import Pose
from poselens.types import Skeleton


class Standing:
    """Finds one person who stands still, or nobody."""

    layout = "coco-17"

    def __init__(self, *, somebody=True):
        self.somebody = somebody
        self.frames = 0

    def estimate(self, frames):
        self.frames = sum(1 for _ in frames)
        joints = np.linspace(10, 50, 34, dtype=np.float32).reshape(1, 1, 17, 2)
        joints = np.repeat(joints, self.frames, axis=1)
        if not self.somebody:
            joints = np.full_like(joints, np.nan)
        return Pose(Skeleton(joints, "coco-17", "pixels"), np.ones(joints.shape[:3]))


def test_nothing_given(recognizer):
    with pytest.raises(UsageError, match="no clip") as caught:
        recognizer.read()
    assert caught.value.code == "RUN-003"


def test_a_video_with_its_skeleton(recognizer, drawn):
    clip = recognizer.read(drawn.video, skeleton=drawn.skeleton)
    assert clip.pose == "given"
    assert clip.coverage == 1.0
    assert clip.joints.keys() == {"pixels", "metres"}
    assert clip.source.region.reason == "skeleton"
    assert clip.frames == clip.joints["pixels"].frames
    assert list(clip.notes) == []


def test_a_data_set_folder_gives_the_joints_of_its_video(recognizer, drawn):
    found = recognizer.read(drawn.video, skeleton=drawn.data)
    given = recognizer.read(str(drawn.video), skeleton=str(drawn.skeleton))
    for space in ("pixels", "metres"):
        np.testing.assert_array_equal(found.joints[space].positions, given.joints[space].positions)
    assert found.source == given.source


def test_a_data_set_folder_gives_the_stretch_of_its_clip(recognizer, drawn, tmp_path):
    data = shutil.copytree(drawn.data, tmp_path / "data")
    rows = (data / "clips.csv").read_text().splitlines()
    row = next(index for index, text in enumerate(rows) if text.startswith("synth-000040,"))
    fields = rows[row].split(",")
    fields[6:8] = "0.5", "1.0"
    rows[row] = ",".join(fields)
    (data / "clips.csv").write_text("\n".join(rows) + "\n")
    clip = recognizer.read(data / "videos/synth-000040.mp4", skeleton=data)
    assert (clip.source.first_frame, clip.frames) == (12, 12)


def test_a_video_that_the_data_set_does_not_have(recognizer, drawn):
    with pytest.raises(AnnotationError, match=r"no clip of one-frame.mp4") as caught:
        recognizer.read(drawn.bad("one-frame.mp4"), skeleton=drawn.data)
    assert caught.value.code == "RUN-007"
    with pytest.raises(UsageError, match="needs a video to look up"):
        recognizer.read(skeleton=drawn.data)


def test_joints_are_estimated_where_none_are_given(recognizer, drawn):
    pose = Standing()
    seen = type(recognizer)(recognizer.bundle, pose=pose).read(drawn.video)
    assert seen.pose == "estimated"
    assert pose.frames == seen.frames == seen.joints["pixels"].frames
    assert seen.source.region.reason == "skeleton"
    given = type(recognizer)(recognizer.bundle, pose=pose)
    assert given.read(drawn.video, skeleton=drawn.skeleton).pose == "given"


def test_without_any_joints_the_whole_frame_is_looked_at_and_said(recognizer, drawn):
    clip = recognizer.read(drawn.video)
    assert (clip.pose, clip.coverage) == ("none", None)
    assert (clip.source.region.box.width, clip.source.region.box.height) == (64, 64)
    assert list(clip.notes) == ["the whole frame was looked at (no-joints)"]


def test_what_no_stream_looks_at_is_not_said(skeleton_only, rgb_only, drawn):
    assert list(skeleton_only.read(drawn.video, skeleton=drawn.skeleton).notes) == []
    assert list(skeleton_only.read(skeleton=drawn.skeleton).notes) == []
    assert list(rgb_only.read(skeleton=drawn.skeleton).notes) == ["rgb left out: no video"]


def test_somebody_may_be_nowhere(recognizer, drawn):
    nobody = type(recognizer)(recognizer.bundle, pose=Standing(somebody=False))
    assert nobody.read(drawn.video).coverage == 0.0
    given = recognizer.read(drawn.video, skeleton=drawn.bad("nobody.json"))
    assert (given.pose, given.coverage, given.joints) == ("given", 0.0, {})
    alone = recognizer.read(skeleton=drawn.bad("nobody.json"))
    assert (alone.frames, alone.coverage) == (0, 0.0)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("nowhere.mp4", "VID-001"),
        ("empty.mp4", "VID-002"),
        ("text.mp4", "VID-003"),
        ("truncated.mp4", "VID-004"),
        ("audio.mp4", "VID-005"),
    ],
)
def test_a_video_that_cannot_be_read(recognizer, drawn, name, code):
    for arguments in ({}, {"skeleton": drawn.skeleton}):
        with pytest.raises(VideoError) as caught:
            recognizer.read(drawn.bad(name), **arguments)
        assert caught.value.code == code
        assert caught.value.file == str(drawn.bad(name))


def test_a_short_file_and_a_short_clip_are_noted(recognizer, drawn, tmp_path):
    assert "short clip: 1 of 8 frames or more" in recognizer.read(drawn.bad("one-frame.mp4")).notes
    pictures = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "whole.mkv", pictures, fps=30, gop=5)
    whole = (tmp_path / "whole.mkv").read_bytes()
    assert not any("promised" in note for note in recognizer.read(tmp_path / "whole.mkv").notes)
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    clip = recognizer.read(tmp_path / "cut.mkv")
    assert 1 < clip.frames < 50
    assert any(f"holds {clip.frames} of " in note for note in clip.notes)


def test_a_skeleton_of_another_length_is_noted(recognizer, drawn, tmp_path):
    short = Skeleton(np.ones((1, 5, 17, 3), np.float32), "coco-17", "metres")
    write_skeleton(tmp_path / "short.npz", {"metres": short})
    clip = recognizer.read(drawn.video, skeleton=tmp_path / "short.npz")
    assert f"the skeleton has 5 frames, the video {clip.frames}" in clip.notes


def test_the_layout_comes_from_the_file_the_caller_or_the_streams(recognizer, drawn, tmp_path):
    plain = tmp_path / "plain.npy"
    np.save(plain, np.ones((5, 17, 3), np.float32))
    assert recognizer.read(skeleton=plain).joints["metres"].layout == "coco-17"
    named = recognizer.read(skeleton=drawn.bad("kinect.npz"))
    assert named.joints["metres"].layout == "kinect-20"
    asked = recognizer.read(skeleton=drawn.bad("kinect.npy"), layout="kinect-20")
    assert asked.joints["metres"].layout == "kinect-20"
    with pytest.raises(SkeletonError, match=r"found 20 joints, expected 17 .coco-17.") as caught:
        recognizer.read(skeleton=drawn.bad("kinect.npy"))
    assert caught.value.code == "SKEL-004"
    assert "kinect-20" in caught.value.mend


def test_an_unknown_layout_in_the_file_is_not_read_as_ours(recognizer, tmp_path):
    file = tmp_path / "strange.json"
    joints = np.ones((5, 17, 3)).tolist()
    file.write_text(json.dumps({"layout": "coco-71", "metres": joints}))
    with pytest.raises(SkeletonError, match="did you mean 'coco-17'"):
        recognizer.read(skeleton=file)
    file.write_text(json.dumps({"metres": joints}))
    assert recognizer.read(skeleton=file).joints["metres"].layout == "coco-17"


def test_without_skeleton_streams_the_file_must_name_its_layout(rgb_only, tmp_path):
    np.save(tmp_path / "plain.npy", np.ones((5, 17, 3), np.float32))
    with pytest.raises(SkeletonError, match="does not name its joint layout") as caught:
        rgb_only.read(skeleton=tmp_path / "plain.npy")
    assert caught.value.code == "SKEL-006"


def test_key_points_of_a_tool_are_a_skeleton_file(recognizer, drawn, tmp_path):
    whole = keypoint_files.moving(1, 25)
    folder = keypoint_files.write_openpose(tmp_path / "clip", whole)
    clip = recognizer.read(skeleton=folder)
    assert clip.joints["pixels"].layout == "openpose-25"
    # MediaPipe's landmarks are shares of the picture, whose size the video knows
    frames = keypoint_files.mediapipe_frames(keypoint_files.moving(1, 33))
    path = keypoint_files.write_json(tmp_path / "a.json", frames)
    with pytest.raises(SkeletonError, match="give its video, or --size"):
        recognizer.read(skeleton=path)
    clip = recognizer.read(drawn.video, skeleton=path)
    x, y = clip.joints["pixels"].positions[0, 0, 0]
    share = frames[0][0]["x"], frames[0][0]["y"]
    seen = probe(drawn.video)
    np.testing.assert_allclose([x, y], [share[0] * seen.width, share[1] * seen.height], rtol=1e-5)


def test_an_animals_joints_are_not_taken_for_those_of_the_streams(recognizer, tmp_path):
    names = [f"part {n}" for n in range(17)]
    whole = keypoint_files.moving(1, 17)
    path = keypoint_files.write_deeplabcut(tmp_path / "a.csv", whole, names)
    with pytest.raises(SkeletonError, match="17 joints .* are those of no known layout"):
        recognizer.read(skeleton=path)
    clip = recognizer.read(skeleton=path, layout="coco-17")
    assert clip.joints["pixels"].layout == "coco-17"
