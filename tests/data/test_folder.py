import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from poselens.data.folder import open_folder
from poselens.data.info import ClipRecord, ProtocolInfo
from poselens.errors import AnnotationError, SkeletonError, UsageError


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_reads_back_what_was_written(tiny: Path) -> None:
    folder = open_folder(tiny)
    assert len(folder) == 4
    assert list(folder.ids) == ["a", "b", "c", "d"]
    assert folder.labels.tolist() == [0, 1, 1, -1]
    assert folder.record(0) == ClipRecord(
        "a", "videos/a.mp4", 0, "1", "front", "r1", 0.5, 2.25, 320, 240
    )
    assert folder.record(3) == ClipRecord("d")
    assert folder.column("subject").tolist() == ["1", "2", "1", ""]
    assert folder.info.mirror == {"wave": "wave"}


def test_reshapes_joints_person_by_person(tiny: Path) -> None:
    folder = open_folder(tiny)
    expected = np.random.default_rng(0).random((2, 3, 17, 2), dtype=np.float32)
    skeleton = folder.skeleton(0, "pixels")
    assert skeleton is not None
    np.testing.assert_array_equal(skeleton.positions, expected)
    assert (skeleton.layout, skeleton.space) == ("coco-17", "pixels")
    assert skeleton.positions.flags.writeable
    second = folder.skeleton(1, "pixels")
    assert second is not None
    assert second.positions.shape == (1, 5, 17, 2)
    assert folder.skeleton(1, "metres") is None
    assert folder.skeleton(2, "pixels") is None


def test_a_joint_with_an_infinite_coordinate_is_missing(tiny: Path) -> None:
    array = np.load(tiny / "skeletons/pixels.npy", mmap_mode="r+")
    array[0, 4, 1] = np.inf
    array.flush()
    skeleton = open_folder(tiny).skeleton(0, "pixels")
    assert skeleton is not None
    assert np.isnan(skeleton.positions[0, 0, 4]).all()
    assert np.isfinite(np.delete(skeleton.positions[0, 0], 4, axis=0)).all()


def test_indices_of_each_part(tiny: Path) -> None:
    folder = open_folder(tiny)
    assert folder.indices("cross-subject", "train").tolist() == [0, 2]
    assert folder.indices("cross-subject", "test").tolist() == [1, 3]
    assert folder.indices("cross-subject", "train+val").tolist() == [0, 2]
    assert folder.indices("random", "val").tolist() == [0]


def test_unknown_protocol_and_empty_part(tiny: Path) -> None:
    folder = open_folder(tiny)
    with pytest.raises(UsageError, match=r"'cross-subjct'; did you mean 'cross-subject'") as caught:
        folder.indices("cross-subjct", "train")
    assert caught.value.code == "CFG-004"
    with pytest.raises(AnnotationError, match="no clip is in the val part of 'cross-sub") as empty:
        folder.indices("cross-subject", "val")
    assert empty.value.code == "DATA-010"


def test_index_of(tiny: Path) -> None:
    folder = open_folder(tiny)
    assert [folder.index_of(name) for name in "dcba"] == [3, 2, 1, 0]
    with pytest.raises(UsageError, match="no clip has the id 'zz'") as caught:
        folder.index_of("zz")
    assert caught.value.code == "DATA-013"


def test_a_worker_opens_the_folder_again(tiny: Path) -> None:
    content = pickle.dumps(open_folder(tiny))
    assert len(content) < 1000
    assert pickle.loads(content).ids.tolist() == ["a", "b", "c", "d"]


def test_rows_may_be_deleted_by_hand(tiny: Path) -> None:
    clips = tiny / "clips.csv"
    header, _, *rest = clips.read_text().splitlines()
    clips.write_text("\r\n".join([header, *rest, ""]), encoding="utf-8-sig")
    folder = open_folder(tiny)
    assert folder.ids.tolist() == ["b", "c", "d"]
    skeleton = folder.skeleton(0, "pixels")
    assert skeleton is not None
    assert skeleton.frames == 5


def test_fingerprint_is_of_the_content(tiny: Path, tmp_path: Path) -> None:
    first = open_folder(tiny).fingerprint()
    copy = tmp_path / "elsewhere"
    shutil.copytree(tiny, copy)
    info = copy / "dataset.yaml"
    info.write_text(
        "# a comment\n" + info.read_text().replace("video_roots: []", "video_roots: [/x]")
    )
    assert open_folder(copy).fingerprint() == first
    edit(copy / "clips.csv", "front", "side")
    assert open_folder(copy).fingerprint() != first
    array = np.load(tiny / "skeletons/pixels.npy", mmap_mode="r+")
    array[-1, -1, -1] += 1
    array.flush()
    assert open_folder(tiny).fingerprint() != first


def test_video_path_stays_in_the_folder(tiny: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.mp4").write_bytes(b"x")
    (tiny / "videos").mkdir()
    (tiny / "videos/a.mp4").symlink_to(outside / "a.mp4")
    folder = open_folder(tiny)
    assert folder.video_path(1) is None
    assert folder.video_path(2) == tiny / "videos/c.mp4"
    with pytest.raises(AnnotationError, match="is a link out of the data set's folder") as caught:
        folder.video_path(0)
    assert caught.value.code == "DATA-009"
    edit(tiny / "dataset.yaml", "video_roots: []", f"video_roots: ['{outside}']")
    assert open_folder(tiny).video_path(0) == tiny / "videos/a.mp4"


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the data set does not exist") as caught:
        open_folder(tmp_path / "none")
    assert caught.value.code == "DATA-001"
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        open_folder(tmp_path / "file")
    with pytest.raises(AnnotationError, match=r"dataset.yaml is missing: this folder is not") as no:
        open_folder(tmp_path)
    assert no.value.code == "DATA-002"


def test_missing_clips(tiny: Path) -> None:
    (tiny / "clips.csv").unlink()
    with pytest.raises(AnnotationError, match=r"clips.csv is missing"):
        open_folder(tiny)


@pytest.mark.parametrize("name", ["pixels.npy", "pixels_index.npz"])
def test_missing_skeleton_file(tiny: Path, name: str) -> None:
    (tiny / "skeletons" / name).unlink()
    with pytest.raises(AnnotationError, match="missing") as caught:
        open_folder(tiny)
    assert caught.value.code == "DATA-011"


def test_array_cut_short(tiny: Path) -> None:
    path = tiny / "skeletons/pixels.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(AnnotationError, match=r"found \d+ bytes, expected \d+") as caught:
        open_folder(tiny)
    assert caught.value.code == "DATA-011"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"offset": [0, 7]}, "clip 'b' lies outside the array of 11 rows"),
        ({"offset": [-1, 6]}, "clip 'a' lies outside"),
        ({"frames": [2**62, 5]}, "clip 'a' lies outside"),
        ({"people": [0, 1]}, "clip 'a' lies outside"),
        ({"people": [2.0, 1.0]}, "array 'people' is missing or of the wrong type"),
        ({"ids": ["b", "b"]}, "an id is in the index twice"),
        ({"frames": [3]}, "2 ids, but 1 of frames"),
    ],
)
def test_index_that_does_not_match_the_array(
    tiny: Path, change: dict[str, list[int]], text: str
) -> None:
    path = tiny / "skeletons/pixels_index.npz"
    np.savez(
        path, **(dict(np.load(path)) | {key: np.array(value) for key, value in change.items()})
    )
    with pytest.raises(AnnotationError, match=text) as caught:
        open_folder(tiny)
    assert caught.value.code == "DATA-011"


def test_layout_of_another_joint_count(tiny: Path) -> None:
    edit(tiny / "dataset.yaml", "coco-17", "kinect-20")
    with pytest.raises(
        SkeletonError, match=r"found 17 joints, expected 20.*these joints fit coco-17"
    ):
        open_folder(tiny)


def test_dimensions_that_differ(tiny: Path) -> None:
    edit(tiny / "dataset.yaml", "dimensions: 3", "dimensions: 2")
    with pytest.raises(AnnotationError, match=r"joints have 3 coordinates, dataset.yaml says 2"):
        open_folder(tiny)


def test_what_is_told_about_a_split_is_not_its_content(tiny: Path) -> None:
    """And keys that came later leave the fingerprints of published results as they were."""
    first = open_folder(tiny).fingerprint()
    about = tiny / "dataset.yaml"
    text = about.read_text()
    assert "shares: {}" in text
    about.write_text(text.replace("shares: {}", "shares: {view: two cameras}", 1))
    assert open_folder(tiny).fingerprint() == first
    about.write_text(text.replace("hierarchy: {}", "hierarchy: {part: [arm, hand]}"))
    assert open_folder(tiny).fingerprint() != first
    about.write_text(text.replace("hierarchy: {}\n", ""))
    assert open_folder(tiny).fingerprint() == first


def test_the_clips_are_the_same_whatever_their_split(tiny: Path) -> None:
    folder = open_folder(tiny)
    first = folder.clips_fingerprint()
    parted = folder.with_split("new", ProtocolInfo(description="x"), ["train"] * len(folder))
    assert parted.clips_fingerprint() == first
    rows = tiny / "clips.csv"
    text = rows.read_text()
    rows.write_text(text.replace("front", "back"))
    assert open_folder(tiny).clips_fingerprint() == first
    rows.write_text(text.replace("videos/a.mp4", "videos/z.mp4"))
    assert open_folder(tiny).clips_fingerprint() != first
    joints = tiny / "skeletons" / "pixels.npy"
    content = bytearray(joints.read_bytes())
    content[-1] ^= 1
    rows.write_text(text)
    joints.write_bytes(content)
    assert open_folder(tiny).clips_fingerprint() != first
