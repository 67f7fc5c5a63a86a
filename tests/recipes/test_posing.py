import shutil

import numpy as np
import pytest

from poselens.data.csv_clips import import_csv
from poselens.data.folder import open_folder
from poselens.errors import EnvironmentFault
from poselens.pose.estimators import Pose
from poselens.recipes.posing import with_estimated_pose
from poselens.types import Skeleton


class Counting:
    """Finds one person whose nose is at (number of the frame, number of the clip)."""

    layout = "coco-17"

    def __init__(self):
        self.clips = 0

    def estimate(self, frames):
        count = sum(1 for _ in frames)
        joints = np.full((1, count, 17, 2), 30, np.float32)
        joints[0, :, 0, 1] = self.clips
        self.clips += 1
        return Pose(Skeleton(joints, self.layout, "pixels"), np.ones(joints.shape[:3]))


@pytest.fixture
def filmed(drawn, tmp_path):
    """Videos without joints: one in two clips, one cut short, one alone."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(drawn.video, source / f"{name}.mp4")
    (source / "clips.csv").write_text(
        "id,video,label,start,end,split\n"
        "a1,a.mp4,x,0,1,train\na2,a.mp4,y,1,1.5,test\nb,b.mp4,x,,,train\nc,c.mp4,y,,,\n"
    )
    import_csv(source / "clips.csv", tmp_path / "data")
    return open_folder(tmp_path / "data")


def test_every_clip_gets_its_own_joints(filmed, tmp_path):
    told = []
    unread = with_estimated_pose(filmed, tmp_path / "posed", Counting(), told=told.append)
    posed = open_folder(tmp_path / "posed")
    assert unread == []
    assert told == [1] * 4
    assert list(posed.ids) == list(filmed.ids)
    joints = [posed.skeleton(clip, "pixels").positions for clip in range(4)]
    assert [positions.shape[1] for positions in joints[:2]] == [24, 12]
    assert [int(positions[0, 0, 0, 1]) for positions in joints] == [0, 1, 2, 3]


def test_the_rest_stays_as_it_was(filmed, tmp_path):
    with_estimated_pose(filmed, tmp_path / "posed", Counting(), told=lambda _: None)
    posed = open_folder(tmp_path / "posed")
    for clip in range(4):
        assert posed.record(clip) == filmed.record(clip)
        assert posed.video_path(clip).resolve() == filmed.video_path(clip).resolve()
    assert (
        list(posed.parts("given")) == list(filmed.parts("given")) == ["train", "test", "train", ""]
    )
    assert posed.info.skeletons["pixels"].layout == "coco-17"
    assert posed.video_path(0).is_symlink()


def test_a_clip_that_cannot_be_read_is_kept_and_named(filmed, tmp_path):
    (filmed.root / "videos" / "b.mp4").write_bytes(b"")
    unread = with_estimated_pose(filmed, tmp_path / "posed", Counting(), told=lambda _: None)
    posed = open_folder(tmp_path / "posed")
    assert len(unread) == 1
    assert unread[0].startswith("b: VID-002")
    assert len(posed) == 4
    assert posed.skeleton(posed.index_of("b"), "pixels") is None
    assert posed.skeleton(posed.index_of("c"), "pixels") is not None


def test_a_clip_beyond_the_end_of_its_video_is_named(drawn, tmp_path):
    from poselens.pose.movenet import MoveNet

    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(drawn.video, source / "a.mp4")
    (source / "clips.csv").write_text(
        "id,video,label,start,end,split\na,a.mp4,x,0,1,train\nlate,a.mp4,x,90,91,train\n"
    )
    import_csv(source / "clips.csv", tmp_path / "data")
    folder = open_folder(tmp_path / "data")
    found = np.full((17, 3), 0.5, np.float32)
    unread = with_estimated_pose(
        folder, tmp_path / "posed", MoveNet(lambda _: found), told=lambda _: None
    )
    assert len(unread) == 1
    assert unread[0].startswith("late: POSE-001")


def test_the_machines_faults_end_it_and_leave_nothing(filmed, tmp_path):
    class Broken(Counting):
        def estimate(self, frames):
            raise EnvironmentFault("ENV-007", "not enough memory to decode")

    with pytest.raises(EnvironmentFault):
        with_estimated_pose(filmed, tmp_path / "posed", Broken(), told=lambda _: None)
    assert not (tmp_path / "posed").exists()
