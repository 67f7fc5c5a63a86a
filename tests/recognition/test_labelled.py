import numpy as np
import pytest

from poselens.clips.crop import Region
from poselens.data.video import probe, read_frames, write_video
from poselens.recognition import labelled
from poselens.recognition.labelled import moments, write_labelled_video
from poselens.recognition.reading import Clip
from poselens.recognition.recognizer import Recognition
from poselens.types import Box, Skeleton


@pytest.fixture
def shown(monkeypatch):
    """Everything that is asked to be drawn over a frame."""
    calls = []
    draw = labelled.draw_overlay

    def seen(*arguments):
        calls.append(arguments)
        return draw(*arguments)

    monkeypatch.setattr(labelled, "draw_overlay", seen)
    return calls


def recognition(scores, **facts):
    label = max(scores, key=scores.get) if scores else None
    facts = {"person_coverage": None, "frames": 1, "pose": "none", **facts}
    return Recognition("clip.mp4", "ok", label, scores, {}, **facts)


def test_every_frame_is_labelled(recognizer, drawn, tmp_path):
    clip = recognizer.read(drawn.video, skeleton=drawn.skeleton)
    shares = moments(clip)
    course = recognizer.course(clip, shares)
    write_labelled_video(clip.source, shares, course, tmp_path / "out.mp4")
    facts = probe(tmp_path / "out.mp4")
    assert facts.frames == clip.frames
    assert facts.fps == probe(drawn.video).fps
    # the picture is enlarged to 480 rows, the panel stands beside it
    assert facts.height == 480
    assert facts.width > 480
    first = read_frames(tmp_path / "out.mp4", [0]).pixels[0]
    assert np.ptp(first[:, 480:]) > 100


def test_scores_run_from_prefix_to_prefix(drawn, shown, recognizer, tmp_path):
    clip = recognizer.read(drawn.video)
    course = [recognition({"a": 0.9, "b": 0.1}), recognition({"a": 0.2, "b": 0.8})]
    write_labelled_video(clip.source, [0.5, 1.0], course, tmp_path / "out.mp4")
    tables = [dict(call[4]) for call in shown]
    half = clip.frames // 2
    assert all(table["a"] == pytest.approx(0.9) for table in tables[: half - 1])
    assert tables[-1] == pytest.approx({"a": 0.2, "b": 0.8})
    falling = [table["a"] for table in tables[half:]]
    assert falling == sorted(falling, reverse=True)
    assert shown[-1][4][0][0] == "b"
    assert shown[0][5] == "clip.mp4\nresult: b"


def test_a_prefix_without_anybody_starts_at_zero(drawn, shown, recognizer, tmp_path):
    clip = recognizer.read(drawn.video)
    course = [recognition({}), recognition({"a": 0.7, "b": 0.3})]
    write_labelled_video(clip.source, [0.5, 1.0], course, tmp_path / "out.mp4")
    assert dict(shown[0][4]) == {"a": 0.0, "b": 0.0}
    nobody = [recognition({})]
    write_labelled_video(clip.source, [1.0], nobody, tmp_path / "nobody.mp4")
    assert shown[-1][5] == "clip.mp4\nresult: nobody found"


def test_joints_and_box_follow_the_size_of_the_picture(tmp_path, shown, recognizer, monkeypatch):
    monkeypatch.setattr(labelled, "LONGEST_SIDE", 160)
    write_video(tmp_path / "large.mp4", [np.zeros((240, 320, 3), np.uint8)] * 4, fps=25)
    clip = recognizer.read(tmp_path / "large.mp4")
    joints = np.arange(2, dtype=np.float32).reshape(1, 2, 1, 1) * 100 + np.zeros(
        (1, 2, 17, 2), np.float32
    )
    seen = recognition(
        {"a": 1.0},
        joints=Skeleton(joints, "coco-17", "pixels"),
        box=Box(20, 40, 300, 200),
    )
    write_labelled_video(clip.source, [1.0], [seen], tmp_path / "out.mp4")
    assert shown[0][0].shape == (120, 160, 3)
    assert shown[0][3] == Box(10, 20, 150, 100)
    # two known frames are spread over four
    assert [float(call[1].max()) for call in shown] == [0.0, 0.0, 50.0, 50.0]


def test_short_clips_are_scored_once(drawn):
    source = type("Source", (), {"frames": 3, "region": Region(Box(0, 0, 1, 1), "no-joints")})
    assert moments(Clip("short", source, {}, "none")) == [1.0]
    source.frames = 80
    assert moments(Clip("long", source, {}, "none")) == [m / 8 for m in range(1, 9)]
