"""The files of one clip's joints, damaged: refused in our own words or sound."""

import json
from pathlib import Path

import numpy as np
import pytest
from mutate import mutations, survive

from poselens.data.skeleton_file import read_skeleton, write_skeleton
from poselens.types import Skeleton


def sources(folder: Path, suffix: str) -> list[bytes]:
    draw = np.random.default_rng(0)
    found = []
    for people, frames in ((1, 3), (2, 5)):
        joints = draw.normal(size=(people, frames, 17, 3)).astype(np.float32)
        joints[0, 1, 4] = np.nan
        path = folder / f"good{people}{suffix}"
        if suffix == ".npy":
            np.save(path, joints)
        else:
            write_skeleton(path, {"metres": Skeleton(joints, "coco-17", "metres")})
        found.append(path.read_bytes())
    if suffix == ".json":
        clip = {"file_name": "a01", "skeletons": draw.normal(size=(4, 20, 3)).tolist(), "label": 1}
        found.append(json.dumps(clip).encode())
    return found


def sound(skeletons: object) -> None:
    assert isinstance(skeletons, dict)
    for skeleton in skeletons.values():
        assert not np.isinf(skeleton.positions).any()
        missing = np.isnan(skeleton.positions)
        assert (missing.all(axis=-1) == missing.any(axis=-1)).all()


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".json"])
def test_damaged_joints(tmp_path, suffix):
    layout = "coco-17" if suffix == ".npy" else None
    tally = survive(
        lambda path: read_skeleton(path, layout),
        sources(tmp_path, suffix),
        tmp_path / f"x{suffix}",
        text=suffix == ".json",
        sound=sound,
    )
    assert tally.refused
    assert tally.accepted


def test_the_same_seed_damages_alike():
    good = [b"4\n1\n72057594037931101 0 1 1\n25\n0.25 1.5 3\n" * 30]
    for text in (True, False):
        first = list(mutations(good, 60, text=text))
        assert first == list(mutations(good, 60, text=text))
        assert first != list(mutations(good, 60, text=text, seed=1))
        assert len({name.split("+")[0] for name, _ in first}) == 14
        assert sum(damaged != good[0] for _, damaged in first) > 50


def test_a_reader_that_lets_another_error_escape_is_found(tmp_path):
    with pytest.raises(AssertionError, match="ValueError"):
        survive(
            lambda path: float(path.read_bytes()),
            [b"1.5"],
            tmp_path / "x",
            text=True,
            sound=lambda value: None,
        )
