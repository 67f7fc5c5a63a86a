"""Who is kept, in which order, and who never is."""

import numpy as np
import pytest

from poselens.errors import SkeletonError, UsageError
from poselens.pose.estimators import Pose
from poselens.pose.subjects import LIMIT, Subjects, choose, read_subjects
from poselens.types import Skeleton


def person(left, top, width, height, frames=20, speed=0.0):
    """Joints spread over a box that moves."""
    draw = np.random.default_rng(5)
    share = draw.uniform(0, 1, (17, 2))
    share[:2] = [(0, 0), (1, 1)]
    joints = share * (width, height) + (left, top)
    moved = np.zeros((frames, 1, 2))
    moved[:, 0, 0] = speed * np.sin(np.arange(frames))
    return joints[None] + moved


def pose(*people):
    joints = np.stack(people).astype(np.float32)
    return Pose(Skeleton(joints, "coco-17", "pixels"), np.full(joints.shape[:3], 0.8, np.float32))


SMALL, LARGE = person(10, 10, 30, 80, speed=9), person(300, 50, 120, 300)
BRIEF = person(100, 0, 400, 400)
BRIEF[3:] = np.nan


def first(found):
    return found.skeleton.positions[0, 0, 0].tolist()


def test_the_largest_over_the_whole_clip():
    found = choose(pose(SMALL, BRIEF, LARGE), Subjects())
    assert found.skeleton.positions.shape[0] == found.scores.shape[0] == 1
    # the largest of all is there for 3 frames of 20
    assert first(found) == [300, 50]


def test_the_most_moving_is_measured_in_its_own_size():
    assert first(choose(pose(LARGE, SMALL), Subjects("most-moving"))) == [10, 10]
    still = choose(pose(LARGE, person(0, 0, 10, 10)), Subjects("most-moving"))
    assert still.skeleton.positions.shape[0] == 1


def test_the_one_in_the_box():
    everybody = pose(LARGE, SMALL)
    assert first(choose(everybody, Subjects("box", 1, (0, 0, 60, 100)))) == [10, 10]
    with pytest.raises(
        SkeletonError, match=r"nobody is in the box \(500, 0, 60, 100\): 2 people"
    ) as caught:
        choose(everybody, Subjects("box", 1, (500, 0, 60, 100)))
    assert (caught.value.code, caught.value.exit_code) == ("POSE-005", 3)


def test_several_come_in_order_and_spectators_are_dropped():
    found = choose(pose(SMALL, BRIEF, LARGE), Subjects("largest", 2))
    assert found.skeleton.positions[:, 0, 0].tolist() == [[300, 50], [100, 0]]
    assert choose(pose(SMALL, LARGE), Subjects("all", LIMIT)).skeleton.positions.shape[0] == 2


def test_nobody():
    for joints in (np.empty((0, 5, 17, 2)), np.full((1, 5, 17, 2), np.nan)):
        empty = Pose(Skeleton(joints, "coco-17", "pixels"), np.zeros(joints.shape[:3]))
        with pytest.raises(SkeletonError, match="nobody was found in the clip"):
            choose(empty, Subjects())


def test_what_the_option_may_say():
    assert read_subjects("largest", 3) == Subjects("largest", 3)
    assert read_subjects("most-moving", 1) == Subjects("most-moving", 1)
    assert read_subjects("all", 1) == Subjects("all", LIMIT)
    assert read_subjects("all", 4) == Subjects("all", 4)
    assert read_subjects("box=1,2,3.5,4", 1) == Subjects("box", 1, (1, 2, 3.5, 4))


@pytest.mark.parametrize(
    ("text", "people"),
    [("biggest", 1), ("box", 1), ("box=1,2,3", 1), ("box=1,2,0,4", 1), ("box=1,2,nan,4", 1),
     ("box=a,b,c,d", 1), ("largest=3", 1), ("largest", 0), ("largest", 33)],
)  # fmt: skip
def test_what_it_may_not(text, people):
    with pytest.raises(UsageError, match="found .* expected") as caught:
        read_subjects(text, people)
    assert caught.value.code == "POSE-004"
