import filecmp
from pathlib import Path

import numpy as np
import pytest

from poselens.data.folder import open_folder
from poselens.data.video import read_frames
from poselens.errors import SkeletonError, UsageError
from poselens.synth.actions import CLASSES
from poselens.synth.difficulty import DIFFICULTIES
from poselens.synth.make import Plan, make_dataset, part_of


def files_of(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_equal_seeds_give_equal_bytes_whatever_the_workers(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    calls: list[tuple[int, int]] = []
    make_dataset(one, clips=5, seed=3, workers=1)
    summary = make_dataset(
        two, clips=5, seed=3, workers=2, progress=lambda done, of: calls.append((done, of))
    )
    names = files_of(one)
    assert names == files_of(two)
    assert len(names) == 5 + 2 + 4
    same, changed, broken = filecmp.cmpfiles(one, two, names, shallow=False)
    assert (changed, broken) == ([], [])
    assert len(same) == len(names)
    assert calls == [(done, 5) for done in range(1, 6)]
    assert summary.clips == 5
    assert summary.parts == {"train": 5}


def test_the_folder_opens_and_its_videos_and_skeletons_have_one_length(tmp_path: Path) -> None:
    out = tmp_path / "set"
    summary = make_dataset(out, clips=2, seed=0, difficulty="easy", size=(96, 128), workers=1)
    folder = open_folder(out)
    assert folder.info.classes == list(CLASSES)
    total = 0
    for i in range(len(folder)):
        skeleton, path = folder.skeleton(i, "metres"), folder.video_path(i)
        assert skeleton is not None
        assert path is not None
        frames = read_frames(path, range(skeleton.frames))
        assert not frames.short
        assert frames.pixels.shape == (skeleton.frames, 96, 128, 3)
        with pytest.raises(AssertionError):
            np.testing.assert_array_equal(frames.pixels[0], frames.pixels[-1])
        total += skeleton.frames
    assert total == summary.frames


def test_classes_and_subjects_are_balanced_and_subjects_stay_in_one_part() -> None:
    plan = Plan(256, 0, DIFFICULTIES["easy"], (144, 192), None)
    orders = [plan.order(index)[0] for index in range(256)]
    counts = np.zeros((16, 9), dtype=int)
    for order in orders:
        counts[order.label, order.number] += 1
    assert (counts[:, 1:] == 2).all()
    assert [part_of(number) for number in range(1, 9)] == ["train"] * 5 + ["val"] + ["test"] * 2
    assert {part_of(order.number) for order in orders[:48]} == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clips": 0}, "clips is 0, expected 1 to 1000000"),
        ({"seed": -1}, "seed is -1"),
        ({"size": (145, 192)}, "height is 145, expected an even number"),
        ({"size": (144, 20)}, "width is 20, expected 64 to 2160"),
        ({"difficulty": "heard"}, "did you mean 'hard'"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_written(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        make_dataset(tmp_path / "set", **{"clips": 1, "seed": 0, **options})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_an_unusable_joint_file_leaves_nothing_behind(tmp_path: Path) -> None:
    text = tmp_path / "motion.npz"
    text.write_text("no")
    with pytest.raises(SkeletonError, match="not a joint file"):
        make_dataset(tmp_path / "set", clips=1, seed=0, motion=text)
    assert list(tmp_path.iterdir()) == [text]


def test_recorded_takes_drive_the_bodies_and_never_cross_parts(tmp_path: Path) -> None:
    names = [f"set_{action}_calm_{i}" for action in ("walk", "jump") for i in range(9)]
    joints = ["Hips", "Neck", "Head"]
    for side in "LR":
        limbs = ("UpperArm", "LowerArm", "Hand", "UpperLeg", "LowerLeg", "Foot", "Toes")
        joints += [f"{limb}_{side}" for limb in limbs]
    xyz = np.random.default_rng(0).normal(90.0, 30.0, size=(18 * 5, 17, 3)).astype(np.float16)
    motion = tmp_path / "motion.npz"
    np.savez(motion, names=names, lengths=np.full(18, 5), joints=joints, xyz=xyz)
    summary = make_dataset(tmp_path / "set", clips=16, seed=0, motion=motion, workers=1)
    folder = open_folder(tmp_path / "set")
    assert folder.info.classes == ["jump_calm", "walk_calm"]
    assert summary.frames == 16 * 4
    sources = folder.column("source")
    parts = [
        set(sources[folder.indices("cross-subject", part)]) for part in ("train", "val", "test")
    ]
    assert len(set.union(*parts)) == sum(len(names) for names in parts)
