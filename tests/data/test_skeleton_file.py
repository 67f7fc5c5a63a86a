import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselens.data.skeleton_file import read_skeleton, read_ucla_json, write_skeleton
from poselens.errors import PoselensError, SkeletonError, UsageError
from poselens.types import Skeleton

COCO = np.random.default_rng(0).random((2, 4, 17, 2), dtype=np.float32)
METRES = np.random.default_rng(1).random((2, 4, 17, 3), dtype=np.float32)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    positions = COCO.copy()
    positions[1, 2, 5] = np.nan
    path = tmp_path / f"clip{suffix}"
    write_skeleton(
        path,
        {
            "pixels": Skeleton(positions, "coco-17", "pixels"),
            "metres": Skeleton(METRES, "coco-17", "metres"),
        },
    )
    first = path.read_bytes()
    found = read_skeleton(path)
    np.testing.assert_array_equal(found["pixels"].positions, positions)
    np.testing.assert_array_equal(found["metres"].positions, METRES)
    assert (found["metres"].layout, found["metres"].space) == ("coco-17", "metres")
    write_skeleton(path, found)
    assert path.read_bytes() == first
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_npy_with_and_without_people(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", COCO)
    np.save(tmp_path / "b.npy", np.asfortranarray(METRES[0].astype(np.float64)))
    np.testing.assert_array_equal(
        read_skeleton(tmp_path / "a.npy", "coco-17")["pixels"].positions, COCO
    )
    np.testing.assert_array_equal(
        read_skeleton(tmp_path / "b.npy", "coco-17")["metres"].positions, METRES[:1]
    )


def test_ucla_json(tmp_path: Path) -> None:
    joints = np.ones((3, 20, 3))
    joints[1, 4] = 0
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"file_name": "a", "skeletons": joints.tolist(), "label": 3}))
    positions, label = read_ucla_json(path)
    assert label == 3
    assert positions.shape == (3, 20, 3)
    assert np.isnan(positions).sum() == 3
    assert np.isnan(positions[1, 4]).all()
    found = read_skeleton(path)["metres"]
    assert found.layout == "ucla-20"
    np.testing.assert_array_equal(found.positions[0], positions)


def test_json_null_and_nan_are_missing(tmp_path: Path) -> None:
    frame = [[1.0, 2.0]] * 16
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps({"layout": "coco-17", "pixels": [[*frame, [None, 3.0]], [*frame, [1e39, 0]]]})
    )
    positions = read_skeleton(path)["pixels"].positions
    assert np.isnan(positions[0, :, 16]).all()
    assert np.isfinite(positions[0, :, :16]).all()


@pytest.mark.parametrize(
    ("array", "code", "message"),
    [
        (COCO[:, :, :16], "SKEL-004", "found 16 joints, expected 17"),
        (np.ones((2, 20, 3)), "SKEL-004", "these joints fit kinect-20 or ucla-20"),
        (COCO[0, 0], "SKEL-005", r"float32 of shape \(17, 2\), expected numbers"),
        (COCO[..., :1], "SKEL-005", "found 1 coordinates"),
        (COCO > 0, "SKEL-005", "bool of shape"),
        (np.full((2, 17, 2), "x"), "SKEL-005", "<U1 of shape"),
        (COCO[:, :0], "SKEL-005", r"found shape \(2, 0, 17, 2\)"),
        (np.full_like(COCO, np.nan), "SKEL-010", "no joint in any of 4 frames"),
        (np.full_like(COCO, np.inf), "SKEL-010", "no joint in any of 4 frames"),
        (COCO * 1e8, "SKEL-008", r"a coordinate of .*e\+0., the limit is 1e\+06"),
        (np.zeros((20_001, 17, 2), np.float16), "SKEL-003", "20001 frames, the limit is 20000"),
        (np.zeros((33, 1, 17, 2)), "SKEL-003", "33 people, the limit is 32"),
    ],
)
def test_unusable_joints(tmp_path: Path, array: np.ndarray, code: str, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(SkeletonError, match=message) as caught:
        read_skeleton(tmp_path / "a.npy", "coco-17")
    assert caught.value.code == code


def save_objects(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive, archive.open("pixels.npy", "w") as member:
        np.lib.format.write_array(member, np.array([{}], dtype=object), allow_pickle=True)


def save_claim(path: Path) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 17, 2), }"
    start = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    path.write_bytes(start + header.ljust(117).encode() + b"\n" + bytes(100))


def save_bomb(path: Path) -> None:
    np.savez_compressed(path, pixels=np.zeros((20_000_000,), np.float32))


def save_misplaced(path: Path) -> None:
    np.savez(path, pixels=COCO)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"PK\x01\x02")] + content[-22:])


@pytest.mark.parametrize(
    ("name", "make", "code", "message"),
    [
        ("a.npz", save_objects, "SKEL-002", "pixels.npy: an object array, which is a pickle"),
        ("a.npy", save_claim, "SKEL-002", "header claims 136000000000000 bytes of data, found 100"),
        ("a.npz", save_bomb, "SKEL-002", "times its size, the limit is 200"),
        ("a.npz", lambda path: path.write_bytes(b"PK"), "SKEL-002", "not an .npz archive"),
        ("a.npz", save_misplaced, "SKEL-002", "not an .npz archive, or damaged"),
        ("a.npy", lambda path: path.write_bytes(b"x" * 99), "SKEL-002", "not an .npy array"),
        ("a.json", lambda path: path.write_text(""), "SKEL-002", r"empty \(0 bytes\)"),
        ("a.json", lambda path: path.write_text("[" * 10**5), "SKEL-002", "not valid JSON"),
        ("a.json", lambda path: path.write_text("[]"), "SKEL-002", "expected a JSON object"),
        ("a.json", lambda path: path.write_text("{}"), "SKEL-002", "neither pixels nor metres"),
        ("a.json", lambda path: path.write_text('{"a":1,"a":2}'), "SKEL-002", "there twice"),
        ("a.json", lambda path: path.write_text('{"skeletons":1}'), "SKEL-005", r"shape \(\)"),
        ("a.json", lambda path: path.write_text('{"pixels":[[1],2]}'), "SKEL-005", "not an even"),
        ("a.json", lambda path: path.write_bytes(b"\xff\xfe{"), "SKEL-002", "not valid JSON"),
        ("a.pkl", lambda path: path.write_bytes(b"x"), "SKEL-002", "unknown kind .* '.pkl'"),
        ("a.npy", lambda path: path.mkdir(), "SKEL-002", "not a regular file"),
        ("a.npy", os.mkfifo, "SKEL-002", "not a regular file"),
        ("a.npy", lambda path: None, "SKEL-001", "the skeleton file is missing"),
    ],
)  # fmt: skip
def test_unusable_files(tmp_path: Path, name: str, make, code: str, message: str) -> None:
    make(tmp_path / name)
    with pytest.raises(SkeletonError, match=message) as caught:
        read_skeleton(tmp_path / name, "coco-17")
    assert caught.value.code == code
    assert str(tmp_path / name) in str(caught.value)


def test_file_over_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    with pytest.raises(SkeletonError, match="67108865 bytes, the limit is 67108864") as caught:
        read_skeleton(path, "coco-17")
    assert caught.value.code == "SKEL-003"


def test_declared_size_over_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pixels.npy", b"x")
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02") + 24
    content[place : place + 4] = (3 * 2**30).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(SkeletonError, match="declares 3221225472 bytes, the limit is 2147483648"):
        read_skeleton(path)


def test_layout_is_needed_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pixels=COCO)
    with pytest.raises(SkeletonError, match=r"does not name its joint layout.*with a layout"):
        read_skeleton(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", pixels=COCO, layout="coco-17")
    with pytest.raises(SkeletonError, match="layout is 'coco-17', not 'ntu-25'") as caught:
        read_skeleton(tmp_path / "b.npz", "ntu-25")
    assert caught.value.code == "SKEL-006"
    with pytest.raises(UsageError, match="unknown joint layout 'coco'"):
        read_skeleton(tmp_path / "a.npz", "coco")
    np.savez(tmp_path / "c.npz", pixels=COCO, layout="coco17")
    with pytest.raises(SkeletonError, match=r"c.npz: unknown joint layout.*mean 'coco-17'"):
        read_skeleton(tmp_path / "c.npz")


def test_spaces_of_different_length(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pixels=COCO, metres=METRES[:, :3], layout="coco-17")
    with pytest.raises(SkeletonError, match="pixels and metres differ in people or frames"):
        read_skeleton(tmp_path / "a.npz")


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot write a skeleton as '.txt'") as caught:
        write_skeleton(tmp_path / "a.txt", {"pixels": Skeleton(COCO, "coco-17", "pixels")})
    assert caught.value.code == "CFG-005"
    with pytest.raises(UsageError, match="one joint layout is needed, found 0"):
        write_skeleton(tmp_path / "a.npz", {})


@pytest.mark.parametrize("suffix", [".npz", ".json", ".npy"])
@given(data=st.data())
def test_no_damage_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damaged") / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, COCO[:, :1])
    else:
        write_skeleton(path, {"pixels": Skeleton(COCO[:, :1], "coco-17", "pixels")})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        how = data.draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
        if how == "flip":
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        elif how == "cut":
            content = content[: place + 1]
        elif how == "insert":
            content[place:place] = data.draw(st.sampled_from([b"9" * 20, b"\0", b"(", b"-", b"'"]))
        else:
            content += content[place : place + 64]
    path.write_bytes(content)
    try:
        found = read_skeleton(path, "coco-17")
    except PoselensError:
        return
    for skeleton in found.values():
        assert not np.isinf(skeleton.positions).any()
        assert skeleton.coverage > 0


def test_damaged_json_is_told_with_its_place(tmp_path):
    path = tmp_path / "a.json"
    for text, place in (
        (b'{"layout": "coco-17",\n "pixels": [}', "line 2 column 13"),
        (b'{"pixels": 1, "pixels": 2}', "key 'pixels'"),
        (b'{"pixels": "\xff"}', "byte 12"),
    ):
        path.write_bytes(text)
        with pytest.raises(SkeletonError, match="valid JSON|twice") as caught:
            read_skeleton(path)
        assert caught.value.where == place
