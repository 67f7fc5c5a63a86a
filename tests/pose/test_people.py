"""Several people are found, kept apart, picked up when they come and let go when they leave."""

import numpy as np
import pytest

from poselens.errors import UsageError
from poselens.pose.layouts import get_layout
from poselens.pose.people import DetectedPeople, SweptPeople, kept_people, sweep
from poselens.pose.similarity import sigmas_of
from poselens.types import Box

LAYOUT = get_layout("coco-17")
SIGMAS = sigmas_of("coco-17", 17)
_UPPER = [(0, -60), (4, -64), (-4, -64), (8, -62), (-8, -62), (20, -40), (-20, -40), (24, -10)]
_LOWER = [(-24, -10), (26, 15), (-26, 15), (14, 20), (-14, 20), (14, 60), (-14, 60)]
BODY = np.array([*_UPPER, *_LOWER, (14, 100), (-14, 100)], float)


class Room:
    """People at known places; a look sees whoever is nearest the middle of the square."""

    def __init__(self, places):
        self.places = places
        self.frame = 0
        self.looks = 0

    def frames(self, count, size=(480, 900)):
        for self.frame in range(count):
            yield np.zeros((*size, 3), np.uint8)

    def look(self, frame, square):
        self.looks += 1
        middle = np.array([(square.left + square.right) / 2, (square.top + square.bottom) / 2])
        found = np.zeros((17, 3), np.float32)
        people = self.places(self.frame)
        near = [np.linalg.norm(np.array(place) - middle) for place in people]
        if people and min(near) < square.width / 2:
            found[:, :2] = BODY + people[int(np.argmin(near))]
            found[:, 2] = 0.9
        return found


def test_two_people_are_followed_each():
    room = Room(lambda frame: [(150 + 3 * frame, 240), (700 - 3 * frame, 250)])
    pose = SweptPeople(room.look).estimate(room.frames(40))
    assert pose.skeleton.positions.shape == (2, 40, 17, 2)
    assert (pose.skeleton.layout, pose.scores.shape) == ("coco-17", (2, 40, 17))
    for person, (start, step) in enumerate([(150, 3), (700, -3)]):
        nose = pose.skeleton.positions[person, :, 0, 0]
        np.testing.assert_allclose(nose, start + step * np.arange(40), atol=1e-3)


def test_between_sweeps_only_the_people_known_are_looked_for():
    room = Room(lambda _: [(300, 240)])
    SweptPeople(room.look, every=10).estimate(room.frames(10))
    squares = len(sweep((480, 900)))
    assert room.looks == squares + 1 + 9


def test_who_comes_later_is_found_at_the_next_sweep_and_who_leaves_is_gone():
    def places(frame):
        return [(200, 240)] * (frame < 30) + [(650, 240)] * (frame >= 12)

    room = Room(places)
    pose = SweptPeople(room.look, every=10).estimate(room.frames(60))
    seen = np.isfinite(pose.skeleton.positions).all(axis=(2, 3))
    assert seen.shape == (2, 60)
    assert np.flatnonzero(seen[0]).tolist() == list(range(30))
    assert np.flatnonzero(seen[1]).tolist() == list(range(20, 60))


def test_an_empty_room():
    room = Room(lambda _: [])
    pose = SweptPeople(room.look).estimate(room.frames(5))
    assert pose.skeleton.positions.shape == (0, 5, 17, 2)
    with pytest.raises(UsageError, match="no frames") as caught:
        SweptPeople(room.look).estimate([])
    assert caught.value.code == "POSE-001"


def test_squares_of_the_sweep_cover_the_frame_and_overlap():
    squares = sweep((480, 900))
    assert squares[0] == Box(0, -210, 900, 690)
    assert len(squares) == len(set(squares))
    covered = np.zeros((480, 900), int)
    for square in squares[1:]:
        assert square.width == square.height
        assert 0 <= square.left < square.right <= 900
        assert 0 <= square.top < square.bottom <= 480
        covered[square.top : square.bottom, square.left : square.right] += 1
    assert covered.min() >= 2
    assert len(sweep((10, 10))) < len(squares)


def test_detected_people_have_their_ids():
    class Boxes:
        def detect(self, frame):
            at = int(frame[0, 0, 0])
            rows = [(100 + at, 100, 200 + at, 300, 0.9), (500 - at, 100, 600 - at, 300, 0.8)]
            return np.array(rows[:: (-1) ** at], float)

    class Inside:
        layout = "coco-17"

        def find(self, frame, boxes):
            middle = (boxes[:, :2] + boxes[:, 2:]) / 2
            poses = BODY[None] + middle[:, None]
            return np.concatenate([poses, np.full((len(boxes), 17, 1), 0.7)], axis=-1)

    frames = [np.full((400, 700, 3), at, np.uint8) for at in range(20)]
    pose = DetectedPeople(Boxes(), Inside()).estimate(frames)
    np.testing.assert_allclose(pose.skeleton.positions[0, :, 0, 0], 150 + np.arange(20), atol=1e-3)
    np.testing.assert_allclose(pose.skeleton.positions[1, :, 0, 0], 550 - np.arange(20), atol=1e-3)
    assert pose.scores.min() == pytest.approx(0.7)


def test_nobody_and_duplicates_are_dropped():
    poses = np.concatenate([np.tile(BODY, (3, 1, 1)), np.full((3, 17, 1), 0.9)], axis=-1)
    poses[1, :, :2] += 2
    poses[1, :, 2] = 0.95
    poses[2, 5:, 2] = 0.1
    kept = kept_people(poses, 0.3, SIGMAS)
    np.testing.assert_array_equal(kept, poses[1:2])
