"""Every clip has its joints or a reason, once, whatever happens on the way."""

import csv
import json
import shutil
from functools import partial

import numpy as np
import pytest
from fake_pose import Bright, Fake, grey_videos, here

from poselens.data.children import Limits
from poselens.data.csv_clips import import_csv
from poselens.data.folder import open_folder
from poselens.data.skeleton_file import read_skeleton
from poselens.errors import AnnotationError, EnvironmentFault, PoselensError, UsageError
from poselens.pose.subjects import Subjects
from poselens.recipes.pose_ledger import Shard, folder_of
from poselens.recipes.pose_sources import DataSetClips, open_source
from poselens.recipes.posing import Manner, estimate_poses, notes_of
from poselens.recognition.pose import Opened
from poselens.recognition.pose_clip import PoseJob

JOB = PoseJob(Fake())
HERE = Manner(engine=here)


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


@pytest.fixture(scope="module")
def greys(tmp_path_factory):
    """Twelve plain videos."""
    return grey_videos(tmp_path_factory.mktemp("greys") / "videos", 12)


def test_every_clip_gets_its_own_joints(filmed, tmp_path):
    told = []
    begun = []

    def begin(todo, done):
        begun.append((todo, done))
        return lambda: told.append(1)

    posed = estimate_poses(DataSetClips(filmed), tmp_path / "posed", JOB, manner=HERE, begun=begin)
    made = open_folder(tmp_path / "posed")
    assert (posed.clips, posed.posed, posed.failed, notes_of(posed)) == (4, 4, 0, [])
    assert begun == [(4, 0)]
    assert told == [1] * 4
    assert list(made.ids) == list(filmed.ids)
    joints = [made.skeleton(clip, "pixels").positions for clip in range(4)]
    assert [positions.shape[1] for positions in joints[:2]] == [24, 12]
    assert not folder_of(tmp_path / "posed").exists()


def test_the_rest_stays_as_it_was(filmed, tmp_path):
    estimate_poses(DataSetClips(filmed), tmp_path / "posed", JOB, manner=HERE)
    made = open_folder(tmp_path / "posed")
    for clip in range(4):
        assert made.record(clip) == filmed.record(clip)
        assert made.video_path(clip).resolve() == filmed.video_path(clip).resolve()
    assert (
        list(made.parts("given")) == list(filmed.parts("given")) == ["train", "test", "train", ""]
    )
    assert made.info.skeletons["pixels"].layout == "coco-17"
    assert made.video_path(0).is_symlink()


def test_a_clip_that_cannot_be_read_is_kept_and_named(filmed, tmp_path):
    (filmed.root / "videos" / "b.mp4").write_bytes(b"")
    posed = estimate_poses(DataSetClips(filmed), tmp_path / "posed", JOB, manner=HERE)
    made = open_folder(tmp_path / "posed")
    (note,) = notes_of(posed)
    assert note.startswith("b: VID-002")
    assert (posed.by_code, len(made)) == ({"VID-002": 1}, 4)
    assert made.skeleton(made.index_of("b"), "pixels") is None
    assert made.skeleton(made.index_of("c"), "pixels") is not None


def test_a_clip_beyond_the_end_of_its_video_is_named(drawn, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(drawn.video, source / "a.mp4")
    (source / "clips.csv").write_text(
        "id,video,label,start,end,split\na,a.mp4,x,0,1,train\nlate,a.mp4,x,90,91,train\n"
    )
    import_csv(source / "clips.csv", tmp_path / "data")
    folder = DataSetClips(open_folder(tmp_path / "data"))
    posed = estimate_poses(folder, tmp_path / "posed", JOB, manner=HERE)
    assert notes_of(posed)[0].startswith("late: POSE-001")


def test_the_machines_faults_end_it_and_what_is_done_stays(greys, tmp_path):
    done = []

    def breaks(work, items, **_):
        for item in items:
            if len(done) == 3:
                yield item, EnvironmentFault("ENV-002", "the disk is full")
            done.append(item.id)
            yield item, work(item)

    out = tmp_path / "posed"
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        estimate_poses(open_source([greys]), out, JOB, manner=Manner(engine=breaks))
    assert not out.exists()
    todo = []
    posed = estimate_poses(
        open_source([greys]), out, JOB, manner=HERE,
        begun=lambda left, have: todo.append((left, have)) or (lambda: None),
    )  # fmt: skip
    assert (todo, posed.posed) == ([(9, 3)], 12)


def test_plain_videos_become_skeleton_files(greys, tmp_path):
    out = tmp_path / "joints"
    estimate_poses(open_source([greys]), out, JOB, manner=HERE)
    assert len(list(out.glob("*.npz"))) == 12
    skeleton = read_skeleton(out / "v003.npz")["pixels"]
    assert (skeleton.positions.shape, skeleton.layout) == ((1, 6, 17, 2), "coco-17")
    shades = [
        read_skeleton(out / f"v{number:03d}.npz")["pixels"].positions[0, 0, 0, 0]
        for number in range(12)
    ]
    np.testing.assert_allclose(shades, [40 + 200 * number // 12 for number in range(12)], atol=3)
    rows = list(csv.DictReader((out / "quality.csv").read_text().splitlines()))
    assert [row["id"] for row in rows] == [f"v{number:03d}" for number in range(12)]
    assert {(row["status"], row["frames"], row["quality"]) for row in rows} == {
        ("posed", "6", "0.8000")
    }
    report = json.loads((out / "pose_report.json").read_text())
    assert (report["clips"], report["posed"], report["provider"]) == (12, 12, "nothing at all")


def test_videos_given_by_name_and_below_folders(greys, tmp_path):
    nested = tmp_path / "in" / "deep"
    nested.mkdir(parents=True)
    shutil.copy(greys / "v000.mp4", nested / "v000.mp4")
    (tmp_path / "in" / "notes.txt").write_text("no video")
    found = open_source([tmp_path / "in", greys / "v000.mp4"])
    assert found.ids == ["deep/v000", "v000"]
    out = tmp_path / "out"
    estimate_poses(found, out, JOB, manner=HERE)
    assert (out / "deep" / "v000.npz").is_file()


def test_children_that_crash_or_hang_cost_their_clip_alone(greys, tmp_path):
    """The two darkest videos, of twelve, are poison."""
    for mood, code in (("crash", "VID-090"), ("hang", "VID-091")):
        manner = Manner(workers=2, limits=Limits(seconds=3.0))
        job = PoseJob(Fake(mood=mood))
        posed = estimate_poses(open_source([greys]), tmp_path / mood, job, manner=manner)
        assert (posed.posed, posed.by_code) == (10, {code: 2})
        assert {entry["id"] for entry in posed.failures} == {"v000", "v001"}


def test_nobody_in_the_clip(greys, tmp_path):
    posed = estimate_poses(
        open_source([greys]), tmp_path / "out", PoseJob(Fake(mood="nobody")), manner=HERE
    )
    assert posed.by_code == {"POSE-005": 2}
    assert "nobody was found in the clip" in notes_of(posed)[0]


def test_shards_make_the_same_as_one_run(filmed, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    source = DataSetClips(filmed)
    estimate_poses(source, whole, JOB, manner=HERE)
    for number in (1, 3):
        assert (
            estimate_poses(source, out, JOB, manner=Manner(Shard(number, 3), engine=here)) is None
        )
    with pytest.raises(
        AnnotationError, match="1 of 4 clips are not done yet, of the shards 2/3"
    ) as caught:
        estimate_poses(source, out, JOB, manner=Manner(merge=True))
    assert caught.value.code == "POSE-015"
    assert not out.exists()
    estimate_poses(source, out, JOB, manner=Manner(Shard(2, 3), engine=here))
    assert estimate_poses(source, out, JOB, manner=Manner(merge=True)).posed == 4
    assert open_folder(out).fingerprint() == open_folder(whole).fingerprint()


def test_without_a_shard_the_rest_is_done_and_assembled(greys, tmp_path):
    out, done = tmp_path / "out", []
    estimate_poses(open_source([greys]), out, JOB, manner=Manner(Shard(2, 5), engine=here))

    def counting(work, items, **rest):
        for outcome in here(work, items, **rest):
            done.append(outcome[0].id)
            yield outcome

    estimate_poses(open_source([greys]), out, JOB, manner=Manner(engine=counting))
    assert len(done) == 12 - 3
    assert not {"v001", "v006", "v011"} & set(done)


def test_a_finished_output_is_left_as_it_is(greys, tmp_path):
    out = tmp_path / "out"
    first = estimate_poses(open_source([greys]), out, JOB, manner=HERE)
    before = (out / "v000.npz").stat().st_mtime_ns
    assert estimate_poses(open_source([greys]), out, JOB, manner=HERE) == first
    assert (out / "v000.npz").stat().st_mtime_ns == before


def test_other_settings_are_refused_before_and_after(greys, tmp_path):
    out = tmp_path / "out"
    other = PoseJob(Fake(), Subjects("all", 4))
    estimate_poses(open_source([greys]), out, JOB, manner=Manner(Shard(1, 2), engine=here))
    with pytest.raises(UsageError, match="begun with subject .*'largest'.*, now .*'all'") as caught:
        estimate_poses(open_source([greys]), out, other, manner=HERE)
    assert caught.value.code == "POSE-011"
    estimate_poses(open_source([greys]), out, JOB, manner=HERE)
    with pytest.raises(UsageError, match="begun with subject"):
        estimate_poses(open_source([greys]), out, other, manner=HERE)


def test_what_failed_is_taken_again_only_when_asked(tmp_path):
    videos = grey_videos(tmp_path / "videos", 3)
    whole = (videos / "v001.mp4").read_bytes()
    out, shard = tmp_path / "out", Manner(Shard(1, 1), engine=here)
    (videos / "v001.mp4").write_bytes(b"")
    estimate_poses(open_source([videos]), out, JOB, manner=shard)
    work = []

    def counting(do, items, **rest):
        for outcome in here(do, items, **rest):
            work.append(outcome[0].id)
            yield outcome

    counted = partial(Manner, Shard(1, 1), engine=counting)
    estimate_poses(open_source([videos]), out, JOB, manner=counted())
    assert work == []
    estimate_poses(open_source([videos]), out, JOB, manner=counted(retry=True))
    assert work == ["v001"]
    # a video that was mended is another one
    (videos / "v001.mp4").write_bytes(whole)
    posed = estimate_poses(open_source([videos]), out, JOB, manner=Manner(engine=counting))
    assert work == ["v001", "v001"]
    assert posed.posed == 3


def test_spectators_are_counted(greys, tmp_path):
    class Crowd(Bright):
        def estimate(self, frames):
            pose = super().estimate(frames)
            joints = np.concatenate([pose.skeleton.positions * size for size in (1, 3, 2)])
            skeleton = type(pose.skeleton)(joints, "coco-17", "pixels")
            return type(pose)(skeleton, np.repeat(pose.scores, 3, axis=0))

    class Chosen(Fake):
        def open(self):
            return Opened(Crowd(), "nothing at all")

    job = PoseJob(Chosen(), Subjects("largest", 1))
    posed = estimate_poses(open_source([greys]), tmp_path / "out", job, manner=HERE)
    assert posed.spectators == 2 * 12
    skeleton = read_skeleton(tmp_path / "out" / "v001.npz")["pixels"]
    assert skeleton.positions.shape[0] == 1
    assert skeleton.positions[0, 0, 16, 1] == pytest.approx(3 * 19)


def test_what_cannot_be_posed(tmp_path, greys, filmed):
    (tmp_path / "empty").mkdir()
    for paths, code in (
        ([], "POSE-014"),
        ([filmed.root, greys], "POSE-014"),
        ([tmp_path / "empty"], "POSE-014"),
        ([tmp_path / "nowhere"], "DATA-001"),
    ):
        with pytest.raises(PoselensError) as caught:
            open_source(paths)
        assert caught.value.code == code
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").write_text("x")
    with pytest.raises(UsageError) as caught:
        estimate_poses(open_source([greys]), tmp_path / "taken", JOB, manner=HERE)
    assert caught.value.code == "DATA-020"
