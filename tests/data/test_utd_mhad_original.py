"""UTD-MHAD from the files its authors publish, and against the compact form of the real one."""

import re
from pathlib import Path

import numpy as np
import pytest
from utd_mat_files import (
    depth_of,
    moving_joints,
    write_depth_mat,
    write_original,
    write_skeleton_mat,
)

from poselens.data.folder import open_folder
from poselens.data.utd_mhad import import_utd_mhad
from poselens.data.utd_mhad_original import read_depth
from poselens.data.video import read_frames
from poselens.errors import AnnotationError, UsageError

NAMES = [f"a{action}_s{subject}_t1" for action in (1, 2) for subject in (1, 2, 7)]


def test_depth_becomes_video_with_joints_in_its_pixels(tmp_path: Path) -> None:
    src = write_original(tmp_path / "utd", NAMES, depth=True)
    report = import_utd_mhad(src, tmp_path / "out")
    folder = open_folder(tmp_path / "out")
    assert report.imported == len(folder) == 6
    assert not report.skipped
    assert [len(folder.indices("utd-mhad", part)) for part in ("train", "val", "test")] == [2] * 3
    metres, pixels = folder.skeleton(0, "metres"), folder.skeleton(0, "pixels")
    video = folder.video_path(0)
    assert metres is not None
    assert pixels is not None
    assert video is not None
    np.testing.assert_allclose(metres.positions[0], moving_joints(12, 1, 1), rtol=1e-6)
    picture = read_frames(video, [6]).pixels[0]
    assert picture.shape == (240, 320, 3)
    grey = round(1 + (2600 - 1200) * 254 / 2200)
    for x, y in pixels.positions[0, 6].round().astype(int):
        assert abs(int(picture[y, x, 0]) - grey) <= 8
    assert picture[5, 5, 0] <= 4
    assert (folder.record(0).width, folder.record(0).height) == (320, 240)


def test_depth_in_millimetres_is_grey(tmp_path: Path) -> None:
    depth = np.zeros((2, 240, 320))
    depth[0, 0, :6] = [0, 900, 1200, 2300, 3400, 3401]
    depth[0, 1, :2] = [np.nan, -5]
    path = tmp_path / "a1_s1_t1_depth.mat"
    write_depth_mat(path, depth)
    grey = read_depth(path)
    assert grey.shape == (2, 240, 320)
    assert grey[0, 0, :6].tolist() == [0, 1, 1, 128, 255, 0]
    assert grey[0, 1, :2].tolist() == [0, 0]
    write_depth_mat(path, depth[:, :100])
    with pytest.raises(AnnotationError, match=r"d_depth is \(100, 320, 2\), expected \(240, 320"):
        read_depth(path)


def test_colour_is_preferred_and_has_no_joints_in_pixels(tmp_path: Path) -> None:
    src = write_original(tmp_path / "utd", NAMES, depth=True, colour=True)
    (src / "RGB/a1_s1_t1_color.avi").unlink()
    report = import_utd_mhad(src, tmp_path / "out", link="symbolic")
    assert [entry.code for entry in report.skipped] == ["VID-001"]
    folder = open_folder(tmp_path / "out")
    assert list(folder.info.skeletons) == ["metres"]
    video = folder.video_path(0)
    assert video is not None
    assert video.is_symlink()
    assert video.suffix == ".avi"
    assert (folder.record(0).width, folder.record(0).height) == (64, 48)
    import_utd_mhad(src, tmp_path / "deep", picture="depth")
    assert set(open_folder(tmp_path / "deep").info.skeletons) == {"pixels", "metres"}


def test_joints_alone_make_a_data_set(tmp_path: Path) -> None:
    src = write_original(tmp_path / "utd", NAMES)
    write_skeleton_mat(src / "Skeleton/a28_s1_t1_skeleton.mat", moving_joints(4, 1, 1))
    (src / "Skeleton/a2_s1_t1_skeleton.mat").write_bytes(b"MATLAB 5.0")
    (src / "Skeleton/readme.txt").write_text("")
    report = import_utd_mhad(src, tmp_path / "out")
    assert {Path(entry.file).name: entry.code for entry in report.skipped} == {
        "a28_s1_t1": "DATA-021",
        "a2_s1_t1_skeleton.mat": "DATA-045",
        "readme.txt": "DATA-021",
    }
    folder = open_folder(tmp_path / "out")
    assert folder.video_path(0) is None


def test_pictures_that_are_not_there(tmp_path: Path) -> None:
    src = write_original(tmp_path / "utd", NAMES[:2], depth=True)
    write_depth_mat(src / "Depth/a1_s1_t1_depth.mat", depth_of(moving_joints(20, 1, 1)))
    (src / "Depth/a1_s2_t1_depth.mat").unlink()
    for words, message in (
        ({"picture": "colour"}, "no 'colour' pictures here, found depth. Mend: add the folder"),
        ({"link": "hard"}, "depth is written as video from .mat files, which cannot be linked"),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            import_utd_mhad(src, tmp_path / "out", **words)  # type: ignore[arg-type]
    with pytest.raises(AnnotationError, match="nothing to import; 2 skipped, the first") as caught:
        import_utd_mhad(src, tmp_path / "out")
    assert "the video has 20 frames, the skeleton 12" in caught.value.message
    assert not (tmp_path / "out").exists()


def some_of(compact: Path, names: list[str], src: Path) -> Path:
    """The compact form with a few of its clips."""
    (src / "depth_mp4").mkdir(parents=True)
    stored = np.load(compact / "skeleton.npz")
    parts = np.split(stored["xyz"], np.cumsum(stored["lengths"])[:-1])
    chosen = [parts[stored["names"].tolist().index(name)] for name in names]
    np.savez(
        src / "skeleton.npz",
        names=np.array(names),
        lengths=np.array([len(each) for each in chosen]),
        xyz=np.concatenate(chosen),
    )
    for name in names:
        (src / "depth_mp4" / f"{name}.mp4").symlink_to(compact / "depth_mp4" / f"{name}.mp4")
    return src


@pytest.mark.shared
def test_real_clips_written_as_matlab_files_give_the_joints_of_the_compact_form(
    shared: Path, tmp_path: Path
) -> None:
    compact = shared / "data/utd_mhad"
    stored = np.load(compact / "skeleton.npz")
    ends = np.cumsum(stored["lengths"])
    src = tmp_path / "utd"
    for folder in ("Skeleton", "Depth"):
        (src / folder).mkdir(parents=True)
    chosen = range(0, len(ends), 287)
    pictures = {}
    for place in chosen:
        name, length = str(stored["names"][place]), int(stored["lengths"][place])
        joints = stored["xyz"][ends[place] - length : ends[place]]
        write_skeleton_mat(src / "Skeleton" / f"{name}_skeleton.mat", joints.astype(np.float64))
        video = compact / "depth_mp4" / f"{name}.mp4"
        grey = read_frames(video, range(length)).pixels[..., 0]
        # the background of the compact form is not exactly 0 after coding
        depth_mm = np.where(grey > 8, 1200 + (grey.astype(float) - 1) * 2200 / 254, 0)
        write_depth_mat(src / "Depth" / f"{name}_depth.mat", depth_mm)
        pictures[name] = grey
    import_utd_mhad(src, tmp_path / "original")
    import_utd_mhad(some_of(compact, list(pictures), tmp_path / "some"), tmp_path / "compact")
    original, reference = open_folder(tmp_path / "original"), open_folder(tmp_path / "compact")
    assert len(original) == len(list(chosen))
    for clip in range(len(original)):
        name = original.record(clip).id
        same = reference.ids.tolist().index(name)
        for space in ("pixels", "metres"):
            ours, theirs = original.skeleton(clip, space), reference.skeleton(same, space)
            assert ours is not None
            assert theirs is not None
            np.testing.assert_array_equal(ours.positions, theirs.positions)
        assert original.parts("utd-mhad")[clip] == reference.parts("utd-mhad")[same]
        assert original.record(clip).label == reference.record(same).label
        again = read_frames(original.video_path(clip) or "", [5]).pixels[0, ..., 0]
        grey = np.where(pictures[name][5] > 8, pictures[name][5], 0)
        assert np.abs(again.astype(int) - grey).mean() < 2
