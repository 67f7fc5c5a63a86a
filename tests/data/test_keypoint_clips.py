"""Clips of key points, in class folders and in lists, with and without videos."""

from pathlib import Path

import keypoint_files as tools
import numpy as np
import pytest
from boris_files import write_videos

from poselens.data.folder import open_folder
from poselens.data.keypoint_clips import import_keypoints
from poselens.errors import AnnotationError, PoselensError, SkeletonError, UsageError


def write(path: Path, clip: int, joints: int = 17, frames: int = 14) -> Path:
    whole = tools.moving(clip, joints, frames=frames)
    return tools.write_json(path, tools.coco_results(whole))


def test_class_folders_with_videos_beside_and_elsewhere(tmp_path: Path) -> None:
    src = tmp_path / "src"
    for clip in range(6):
        write(src / "ab"[clip % 2] / f"c{clip}.json", clip, frames=8)
    write_videos(src / "a", ["c0.mp4"], seconds=1)
    write_videos(src / "b", ["c1.mp4"], seconds=1)
    write(src / "b/c1.json", 1, frames=12)
    (src / "a/c2.json").write_text("[{}]")
    (src / "a/notes.txt").write_text("")
    write(src / "stray.json", 0)
    report = import_keypoints(src, tmp_path / "out")
    assert {Path(entry.file).name: entry.code for entry in report.skipped} == {
        "c1.json": "SKEL-009",
        "c2.json": "DATA-021",
        "notes.txt": "DATA-021",
        "stray.json": "DATA-021",
    }
    folder = open_folder(tmp_path / "out")
    assert folder.ids.tolist() == ["a/c0", "a/c4", "b/c3", "b/c5"]
    joints = folder.skeleton(0, "pixels")
    assert joints is not None
    # ten frames of video, eight of joints: the last two are missing, not invented
    assert joints.positions.shape == (1, 10, 17, 2)
    assert np.isnan(joints.positions[0, 8:]).all()
    np.testing.assert_allclose(joints.positions[0, :8], tools.moving(0, 17, frames=8)[0], atol=2e-3)
    assert (folder.record(0).video, folder.record(0).width) == ("videos/a/c0.mp4", 48)
    assert folder.video_path(1) is None
    write_videos(tmp_path / "all/deep", ["c4.mp4"], seconds=1)
    (tmp_path / "all/deep/c4.mp4").rename(tmp_path / "all/deep/c.mp4")
    (src / "a/c4.json").rename(src / "a/cDLC_resnet.json")
    report = import_keypoints(src, tmp_path / "more", videos=tmp_path / "all")
    assert open_folder(tmp_path / "more").record(0).video == "videos/deep/c.mp4"
    assert [entry.code for entry in report.skipped].count("DATA-048") == 4


def test_a_list_cuts_stretches_out_of_long_key_points(tmp_path: Path) -> None:
    write_videos(tmp_path, ["day.mp4"], seconds=4)
    write(tmp_path / "day.json", 0, frames=40)
    (tmp_path / "list.csv").write_text(
        "keypoints;label;video;subject;session;start;end\n"
        "day.json;a;day.mp4;ann;s1;0:00:01.0;2\n"
        "day.json;b;day.mp4;bob;s2;2;\n"
        "day.json;b;gone.mp4;bob;s2;2;\n"
        "day.json;a;day.mp4;cat;s2;;0.5\n"
    )
    report = import_keypoints(tmp_path / "list.csv", tmp_path / "out")
    assert [(entry.code, Path(entry.file).name) for entry in report.skipped] == [
        ("VID-001", "day.json")
    ]
    folder = open_folder(tmp_path / "out")
    whole = tools.moving(0, 17, frames=40)
    for clip, (first, last) in enumerate([(10, 20), (20, 40), (0, 5)]):
        joints = folder.skeleton(clip, "pixels")
        assert joints is not None
        np.testing.assert_allclose(joints.positions, whole[:, first:last], atol=2e-3)
    assert (folder.record(0).subject, folder.record(0).session) == ("ann", "s1")
    assert (folder.record(0).start_s, folder.record(0).end_s) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("keypoints,label,start\na.json,x,1\n", "DATA-005", "start and end without a video"),
        ("keypoints,label\n../a.json,x\n", "DATA-009", "file '../a.json' is outside"),
        ("keypoints,label\na.json,\n", "DATA-005", "label is empty"),
        ("keypoints,lable\na.json,x\n", "DATA-004", "did you mean 'label'"),
        ("keypoints,label,split\na.json,x,dev\n", "DATA-008", "split is 'dev', expected train"),
        ("keypoints,label,id\na.json,x,1\na.json,y,1\n", "DATA-007", "id '1' is there twice"),
        ("keypoints,label\ngone.json,x\n", "DATA-012", "the key-point file is missing"),
    ],
)
def test_lists_that_are_refused(tmp_path: Path, text: str, code: str, message: str) -> None:
    write(tmp_path / "a.json", 0)
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(PoselensError, match=message) as caught:
        import_keypoints(tmp_path / "list.csv", tmp_path / "out")
    assert caught.value.code == code
    assert not (tmp_path / "out").exists()


def test_clips_of_two_layouts_and_of_none(tmp_path: Path) -> None:
    write(tmp_path / "src/a/one.json", 0)
    tools.write_openpose(tmp_path / "src/b/two", tools.moving(0, 25))
    with pytest.raises(SkeletonError, match=r"clips of 2 layouts: coco-17 \(a/one.json\), op"):
        import_keypoints(tmp_path / "src", tmp_path / "out")
    with pytest.raises(UsageError, match="unknown joint layout 'coco-18'"):
        import_keypoints(tmp_path / "src", tmp_path / "out", layout="coco-18")
    with pytest.raises(UsageError, match="the source does not exist"):
        import_keypoints(tmp_path / "gone", tmp_path / "out")
    tools.write_deeplabcut(
        tmp_path / "mice/a/m.csv", tools.moving(0, 4), ["nose", "paw", "hip", "tail"]
    )
    with pytest.raises(AnnotationError, match=r"4 joints \(nose, paw, hip, tail\) are those of no"):
        import_keypoints(tmp_path / "mice", tmp_path / "out")


def test_joints_of_a_users_own_layout_go_with_the_data(tmp_path: Path) -> None:
    words, protocol, _ = tools.IMPORTING["deeplabcut"](tmp_path)
    import_keypoints(Path(str(words[1])), tmp_path / "out", layout=str(words[3]))
    folder = open_folder(tmp_path / "out")
    assert folder.info.layouts["mouse-4"]["joints"] == list(tools.MOUSE)
    assert all(len(folder.indices(protocol, part)) for part in ("train", "val", "test"))
