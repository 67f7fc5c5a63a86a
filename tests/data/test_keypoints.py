"""Key points of each tool give the joints that were written, and damage is told."""

import json
import re
from pathlib import Path

import keypoint_files as tools
import numpy as np
import pytest

from poselens.data.keypoints import parse_size, read_joint_tree, read_keypoints
from poselens.data.skeleton_file import read_skeleton
from poselens.errors import EnvironmentFault, PoselensError, SkeletonError, UsageError
from poselens.pose.declared import layout_from
from poselens.pose.layouts import declare_layout, get_layout

COCO = get_layout("coco-17").joints
CLOSE = {"rtol": 0, "atol": 2e-3}


def read(path: Path, *words: object, **more: object) -> tuple[np.ndarray, str]:
    found = read_keypoints(path, *words, **more)  # type: ignore[arg-type]
    assert list(found) == ["pixels"]
    return found["pixels"].positions, found["pixels"].layout


@pytest.fixture
def two() -> np.ndarray:
    """Two people; the second has a joint that is never known and is late by two frames."""
    joints = tools.moving(1, 17, people=2)
    joints[1, :, 5] = np.nan
    joints[1, :2] = np.nan
    return joints


def by_place(joints: np.ndarray) -> np.ndarray:
    """People from left to right: who is the first row says nothing."""
    return joints[np.argsort(np.nanmean(joints[..., 0], axis=(1, 2)))]


def test_results_by_track_and_by_place(tmp_path: Path, two: np.ndarray) -> None:
    entries = tools.coco_results(two)
    entries = [entry for entry in entries if any(entry["keypoints"][2::3])]  # type: ignore[index]
    path = tools.write_json(tmp_path / "a.json", entries)
    joints, layout = read(path)
    assert layout == "coco-17"
    np.testing.assert_allclose(joints, two, **CLOSE)
    for entry in entries:
        del entry["idx"]
    # frame 3 lists them the other way about: without tracks they are told apart by where they are
    third = [place for place, entry in enumerate(entries) if entry["image_id"] == "3.jpg"]
    entries[third[0]], entries[third[1]] = entries[third[1]], entries[third[0]]
    joints, _ = read(tools.write_json(path, entries))
    np.testing.assert_allclose(by_place(joints), by_place(two), **CLOSE)


def test_frames_before_anybody_and_between_are_missing(tmp_path: Path) -> None:
    whole = tools.moving(2, 17)
    entries = [tools.coco_results(whole)[frame] for frame in (2, 3, 6)]
    joints, _ = read(tools.write_json(tmp_path / "a.json", entries))
    assert joints.shape[1] == 7
    seen = np.isfinite(joints).all(axis=(0, 2, 3))
    assert seen.tolist() == [False, False, True, True, False, False, True]
    # pictures that are not called by a number alone count from the lowest
    for entry in entries:
        entry["image_id"] = f"clip7_{int(str(entry['image_id'])[:-4]) + 100:04d}.png"
    joints, _ = read(tools.write_json(tmp_path / "b.json", entries))
    assert joints.shape[1] == 5


def test_a_data_set_of_pictures(tmp_path: Path, two: np.ndarray) -> None:
    content = tools.coco_dataset(two, COCO)
    joints, layout = read(tools.write_json(tmp_path / "a.json", content))
    assert layout == "coco-17"
    np.testing.assert_allclose(joints, two, **CLOSE)
    # the same joints in another order are put into the layout's
    turned = tools.coco_dataset(two[:, :, ::-1], COCO[::-1])
    joints, _ = read(tools.write_json(tmp_path / "b.json", turned))
    np.testing.assert_allclose(joints, two, **CLOSE)


def test_whole_bodies_begin_with_the_body(tmp_path: Path) -> None:
    for count, layout, kept in ((26, "halpe-26", 26), (136, "halpe-26", 26), (133, "coco-17", 17)):
        whole = tools.moving(0, count)
        path = tools.write_json(tmp_path / f"{count}.json", tools.coco_results(whole))
        joints, found = read(path)
        assert found == layout
        np.testing.assert_allclose(joints, whole[:, :, :kept], **CLOSE)


def test_doubtful_joints_are_missing(tmp_path: Path) -> None:
    entries = tools.coco_results(tools.moving(0, 17))
    entries[4]["keypoints"][2] = 0.25  # type: ignore[index]
    path = tools.write_json(tmp_path / "a.json", entries)
    assert np.isfinite(read(path)[0]).all()
    joints = read(path, min_score=0.3)[0]
    assert np.argwhere(np.isnan(joints[..., 0])).tolist() == [[0, 4, 0]]


@pytest.mark.parametrize("count", [18, 25])
def test_openpose(tmp_path: Path, count: int) -> None:
    whole = tools.moving(3, count, people=2)
    folder = tools.write_openpose(tmp_path / "clip", whole, first=30)
    joints, layout = read(folder)
    assert layout == f"openpose-{count}"
    np.testing.assert_allclose(by_place(joints), by_place(whole), **CLOSE)
    (folder / "c_000000000033_keypoints.json").write_text('{"people": []}')
    assert np.isnan(read(folder)[0][:, 3]).all()
    (folder / "other_000000000002_keypoints.json").write_text('{"people": []}')
    with pytest.raises(SkeletonError, match="files of 2 videos. Mend: give each clip a folder"):
        read(folder)


def test_mediapipe_as_json_and_csv(tmp_path: Path) -> None:
    whole = tools.moving(4, 33)
    size = (tools.HEIGHT, tools.WIDTH)
    frames = tools.mediapipe_frames(whole)
    wrapped = {"frames": [{"frame": n, "pose_landmarks": each} for n, each in enumerate(frames)]}
    several = [{"landmarks": [each]} for each in frames]
    for name, content in (("a", frames), ("b", wrapped), ("c", several)):
        path = tools.write_json(tmp_path / f"{name}.json", content)
        joints, layout = read(path, size=size)
        assert layout == "mediapipe-33"
        np.testing.assert_allclose(joints, whole, **CLOSE)
        with pytest.raises(SkeletonError, match="size is not known. Mend: give its video, or --si"):
            read(path)
    sized = {"width": tools.WIDTH, "height": tools.HEIGHT, "frames": [*frames, None]}
    joints, _ = read(tools.write_json(tmp_path / "d.json", sized))
    np.testing.assert_allclose(joints, whole, **CLOSE)
    joints, _ = read(tools.write_mediapipe_csv(tmp_path / "a.csv", whole), size=size)
    np.testing.assert_allclose(joints, whole, **CLOSE)
    long = ["frame,landmark,x,y,z,visibility"]
    long += [
        f"{n},{joint},{each['x']},{each['y']},{each['z']},{each['visibility']}"
        for n, frame in enumerate(frames)
        for joint, each in enumerate(frame)
    ]
    (tmp_path / "long.csv").write_text("\n".join(long))
    np.testing.assert_allclose(read(tmp_path / "long.csv", size=size)[0], whole, **CLOSE)


def test_mediapipe_in_metres_needs_no_size(tmp_path: Path) -> None:
    world = [
        {"pose_world_landmarks": [{"x": 0.1 * n, "y": -0.2, "z": 0.3, "visibility": 1}] * 33}
        for n in range(5)
    ]
    found = read_keypoints(tools.write_json(tmp_path / "a.json", world))
    assert list(found) == ["metres"]
    np.testing.assert_allclose(found["metres"].positions[0, 4, 7], [0.4, -0.2, 0.3], rtol=1e-6)


def test_pixels_are_not_taken_for_shares(tmp_path: Path) -> None:
    frames = [[{"x": 320.0, "y": 200.0, "z": 0, "visibility": 1}] * 33]
    path = tools.write_json(tmp_path / "a.json", frames)
    with pytest.raises(SkeletonError, match="frame 0: coordinates are no shares of the picture"):
        read(path, size=(480, 640))


@pytest.fixture
def mouse() -> str:
    declare_layout(
        layout_from(
            "mouse-4",
            {"joints": list(tools.MOUSE), "bones": [list(b) for b in tools.MOUSE_BONES],
             "centre": "snout"},
        )
    )  # fmt: skip
    return "mouse-4"


def test_deeplabcut_with_one_animal_and_with_several(tmp_path: Path, mouse: str) -> None:
    whole = tools.moving(5, 4, people=2)
    path = tools.write_deeplabcut(tmp_path / "a.csv", whole[:1], tools.MOUSE)
    joints, layout = read(path)
    assert layout == mouse
    np.testing.assert_allclose(joints, whole[:1], **CLOSE)
    names = ["ear left", "tail"]
    with pytest.raises(SkeletonError, match=re.escape("2 joints (ear left, tail) are those of no")):
        read(tools.write_deeplabcut(tmp_path / "c.csv", whole[:1, :, :2], names))
    path = tools.write_deeplabcut(tmp_path / "b.csv", whole, tools.MOUSE, individuals=("m1", "m2"))
    np.testing.assert_allclose(read(path)[0], whole, **CLOSE)
    semicolons = path.read_text().replace(",", ";")
    (tmp_path / "d.csv").write_text(semicolons)
    np.testing.assert_allclose(read(tmp_path / "d.csv")[0], whole, **CLOSE)
    (tmp_path / "d.csv").write_text(semicolons.replace(".", ","))
    with pytest.raises(SkeletonError, match="line 5: found '.*,.*', expected a number. Mend"):
        read(tmp_path / "d.csv")
    places = path.read_text().replace("m2", "single").replace("snout", "corner", 1)
    (tmp_path / "e.csv").write_text(places)
    with pytest.raises(SkeletonError, match="columns of 'corner' do not stand together"):
        read(tmp_path / "e.csv")


def test_sleap_in_every_form(tmp_path: Path, mouse: str) -> None:
    whole = tools.moving(6, 4, people=2)
    whole[1, 3, 2] = np.nan
    for path in (
        tools.write_analysis(tmp_path / "a.h5", whole, tools.MOUSE),
        tools.write_slp(tmp_path / "a.slp", whole, tools.MOUSE),
        tools.write_sleap_csv(tmp_path / "a.csv", whole, tools.MOUSE),
    ):
        joints, layout = read(path)
        assert layout == mouse
        expected = whole.copy()
        if path.suffix == ".slp":
            # what a person placed stands for the prediction
            expected[:, 0] += 1
        np.testing.assert_allclose(joints, expected, **CLOSE)
        names, edges = read_joint_tree(path)
        assert set(names) == set(tools.MOUSE)
        assert edges == (() if path.suffix == ".csv" else tools.MOUSE_BONES)
    old = tools.write_slp(tmp_path / "old.slp", whole, tools.MOUSE, version=1.0)
    np.testing.assert_allclose(read(old)[0][:, 1], whole[:, 1] - 0.5, **CLOSE)
    with pytest.raises(SkeletonError, match="key points of 2 videos, expected one"):
        read(tools.write_slp(tmp_path / "two.slp", whole, tools.MOUSE, videos=2))


def test_hdf5_of_pandas_is_not_opened(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("df_with_missing").create_dataset("table", data=np.zeros(3))
    with pytest.raises(SkeletonError, match="head is a pickle and is never opened. Mend: give"):
        read(tmp_path / "a.h5")
    (tmp_path / "b.slp").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(SkeletonError, match="b.slp: not HDF5 of SLEAP, or damaged"):
        read(tmp_path / "b.slp")


def test_h5py_is_asked_for_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tools.write_slp(tmp_path / "a.slp", tools.moving(0, 4), tools.MOUSE)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(EnvironmentFault, match=r"h5py, .* is not installed. Mend: pip install 'po"):
        read(path)


def test_a_crash_while_reading_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tools.write_slp(tmp_path / "a.slp", tools.moving(0, 4), tools.MOUSE)
    monkeypatch.setattr("poselens.data.keypoints.read_file", crash)
    with pytest.raises(SkeletonError, match="reading it failed: the decoder crashed") as caught:
        read(path)
    assert caught.value.code == "SKEL-067"


def crash(_job: object) -> None:
    __import__("os")._exit(7)


def test_skeleton_files_may_be_key_points(tmp_path: Path) -> None:
    whole = tools.moving(1, 17)
    path = tools.write_json(tmp_path / "a.json", tools.coco_results(whole))
    np.testing.assert_allclose(read_skeleton(path)["pixels"].positions, whole, **CLOSE)
    folder = tools.write_openpose(tmp_path / "clip", tools.moving(1, 25))
    assert read_skeleton(folder, to_layout="coco-17")["pixels"].layout == "coco-17"


ENTRY = {"image_id": "0.jpg", "keypoints": [1, 2, 1] * 17, "idx": 1}


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("a.json", [ENTRY, ENTRY], "SKEL-061", "entry 1: person 1 is twice in frame 0. Mend: expo"),
        ("a.json", [ENTRY | {"keypoints": [1, 2]}], "SKEL-061", "entry 0: 2 numbers, expected x"),
        ("a.json", [ENTRY | {"keypoints": [1, 2, True]}], "SKEL-061", "expected a list of num"),
        ("a.json", [ENTRY | {"image_id": "99999.jpg"}], "SKEL-003", "100000 frames, the limit"),
        ("a.json", [ENTRY | {"idx": n} for n in range(33)], "SKEL-003", "33 people, the limit is"),
        ("a.json", [ENTRY | {"keypoints": [1, 2, 0] * 17}], "SKEL-010", "no joint in any of 1 fra"),
        ("a.json", [ENTRY | {"keypoints": [1e7, 2, 1] * 17}], "SKEL-008", "coordinate of 1e+07"),
        ("a.json", [ENTRY | {"image_id": "x.jpg"}], "SKEL-061", "picture 'x.jpg' has no number"),
        ("a.json", [ENTRY | {"keypoints": [1, 2, 1] * 19}], "SKEL-062", "19 joints are those of"),
        ("a.json", [ENTRY, ENTRY | {"keypoints": [1, 2, 1], "idx": 2}], "SKEL-061", "1 joints, 17"),
        ("a.json", {"image_id": 3, "annotations": 4}, "SKEL-061", "found no list of key points"),
        ("a.json", {"a": 1}, "SKEL-060", "of no known tool. Mend: give COCO or AlphaPose JSON"),
        ("a_keypoints.json", {"people": [{"pose_keypoints_2d": []}]}, "SKEL-060", "one frame of"),
        ("a.txt", {}, "SKEL-060", "of no known tool"),
    ],
)  # fmt: skip
def test_what_is_refused(
    tmp_path: Path, name: str, content: object, code: str, message: str
) -> None:
    path = tools.write_json(tmp_path / name, content)
    with pytest.raises(PoselensError, match=re.escape(message)) as caught:
        read_keypoints(path)
    assert caught.value.code == code
    assert name in str(caught.value)
    assert caught.value.mend


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,1_000,2,0.9", "line 4: found '1_000', expected a number"),
        ('0,"1,5",2,0.9', "line 4: found '1,5', expected a number. Mend: write decimal points"),
        ("0,1,2", "line 4: 3 fields, expected 4"),
        ("a,1,2,3", "line 4: found 'a', expected a frame number"),
        ("labeled-data/x/img001.png,1,2,3", "labelled pictures, not the frames of a video"),
        ("25000,1,2,3", "25001 frames, the limit is 20000"),
        ("0,1,2,3\n0,1,2,3", "line 5: frame 0 is there twice"),
        ("", "nobody is in any frame"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, line: str, message: str) -> None:
    head = "scorer,d,d,d\nbodyparts,nose,nose,nose\ncoords,x,y,likelihood\n"
    (tmp_path / "a.csv").write_text(head + line)
    with pytest.raises(SkeletonError, match=re.escape(message)):
        read_keypoints(tmp_path / "a.csv")


def test_options_that_cannot_be_read(tmp_path: Path) -> None:
    assert parse_size("640x480") == (480, 640)
    for text in ("640", "0x480", "640x480x3", "９x9", "1e3x2", "x"):
        with pytest.raises(UsageError, match="is no size. Mend: write WIDTHxHEIGHT"):
            parse_size(text)
    with pytest.raises(UsageError, match="unknown tool 'kinect'. Mend: use one of coco, openpose"):
        read_keypoints(tmp_path / "a.json", tool="kinect")
    with pytest.raises(SkeletonError, match="the key-point file is missing. Mend: check the path"):
        read_keypoints(tmp_path / "a.json")
    path = tools.write_json(tmp_path / "b.json", tools.coco_results(tools.moving(0, 17)))
    with pytest.raises(SkeletonError, match=re.escape("found 17 joints, expected 20 (kinect-20)")):
        read_keypoints(path, "kinect-20")
    assert json.loads(path.read_text())
