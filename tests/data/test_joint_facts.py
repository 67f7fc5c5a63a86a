import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from poselens.data.joint_facts import doubtful_unit, joint_facts


def walker(frames: int = 20, people: int = 1) -> np.ndarray:
    """People of 1.6 units who walk and swing."""
    draw = np.random.default_rng(4)
    pose = draw.uniform(0, 1, (17, 2)) * [0.6, 1.5]
    pose[0], pose[1] = (0, 0), (0.6, 1.5)
    swing = draw.normal(0, 0.02, (people, frames, 17, 2))
    return (pose + swing + 1).astype(np.float32)


def test_what_is_counted():
    joints = walker(people=2)
    joints[1, 5:] = np.nan
    joints[0, :4, :] = np.nan
    joints[1, :4, 3] = np.nan
    facts = joint_facts(joints)
    assert (facts.frames, facts.people, facts.coverage) == (20, 2, 1.0)
    assert facts.missing == pytest.approx(4 / (21 * 17))
    assert np.isnan(facts.outside)
    assert facts.size == pytest.approx(1.62, abs=0.05)
    assert (facts.frozen, facts.stuck, facts.collapsed) == (0, 0, 0)


def test_nobody():
    facts = joint_facts(np.full((1, 6, 17, 3), np.nan, np.float32), (100, 100))
    assert (facts.coverage, facts.people) == (0, 0)
    assert np.isnan([facts.missing, facts.outside, facts.size, facts.motion, facts.lowest]).all()


def test_half_of_the_frames_are_covered():
    joints = walker()
    joints[:, ::2] = np.nan
    assert joint_facts(joints).coverage == 0.5


def test_joints_beyond_the_edge_by_more_than_a_twentieth_are_outside():
    joints = np.full((1, 1, 4, 2), 50, np.float32)
    joints[0, 0, :3] = [(-4.9, 50), (-5.1, 50), (50, 106)]
    assert joint_facts(joints, (100, 100)).outside == 0.5


def test_a_pose_that_is_held_and_a_joint_that_is_stuck():
    held = walker()
    held[:, 10:] = held[:, 10:11]
    assert joint_facts(held).frozen == pytest.approx(9 / 19)
    stuck = walker()
    stuck[:, :, 3] = 7.0
    assert joint_facts(stuck).stuck == 1
    facts = joint_facts(np.repeat(walker(1), 9, axis=1))
    assert (facts.frozen, facts.motion, facts.stuck) == (1, 0, 0)


def test_a_body_in_one_point():
    joints = walker()
    joints[:, 3] = 0.0
    assert joint_facts(joints).collapsed == pytest.approx(1 / 20)


@pytest.mark.parametrize(
    ("space", "scale", "unit"),
    [
        ("metres", 1, None),
        ("metres", 0.2, None),
        ("metres", 100, "pixels or centimetres"),
        ("metres", -100, "centimetres"),
        ("metres", 1000, "pixels or millimetres"),
        ("metres", -1000, "millimetres"),
        ("metres", 0.001, "kilometres"),
        ("pixels", 100, None),
        ("pixels", 0.3, "shares of the picture"),
        ("pixels", 1, "metres"),
    ],
)
def test_the_unit_that_joints_seem_to_have(space, scale, unit):
    found = doubtful_unit(space, joint_facts(walker() * np.float32(scale)))
    assert found is None if unit is None else found is not None and found.startswith(unit)


def test_of_nobody_no_unit_is_guessed():
    assert doubtful_unit("metres", joint_facts(np.full((1, 2, 17, 2), np.nan, np.float32))) is None


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 4), st.integers(2, 3)),
        elements=st.floats(-1e6, 1e6, width=32) | st.just(float("nan")),
    )
)
def test_shares_are_shares_whatever_comes(joints):
    joints[~np.isfinite(joints).all(axis=-1)] = np.nan
    facts = joint_facts(joints, (100, 200))
    for value in (facts.coverage, facts.missing, facts.outside, facts.frozen, facts.collapsed):
        assert np.isnan(value) or 0 <= value <= 1
    assert 0 <= facts.stuck <= joints.shape[2]
    assert facts.people <= joints.shape[0]
