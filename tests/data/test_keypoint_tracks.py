import keypoint_files
import numpy as np
from crossings import scene

from poselens.data.folder import open_folder
from poselens.data.keypoint_clips import import_keypoints
from poselens.data.keypoint_tracks import people_of_slots
from poselens.types import Skeleton


def slots(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Poses of two people in whatever order each frame lists them, and the people themselves."""
    drawn = scene(seed, dropout=0.0, occlusion=2.0)
    positions = np.full((2, len(drawn.frames), 17, 2), np.nan, np.float32)
    for frame, poses in enumerate(drawn.frames):
        positions[: len(poses), frame] = poses
    return positions, drawn.truth


def apart(found: np.ndarray, truth: np.ndarray) -> float:
    """Largest median distance of a person found from the nearest true one, over the clip."""
    distances = np.nanmedian(np.linalg.norm(found[:, None] - truth[None], axis=-1), axis=-1)
    return float(np.nanmax(distances, axis=-1).min(axis=1).max())


def test_rows_become_people():
    positions, truth = slots(3)
    found = people_of_slots({"pixels": Skeleton(positions, "coco-17", "pixels")})["pixels"]
    assert found.positions.shape == positions.shape
    assert apart(positions, truth) > 100
    assert apart(found.positions, truth) < 20
    assert np.isfinite(found.positions).sum() == np.isfinite(positions).sum()


def test_one_space_says_who_is_who_in_both():
    positions, _ = slots(3)
    metres = np.concatenate([positions / 100, np.full((*positions.shape[:3], 1), 2)], axis=-1)
    found = people_of_slots(
        {
            "pixels": Skeleton(positions, "coco-17", "pixels"),
            "metres": Skeleton(metres.astype(np.float32), "coco-17", "metres"),
        }
    )
    np.testing.assert_allclose(
        found["metres"].positions[..., :2], found["pixels"].positions / 100, rtol=1e-6
    )


def test_of_many_the_longest_seen_are_kept_and_of_nobody_nothing_is_lost():
    brief = np.full((2, 6, 17, 2), np.nan, np.float32)
    brief[0, 0] = brief[1, 3] = np.random.default_rng(0).random((17, 2)) * 50
    brief[1, 3] += 500
    kept = people_of_slots({"pixels": Skeleton(brief, "coco-17", "pixels")})["pixels"]
    np.testing.assert_array_equal(kept.positions, brief)
    crowd = (
        np.random.default_rng(0).random((1, 1, 17, 2)) * 20
        + np.arange(40)[:, None, None, None] * 90
    )
    crowd = np.repeat(crowd, 5, axis=1).astype(np.float32)
    crowd[3, 3:] = np.nan
    kept = people_of_slots({"pixels": Skeleton(crowd, "coco-17", "pixels")})["pixels"]
    assert kept.positions.shape[0] == 32
    assert np.isfinite(kept.positions).all()


def test_openpose_people_are_told_apart_at_import(tmp_path):
    positions, truth = slots(3)
    body = np.full((*positions.shape[:2], 18, 2), np.nan, np.float32)
    body[:, :, :17] = positions
    for label in ("a", "b"):
        for clip in range(3):
            keypoint_files.write_openpose(tmp_path / "src" / label / f"{clip}", body)
    report = import_keypoints(tmp_path / "src", tmp_path / "out")
    assert report.imported == 6
    assert report.notes == [
        "6 files list people without saying who is who: they were told apart by where they are "
        "from frame to frame"
    ]
    stored = open_folder(tmp_path / "out").skeleton(0, "pixels")
    assert stored is not None
    assert apart(stored.positions[:, :, :17], truth) < 20
    assert apart(body[:, :, :17], truth) > 100


def test_one_person_needs_no_telling_apart(tmp_path):
    words, _, _ = keypoint_files.IMPORTING["openpose"](tmp_path)
    report = import_keypoints(words[1], tmp_path.parent / f"{tmp_path.name}-out")
    assert not any("who is who" in note for note in report.notes)
