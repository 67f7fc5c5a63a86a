"""From bodies to people, as loops over bodies, frames and joints."""

import math

import numpy as np
import pytest
from ntu_files import Tracked, actor, table

from poselens.data.ntu_bodies import people
from poselens.data.ntu_skeleton import NtuSkeleton


def tracked(seed: int) -> tuple[int, list[Tracked]]:
    """People, ghosts and furniture that come, go and return under other ids."""
    draw = np.random.default_rng(seed)
    frames = int(draw.integers(20, 60))
    bodies = []
    for name in range(int(draw.integers(1, 7))):
        start = int(draw.integers(0, frames - 1))
        length = int(draw.integers(1, frames - start + 1))
        joints = (
            table(length)
            if draw.random() < 0.25
            else actor(length, seed=seed * 10 + name, reach=draw.uniform(0, 0.6))
        )
        joints[draw.random(joints.shape[:2]) < 0.03] = np.nan
        gone = [start + int(at) for at in np.flatnonzero(draw.random(length) < 0.1)]
        if len(gone) < length:
            bodies.append(Tracked(name, start, joints, gone=gone))
    return frames, bodies


def as_read(frames: int, bodies: list[Tracked]) -> NtuSkeleton:
    rows = [
        (frame, str(body.name), body.joints_metres[frame - body.start].astype(np.float32))
        for frame in range(frames)
        for body in bodies
        if 0 <= frame - body.start < len(body.joints_metres) and frame not in body.gone
    ]
    metres = np.stack([joints for _, _, joints in rows])
    names = tuple(name for _, name, _ in rows)
    return NtuSkeleton(frames, np.array([f for f, _, _ in rows]), names, metres, metres[..., :2])


def variance(points: list[list[float]]) -> float:
    total = 0.0
    for axis in range(3):
        values = [point[axis] for point in points]
        mean = sum(values) / len(values) if values else 0.0
        total += sum((value - mean) ** 2 for value in values) / max(len(values), 1)
    return total


def known(joints) -> list[list[float]]:
    return [[float(x) for x in joint] for joint in joints if not math.isnan(joint[0])]


def noisy(joints) -> bool:
    points = known(joints)
    if not points:
        return True
    x, y = [point[0] for point in points], [point[1] for point in points]
    return not max(x) - min(x) <= 0.8 * (max(y) - min(y))


def by_loops(skeleton: NtuSkeleton) -> list[dict[int, np.ndarray]]:
    """The people as tables from frame to joints."""
    seen: dict[str, dict[int, np.ndarray]] = {}
    for frame, name, joints in zip(
        skeleton.frame, skeleton.body, skeleton.joints_metres, strict=True
    ):
        seen.setdefault(name, {})[int(frame)] = joints
    left = list(seen)
    if len(left) > 1:
        long = [name for name in left if len(seen[name]) > 11]
        left = long if long else left
    moves = {
        name: variance([p for joints in seen[name].values() for p in known(joints)])
        for name in left
    }
    for name in list(left):
        if len(left) == 1:
            break
        good = [joints for joints in seen[name].values() if not noisy(joints)]
        if 1 - len(good) / len(seen[name]) >= 0.69754:
            left.remove(name)
        else:
            steady = variance([p for joints in good for p in known(joints)])
            moves[name] = min(moves[name], steady)
    tracks: list[dict[int, np.ndarray]] = []
    for name in sorted(left, key=lambda name: -moves[name]):
        mine = seen[name]
        for track in tracks:
            if min(max(track), max(mine)) - max(min(track), min(mine)) <= 0:
                for frame, joints in mine.items():
                    track.setdefault(frame, joints)
                break
        else:
            if len(tracks) < 2:
                tracks.append(dict(mine))
    return tracks


@pytest.mark.parametrize("seed", range(60))
def test_people_are_those_of_the_loops(seed: int) -> None:
    frames, bodies = tracked(seed)
    if not bodies:
        pytest.skip("nobody was drawn")
    skeleton = as_read(frames, bodies)
    metres, pixels = people(skeleton)
    expected = by_loops(skeleton)
    assert len(metres) == len(pixels) == len(expected)
    for person, track in enumerate(expected):
        for frame in range(frames):
            if frame in track:
                np.testing.assert_array_equal(metres[person, frame], track[frame])
                np.testing.assert_array_equal(pixels[person, frame], track[frame][:, :2])
            else:
                assert np.isnan(metres[person, frame]).all()
                assert np.isnan(pixels[person, frame]).all()


def test_the_drawn_cases_use_every_rule() -> None:
    sizes, dropped, joined = set(), 0, 0
    for seed in range(60):
        frames, bodies = tracked(seed)
        if not bodies:
            continue
        skeleton = as_read(frames, bodies)
        found = by_loops(skeleton)
        sizes.add(len(found))
        shown = sum(len(track) for track in found)
        dropped += shown < len(skeleton.frame)
        ids = set(skeleton.body)
        joined += len(ids) > len(found) and shown == len(skeleton.frame)
    assert sizes == {1, 2}
    assert dropped > 10
    assert joined > 1
