import os
from pathlib import Path

import numpy as np
import pytest

from poselens.errors import SkeletonError
from poselens.synth.body import subject
from poselens.synth.clip import Order, draw_clip
from poselens.synth.difficulty import DIFFICULTIES
from poselens.synth.make import takes_of
from poselens.synth.motions import LONGEST, load_motions, retarget

JOINTS = [
    *("joint_Root", "Hips", "Spine", "Chest", "Neck", "Head"),
    *("Shoulder_L", "UpperArm_L", "LowerArm_L", "Hand_L"),
    *("Shoulder_R", "UpperArm_R", "LowerArm_R", "Hand_R"),
    *("UpperLeg_L", "LowerLeg_L", "Foot_L", "Toes_L"),
    *("UpperLeg_R", "LowerLeg_R", "Foot_R", "Toes_R"),
]


def joint_file(path: Path, **changes: object) -> Path:
    """Write ten takes of two classes: a body of random but connected joints."""
    rng = np.random.default_rng(0)
    names = [f"set-1_walk_calm_{i:03d}" for i in range(1, 11)]
    names += [f"set-1_wave_calm_{i:03d}" for i in range(1, 11)]
    lengths = np.full(len(names), 30)
    xyz = rng.normal((0.0, 90.0, 0.0), 30.0, size=(int(lengths.sum()), 22, 3))
    content = {"names": names, "lengths": lengths, "joints": JOINTS, "xyz": xyz.astype("f2")}
    content.update(changes)
    np.savez(path, **{key: np.asarray(value) for key, value in content.items()})
    return path


def test_takes_become_classes_of_action_and_style(tmp_path: Path) -> None:
    motions = load_motions(joint_file(tmp_path / "m.npz"))
    assert motions.classes == ("walk_calm", "wave_calm")
    assert motions.take(0).shape == (24, 17, 3)
    assert motions.block(7) == "walk_calm-002"


def test_retargeting_keeps_directions_and_takes_the_bones_of_the_body(tmp_path: Path) -> None:
    motions = load_motions(joint_file(tmp_path / "m.npz"))
    take, body = motions.take(3), subject(0, 5).body
    figure = retarget(take, body)
    bone = figure.at("left_elbow") - figure.at("left_shoulder")
    np.testing.assert_allclose(np.linalg.norm(bone, axis=-1), body.upper_arm, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(figure.face, axis=-1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("count", [3, 4, 5, 8, 17, 23, 24, 25, 40, 104])
def test_every_part_has_takes_and_no_block_is_in_two(tmp_path: Path, count: int) -> None:
    names = [f"set-1_walk_calm_{i:03d}" for i in range(count)]
    xyz = np.zeros((2 * count, 22, 3), dtype="f2")
    path = joint_file(tmp_path / "m.npz", names=names, lengths=[2] * count, xyz=xyz)
    motions = load_motions(path)
    parts = [takes_of(motions, 0, part).tolist() for part in ("train", "val", "test")]
    assert all(parts)
    assert sorted(take for part in parts for take in part) == list(range(count))
    blocks = [{motions.block(take) for take in part} for part in parts]
    assert len(set.union(*blocks)) == sum(len(names) for names in blocks)


def test_a_class_of_two_takes_cannot_be_parted(tmp_path: Path) -> None:
    names = [f"set-1_walk_calm_{i:03d}" for i in range(18)] + ["s_run_odd_1", "s_run_odd_2"]
    with pytest.raises(SkeletonError, match="class 'run_odd' has 2 takes, expected at least 3"):
        load_motions(joint_file(tmp_path / "m.npz", names=names))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"names": ["walk"] * 20}, "take 'walk' is not named SET_ACTION_STYLE_NUMBER"),
        ({"joints": ["Pelvis", *JOINTS[2:], "Tail"]}, "joint 'Hips' is missing"),
        ({"lengths": np.full(20, 31)}, r"expected \(620, 22, 3\)"),
    ],
)
def test_contradicting_joint_files_are_refused(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    path = joint_file(tmp_path / "m.npz", **changes)
    with pytest.raises(SkeletonError, match=words) as caught:
        load_motions(path)
    assert caught.value.code == "SKEL-031"


def test_files_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.npz"
    text.write_text("<html>")
    part = tmp_path / "part.npz"
    part.write_bytes(joint_file(tmp_path / "m.npz").read_bytes()[:5000])
    np.savez(tmp_path / "other.npz", data=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", names=np.array([{}], dtype=object))
    np.save(tmp_path / "plain.npy", np.zeros(3))
    others = [tmp_path / name for name in ("other.npz", "pickle.npz", "plain.npy", "none", ".")]
    for path in (text, part, *others):
        with pytest.raises(SkeletonError, match="not a joint file") as caught:
            load_motions(path)
        assert caught.value.code == "SKEL-030"


@pytest.mark.shared
def test_recorded_motion_stands_on_the_floor_and_in_the_picture() -> None:
    beside = Path(__file__).parents[2].parent / "shared"
    path = Path(os.environ.get("POSELENS_SHARED", beside)) / "data/bandai2/bandai2_joints.npz"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    motions = load_motions(path)
    assert len(motions.classes) == 70
    assert len(motions.labels) == 2902
    for take in (0, 700, 1500, 2500):
        joints = motions.take(take)
        assert len(joints) <= LONGEST
        label = int(motions.labels[take])
        clip = draw_clip(Order(0, take, label, 1, DIFFICULTIES["easy"], (144, 192), joints))
        inside = (clip.pixels > 0).all(-1) & (clip.pixels < [192, 144]).all(-1)
        assert inside.mean() > 0.97
