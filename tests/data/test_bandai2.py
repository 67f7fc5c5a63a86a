from pathlib import Path

import numpy as np
import pytest

from poselens.data.bandai2 import CLASSES, JOINTS, import_bandai2, parted
from poselens.data.folder import open_folder
from poselens.errors import AnnotationError, PoselensError, SkeletonError, UsageError


def write_source(path: Path, **change: object) -> Path:
    """Twenty takes of one class, two of another, in centimetres, and a stranger."""
    names = [f"dataset-2_walk-turn-left_active_{n:03d}" for n in range(1, 21)]
    names += ["dataset-2_run_normal_001", "dataset-2_run_normal_002", "dataset-2_jump_normal_001"]
    xyz = np.random.default_rng(0).uniform(-200, 200, (3 * len(names), 22, 3)).astype(np.float16)
    content = {
        "names": np.array(names[::-1]),
        "lengths": np.full(len(names), 3),
        "joints": np.array(JOINTS),
        "xyz": xyz,
    }
    np.savez(path, **(content | change))
    return path


def test_takes_become_clips_in_metres(tmp_path: Path) -> None:
    source = write_source(tmp_path / "bandai2_joints.npz")
    report = import_bandai2(source, tmp_path / "out")
    assert report.imported == 22
    assert [(entry.code, entry.file) for entry in report.skipped] == [
        ("DATA-021", "dataset-2_jump_normal_001")
    ]
    folder = open_folder(tmp_path / "out")
    assert folder.ids[:2].tolist() == ["run_normal_001", "run_normal_002"]
    clip = folder.index_of("walk-turn-left_active_001")
    assert folder.info.classes[folder.labels[clip]] == "walk-turn-left_active"
    skeleton = folder.skeleton(clip, "metres")
    assert skeleton is not None
    assert (skeleton.layout, skeleton.positions.dtype) == ("bandai-22", np.float32)
    # names are stored backwards: this take is the third from the end
    stored = np.load(source)["xyz"].astype(np.float32)
    row = 3 * np.load(source)["names"].tolist().index("dataset-2_walk-turn-left_active_001")
    np.testing.assert_allclose(skeleton.positions[0], stored[row : row + 3] / 100, rtol=1e-6)
    assert folder.info.mirror["walk-turn-left_active"] == "walk-turn-right_active"
    assert folder.info.mirror["raise-up-both-hands_elderly"] == "raise-up-both-hands_elderly"
    (tmp_path / "again").mkdir()
    import_bandai2(tmp_path, tmp_path.parent / f"{tmp_path.name}-again")
    again = open_folder(tmp_path.parent / f"{tmp_path.name}-again")
    assert again.fingerprint() == folder.fingerprint()


def test_a_class_is_cut_in_the_order_of_its_takes_with_a_gap_at_each_border() -> None:
    parts, blocks = parted(np.zeros(20, np.int64))
    assert parts == ["train"] * 12 + [None] + ["val"] * 2 + [None] + ["test"] * 4
    assert blocks == [0] * 5 + [1] * 5 + [2] * 2 + [3] + [4] * 2 + [5] + [6] * 4
    # a class of two takes has no test part; nothing fails
    assert parted(np.ones(2, np.int64))[0] == ["train", None]


def test_mirroring_twice_is_no_change() -> None:
    from poselens.data.bandai2 import _info

    mirror = _info().mirror
    assert isinstance(mirror, dict)
    assert set(mirror) == set(CLASSES)
    assert all(mirror[mirror[name]] == name for name in CLASSES)
    assert sum(mirror[name] != name for name in CLASSES) == 6 * 7


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"xyz": np.zeros((69, 21, 3))}, SkeletonError, r"expected \(rows, 22, 3\) of floats"),
        ({"joints": np.array(JOINTS[::-1])}, AnnotationError, "not those of bandai-22"),
        ({"lengths": np.full(22, 3)}, AnnotationError, "names and lengths do not match"),
        ({"lengths": np.full(23, 4)}, AnnotationError, "add up to 92, but there are 69 rows"),
        ({"names": np.full(23, "a_run_normal_001")}, AnnotationError, "a name is there twice"),
        ({"names": np.array([f"x{n}" for n in range(23)])}, AnnotationError, "nothing to import"),
    ],
)
def test_damaged_archives(tmp_path: Path, change: dict, kind: type, message: str) -> None:
    write_source(tmp_path / "bandai2_joints.npz", **change)
    with pytest.raises(kind, match=message) as caught:
        import_bandai2(tmp_path / "bandai2_joints.npz", tmp_path / "out")
    assert isinstance(caught.value, PoselensError)
    assert not (tmp_path / "out").exists()


def test_wrong_places(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the source does not exist"):
        import_bandai2(tmp_path / "none", tmp_path / "out")
    with pytest.raises(UsageError, match="the output lies inside the source"):
        import_bandai2(tmp_path, tmp_path / "out")
    (tmp_path / "src").mkdir()
    with pytest.raises(AnnotationError, match=r"bandai2_joints.npz: the file is missing"):
        import_bandai2(tmp_path / "src", tmp_path / "out")
    source = write_source(tmp_path / "src/bandai2_joints.npz")
    with pytest.raises(UsageError, match="the output lies inside the source"):
        import_bandai2(source, source)
    np.savez(source, names=np.array(["a"]))
    with pytest.raises(AnnotationError, match="array 'lengths' is missing"):
        import_bandai2(source, tmp_path / "out")
