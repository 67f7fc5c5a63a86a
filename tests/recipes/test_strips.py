import shutil

import numpy as np
import pytest

from poselens.data.csv_clips import import_csv
from poselens.data.folder import open_folder
from poselens.data.video import read_frames
from poselens.recipes import strips
from poselens.recipes.strips import clip_strip, draw_figures
from poselens.types import Skeleton


def test_a_strip_shows_its_own_stretch_of_the_video(drawn, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(drawn.video, source / "a.mp4")
    (source / "clips.csv").write_text(
        "id,video,label,start,end,split\none,a.mp4,x,0,0.5,train\ntwo,a.mp4,x,1,1.5,train\n"
    )
    import_csv(source / "clips.csv", tmp_path / "data")
    folder = open_folder(tmp_path / "data")
    for clip, first in (("one", 0), ("two", 24)):
        strip = clip_strip(folder, folder.index_of(clip))
        expected = read_frames(drawn.video, [first], size=(120, 120)).pixels[0]
        np.testing.assert_array_equal(strip[:, :120], expected)


def test_joints_are_drawn_where_the_body_is(drawn):
    folder = open_folder(drawn.data)
    clip = folder.index_of("synth-000040")
    skeleton = folder.skeleton(clip, "pixels")
    box = strips._region(skeleton, (64, 64))
    assert box.width == box.height < 64
    plain = read_frames(drawn.video, [0], box=box, size=(120, 120)).pixels[0]
    strip = clip_strip(folder, clip)
    assert strip.shape == (120, 6 * 120, 3)
    rows, columns = np.nonzero(np.abs(strip[:, :120].astype(int) - plain).max(axis=2) > 40)
    assert len(rows) > 100
    joints = (skeleton.positions[0, 0] - [box.left, box.top]) * 120 / [box.width, box.height]
    low, high = joints.min(axis=0) - 5, joints.max(axis=0) + 5
    assert low[0] <= columns.min() <= columns.max() <= high[0]
    assert low[1] <= rows.min() <= rows.max() <= high[1]


def test_without_its_video_a_clip_is_shown_by_its_joints(drawn, tmp_path):
    data = shutil.copytree(drawn.data, tmp_path / "data")
    (data / "videos" / "synth-000000.mp4").unlink()
    strip = clip_strip(open_folder(data), 0)
    assert strip.shape == (120, 6 * 120, 3)
    # paper everywhere else
    assert (strip[:4] == (246, 247, 249)).all()
    assert (strip != (246, 247, 249)).any()


def test_a_clip_without_video_and_joints_has_no_strip(drawn, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(drawn.video, source / "a.mp4")
    (source / "clips.csv").write_text("id,video,label,split\none,a.mp4,x,train\n")
    import_csv(source / "clips.csv", tmp_path / "data")
    (video,) = (tmp_path / "data" / "videos").rglob("*.mp4")
    video.unlink()
    assert clip_strip(open_folder(tmp_path / "data"), 0) is None


@pytest.mark.parametrize(("space", "higher"), [("metres", "above"), ("pixels", "below")])
def test_metres_count_upwards_and_pixels_downwards(space, higher):
    positions = np.full((1, 1, 17, 2), np.nan, np.float32)
    positions[0, 0, 0], positions[0, 0, 5], positions[0, 0, 6] = (0, 9), (-1, 0), (1, 0)
    (picture,) = draw_figures(Skeleton(positions, "coco-17", space), np.array([0]), 100)
    inked = np.nonzero((picture != (246, 247, 249)).any(axis=2).any(axis=1))[0]
    assert inked.min() < 20
    assert inked.max() > 80
    # the single joint, the nose, is smaller than the two shoulders with their bone
    ink = (picture != (246, 247, 249)).any(axis=2)
    assert (ink[:50].sum() < ink[50:].sum()) == (higher == "above")
