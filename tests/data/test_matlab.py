"""MATLAB's numeric arrays, against SciPy's own writer."""

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from mutate import survive
from scipy.io import savemat
from utd_mat_files import moving_joints, write_skeleton_mat

from poselens.data.matlab import read_matlab
from poselens.data.utd_mhad_original import read_joints
from poselens.errors import AnnotationError, SkeletonError


def refuse(text: str) -> AnnotationError:
    return AnnotationError("DATA-045", text)


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_of_every_type_come_back(tmp_path: Path, compressed: bool) -> None:
    draw = np.random.default_rng(0)
    wanted = {
        kind: draw.integers(0, 100, (3, 4, 5)).astype(kind)
        for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8")
    }
    wanted |= {"tiny": np.uint8([[1, 2]]), "row": np.arange(7.0)[None]}
    others = {"text": "hello", "cell": np.array([1, "a"], object), "deep": {"a": 1}}
    path = tmp_path / "a.mat"
    savemat(path, wanted | others, do_compression=compressed)
    found = read_matlab(path, list(wanted), refuse)
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def test_variables_that_are_no_real_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"text": "hello", "cell": np.array([1, 2], object), "z": np.ones((2, 2)) * 1j})
    for name in ("text", "cell", "z"):
        with pytest.raises(AnnotationError, match=f"'{name}' is no array of real numbers"):
            read_matlab(path, [name], refuse)


def one_matrix(shape: tuple[int, int], claimed: int, numbers: bytes) -> bytes:
    body = struct.pack("<4I", 6, 8, 6, 0) + struct.pack("<2I2i", 5, 8, *shape)
    body += struct.pack("<2I", 1, 1) + b"x".ljust(8, b"\0")
    body += struct.pack("<2I", 9, claimed) + numbers
    return b"MATLAB 5.0".ljust(124) + b"\0\1IM" + struct.pack("<2I", 14, len(body)) + body


def test_claims_are_compared_with_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(one_matrix((1, 2), 16, bytes(16)))
    assert read_matlab(path, "x", refuse)["x"].shape == (1, 2)
    head = b"MATLAB 5.0".ljust(124) + b"\0\1IM"
    bomb = zlib.compress(bytes(70_000_000), 9)
    for content, message in (
        (one_matrix((2**30, 2**30), 16, bytes(16)), "claims (1073741824, 1073741824), found 16"),
        (one_matrix((1, 2), 4_000_000_000, bytes(16)), "an element claims 4000000000 bytes"),
        (one_matrix((1, -2), 16, bytes(16)), "claims (1, -2)"),
        (head + struct.pack("<2I", 15, len(bomb)) + bomb, "unpacks to more than 67108864 bytes"),
        (head + struct.pack("<2I", 15, 4) + b"abcd", "a compressed variable is damaged"),
        (head + b"123", "cut short"),
        (b"MATLAB 7.3 MAT-file".ljust(200), "saved as version 7.3, which is HDF5"),
        (b"hello" * 50, "not a MATLAB version 5 file"),
    ):
        path.write_bytes(content)
        with pytest.raises(AnnotationError, match=re.escape(message)):
            read_matlab(path, "x", refuse)


def test_joints_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a1_s1_t1_skeleton.mat"
    write_skeleton_mat(path, np.ones((5, 19, 3)))
    with pytest.raises(SkeletonError, match=r"found \(19, 3, 5\), expected \(20, 3, frames\)"):
        read_joints(path)
    savemat(path, {"skel": np.ones(3)})
    with pytest.raises(AnnotationError, match=r"skeleton.mat: no variable 'd_skel'. Mend: give"):
        read_joints(path)
    write_skeleton_mat(path, np.ones((20_001, 20, 3)))
    with pytest.raises(SkeletonError, match="20001 frames, the limit is 20000"):
        read_joints(path)
    with pytest.raises(AnnotationError, match=r"gone.mat: the file is missing"):
        read_joints(tmp_path / "gone.mat")


def test_damaged_files(tmp_path: Path) -> None:
    sources = []
    for frames, compressed in ((3, True), (5, False), (4, True)):
        joints = moving_joints(frames, 1, frames)
        joints[1, 4] = 0
        joints[0, 2] = np.nan
        write_skeleton_mat(tmp_path / "good.mat", joints, compressed=compressed)
        sources.append((tmp_path / "good.mat").read_bytes())

    def sound(joints: object) -> None:
        assert isinstance(joints, np.ndarray)
        assert not np.isinf(joints).any()
        missing = np.isnan(joints)
        assert (missing.all(axis=-1) == missing.any(axis=-1)).all()

    tally = survive(read_joints, sources, tmp_path / "x.mat", text=False, sound=sound)
    assert tally.refused
    assert tally.accepted
