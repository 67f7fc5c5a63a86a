import hashlib

import numpy as np
import pytest
from spoiled import cut_in_half, frames_of, index_first, remux, turn

from poselens.data.inspect import (
    ClipTask,
    FileTask,
    PairsTask,
    compare_pairs,
    inspect_file,
)
from poselens.data.store import JointPlace
from poselens.data.video import write_video

HEIGHT, WIDTH, FRAMES = 48, 64, 30


def pictures(frames: int = FRAMES, seed: int = 0) -> np.ndarray:
    """A room, and a bright square that wanders through it."""
    draw = np.random.default_rng(seed)
    shown = np.empty((frames, HEIGHT, WIDTH, 3), np.uint8)
    shown[:] = np.random.default_rng(5).integers(40, 160, (HEIGHT, WIDTH, 3))
    way = np.cumsum(draw.normal(0, 2.5, (frames, 2)), axis=0) + np.array([24, 32])
    for frame, (y, x) in enumerate(way.clip(8, [HEIGHT - 8, WIDTH - 8]).astype(int)):
        shown[frame, y - 8 : y + 8, x - 6 : x + 6] = (250, 240, 200)
    return shown


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, pictures(), fps=25)
    return path


def look(path, *clips: ClipTask, quick: bool = False):
    return inspect_file(FileTask(path, clips or (ClipTask(0),), quick))


def test_a_whole_video(video):
    (found,) = look(video)
    assert found.fault is None
    assert found.video is not None
    facts = found.video
    assert (facts.decoded, facts.promised, facts.damaged, facts.fps) == (FRAMES, FRAMES, 0, 25)
    assert (facts.height, facts.width, facts.rotation, facts.sizes) == (HEIGHT, WIDTH, 0, 1)
    assert facts.uneven == 0
    assert found.frames == FRAMES
    assert found.content == hashlib.sha256(video.read_bytes()).hexdigest()
    assert found.likeness is not None
    assert found.likeness.frames == FRAMES
    assert found.motion > 1


def test_quick_counts_and_compares_nothing(video):
    (found,) = look(video, quick=True)
    assert found.video is not None
    assert (found.video.decoded, found.frames, found.likeness) == (FRAMES, FRAMES, None)
    assert np.isnan(found.video.uneven)


def test_clips_of_one_video_have_their_own_frames(video):
    spans = [(None, None), (0.0, 0.4), (0.4, None), (0.2, 0.8), (0.8, 99.0)]
    clips = [ClipTask(place, *span) for place, span in enumerate(spans)]
    found = look(video, *clips)
    assert [each.frames for each in found] == [30, 10, 20, 15, 10]
    assert [each.likeness and each.likeness.frames for each in found] == [30, 10, 20, 15, 10]


def test_a_clip_after_the_end_is_a_fault_of_its_own(video):
    inside, outside = look(video, ClipTask(0), ClipTask(1, 5.0, 6.0))
    assert inside.fault is None
    assert outside.fault is not None
    assert outside.fault.code == "DATA-025"
    assert "covers frames 125 to 30 of 30" in str(outside.fault)


def test_a_video_that_cannot_be_read_is_told_and_its_joints_are_looked_at(tmp_path):
    joints = np.random.default_rng(0).random((7, 17, 2), dtype=np.float32)
    (tmp_path / "joints.bin").write_bytes(b"12345678" + joints.tobytes())
    place = JointPlace(tmp_path / "joints.bin", 8, (1, 7, 17, 2))
    (tmp_path / "bad.mp4").write_bytes(b"<html>404")
    (found,) = look(tmp_path / "bad.mp4", ClipTask(3, pixels=place))
    assert found.fault is not None
    assert found.fault.code == "VID-003"
    assert found.clip == 3
    assert found.joints["pixels"].frames == 7
    assert found.content == hashlib.sha256(joints.tobytes()).hexdigest()


def test_a_file_cut_short_keeps_what_it_promised(video):
    index_first(video)
    cut_in_half(video)
    (found,) = look(video)
    assert found.video is not None
    assert found.video.promised == FRAMES
    assert found.video.decoded < 0.9 * FRAMES


def test_uneven_times_and_a_turned_picture(video):
    turn(video)
    (found,) = look(video)
    assert found.video is not None
    assert found.video.rotation in (90, 270)
    assert (found.video.height, found.video.width) == (WIDTH, HEIGHT)
    remux(video, step=lambda packet: 40 * packet**2)
    (found,) = look(video)
    assert found.video is not None
    assert found.video.uneven > 0.2


def test_matroska_rounds_times_and_is_even(tmp_path):
    path = tmp_path / "a.mkv"
    write_video(path, pictures(), fps=60)
    (found,) = look(path)
    assert found.video is not None
    assert (found.video.uneven, found.video.promised) == (0, 0)


def test_copies_agree_and_other_performances_do_not(tmp_path, video):
    changed = pictures()[2:, ::2, ::2]
    write_video(tmp_path / "copy.mp4", changed, fps=25, crf=28)
    write_video(tmp_path / "other.mp4", pictures(seed=3), fps=25)
    (tmp_path / "bad.mp4").write_bytes(b"no")
    names = ["a.mp4", "copy.mp4", "other.mp4", "bad.mp4"]
    clips = {place: (tmp_path / name, ClipTask(place)) for place, name in enumerate(names)}
    pairs = ((0, 1), (0, 2), (1, 2), (0, 3))
    found = compare_pairs(PairsTask(pairs, clips))
    assert [pair[:2] for pair in found] == [(0, 1)]


def test_pictures_are_seen_upright(video):
    straight = inspect_file(FileTask(video, (ClipTask(0),)))[0].likeness
    turned = frames_of(video).transpose(0, 2, 1, 3)[:, :, ::-1]
    target = video.with_name("turned.mp4")
    write_video(target, turned, fps=25)
    turn(target)
    again = inspect_file(FileTask(target, (ClipTask(0),)))[0]
    assert again.video is not None
    assert straight is not None
    assert again.likeness is not None
    apart = [
        np.abs(straight.moves.astype(int) - np.rot90(
            again.likeness.moves.reshape(-1, 8, 8), k, axes=(1, 2)
        ).reshape(16, -1)).mean()
        for k in range(4)
    ]  # fmt: skip
    assert np.argmin(apart) in (0, 2)
