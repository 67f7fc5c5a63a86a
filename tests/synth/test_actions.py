import numpy as np
import pytest
from numpy.typing import NDArray

from poselens.synth.actions import CLASSES, MIRROR, PAIRS, Performance, bump, perform, progress_of
from poselens.synth.body import subject


def act(name: str, seed: int = 0, number: int = 2, frames: int = 49) -> Performance:
    rng = np.random.default_rng(seed)
    return perform(CLASSES.index(name), subject(0, number), rng, frames)


def test_there_are_sixteen_classes_in_eight_pairs() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == 16
    assert len(PAIRS) == 8


def test_mirroring_twice_gives_the_class_back_and_spares_the_circles() -> None:
    assert all(MIRROR[MIRROR[name]] == name for name in MIRROR)
    assert set(CLASSES) - set(MIRROR) == {"circle-clockwise", "circle-counterclockwise"}


@pytest.mark.parametrize("pair", PAIRS[6:])
def test_only_the_object_tells_the_last_pairs_apart(pair: tuple[str, str]) -> None:
    for seed in range(5):
        one, other = act(pair[0], seed), act(pair[1], seed)
        np.testing.assert_array_equal(one.figure.joints, other.figure.joints)
        assert one.held is not None
        assert other.held is not None
        gap = np.linalg.norm(one.held.centre - other.held.centre, axis=-1)
        # apart in most frames, and together around the moment in the middle
        assert np.median(gap) > 0.15
        assert gap.min() < 0.1


@pytest.mark.parametrize("pair", PAIRS[:6])
def test_the_other_pairs_move_differently(pair: tuple[str, str]) -> None:
    one, other = act(pair[0]).figure.joints, act(pair[1]).figure.joints
    assert np.abs(one - other).max() > 0.05


def peak(height: NDArray[np.float64]) -> int:
    return int(np.argmax(height))


def test_arms_rise_in_the_named_order() -> None:
    for seed in range(5):
        figure = act("raise-left-then-right", seed).figure
        left, right = figure.at("left_wrist")[:, 1], figure.at("right_wrist")[:, 1]
        assert peak(left) < peak(right)
        assert left.max() > figure.at("head")[:, 1].mean()
        figure = act("raise-right-then-left", seed).figure
        assert peak(figure.at("right_wrist")[:, 1]) < peak(figure.at("left_wrist")[:, 1])


@pytest.mark.parametrize(("name", "way"), [("clockwise", 1), ("counterclockwise", -1)])
def test_circles_go_round_as_the_viewer_sees_them(name: str, way: int) -> None:
    for seed in range(5):
        hand = act(f"circle-{name}", seed).figure.at("right_wrist")[10:40, :2]
        hand = hand - hand.mean(axis=0)
        # x to the viewer's right, y up: counter-clockwise is positive
        area = np.sum(hand[:-1, 0] * hand[1:, 1] - hand[1:, 0] * hand[:-1, 1])
        assert np.sign(area) == -way


@pytest.mark.parametrize(("name", "way"), [("turn-left", 1), ("turn-right", -1)])
def test_turns_are_full_and_go_the_named_way(name: str, way: int) -> None:
    figure = act(name).figure
    across = figure.at("left_hip") - figure.at("right_hip")
    heading = np.unwrap(np.arctan2(-across[:, 2], across[:, 0]))
    assert heading[-1] - heading[0] == pytest.approx(way * 2 * np.pi, abs=0.4)


def test_a_fast_wave_has_twice_the_beats() -> None:
    for seed in range(5):
        turns = {}
        for name in ("wave-slow", "wave-fast"):
            figure = act(name, seed).figure
            side = max(("left", "right"), key=lambda s: figure.at(f"{s}_wrist")[:, 1].max())
            x = (figure.at(f"{side}_wrist") - figure.at(f"{side}_shoulder"))[8:41, 0]
            turns[name] = int((np.diff(np.sign(np.diff(x))) != 0).sum())
        assert turns["wave-fast"] >= turns["wave-slow"] + 2


def test_the_deeper_squat_comes_when_named() -> None:
    deep = act("squat-deep-then-shallow").figure.at("pelvis")[:, 1]
    assert deep[:25].min() < deep[25:].min() - 0.1
    shallow = act("squat-shallow-then-deep").figure.at("pelvis")[:, 1]
    assert shallow[25:].min() < shallow[:25].min() - 0.1


@pytest.mark.parametrize(("name", "way"), [("pedal-forward", 1), ("pedal-backward", -1)])
def test_pedals_go_forward_at_the_top(name: str, way: int) -> None:
    for seed in range(5):
        hand = act(name, seed).figure.at("left_wrist")[10:40]
        forward = np.diff(hand[:, 2])
        high = hand[:-1, 1] - hand[:, 1].mean()
        assert np.sign(np.sum(forward * high)) == way


def test_a_picked_thing_ends_in_the_hand_and_a_put_one_on_its_stand() -> None:
    picked, put = act("pick-up").held, act("put-down").held
    assert picked is not None
    assert put is not None
    assert picked.centre[-1, 1] > picked.centre[0, 1] + 0.15
    assert put.centre[0, 1] > put.centre[-1, 1] + 0.15


def test_progress_and_bumps_are_fair_to_both_directions_of_time() -> None:
    u = np.linspace(0.0, 1.0, 51)
    np.testing.assert_allclose(bump(u, 0.2, 0.8), bump(1 - u, 0.2, 0.8), atol=1e-12)
    middles = [progress_of(49, np.random.default_rng(seed))[24] for seed in range(400)]
    assert np.mean(middles) == pytest.approx(0.5, abs=0.01)
