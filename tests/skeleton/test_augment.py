"""Variation keeps what it must keep."""

import itertools
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from poselens.pose.layouts import get_layout
from poselens.skeleton.augment import (
    Draws,
    apply_maps,
    draw,
    drop_joints,
    jitter,
    linear_maps,
    lost_joints,
    mirror,
    rotate,
    turns,
)

LAYOUT = get_layout("coco-17")


def clip(dimensions=3):
    draw = np.random.default_rng(0)
    return torch.from_numpy(draw.normal(size=(3, 5, 2, 17, dimensions)).astype(np.float32))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(count=50, seed=0, **options):
    given = {"dimensions": 3, "window": 8, "sample": "crop", "generator": rng(seed)}
    return draw(torch.ones(count, dtype=torch.bool), **given | options)


def same(one, other):
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(Draws)]
    return all((a is None and b is None) or torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("dimensions", "limits"), [(2, (1.0,)), (3, (1.0, 1.0, 1.0))])
def test_a_turn_keeps_distances_and_handedness_about_its_point(dimensions, limits):
    about = torch.full((3, dimensions), 2.0)
    turn = drawn(3, dimensions=dimensions, rotation=limits).turn
    turned = rotate(clip(dimensions), turn, about=about)
    before, after = clip(dimensions) - 2, turned - 2
    assert not np.allclose(before, after, atol=0.05)
    torch.testing.assert_close(before.norm(dim=-1), after.norm(dim=-1), rtol=1e-5, atol=1e-5)
    for row in range(3):
        frame = [before[row, 0, 0, :dimensions], after[row, 0, 0, :dimensions]]
        volumes = [np.linalg.det(corner.double().numpy()) for corner in frame]
        assert volumes[0] == pytest.approx(volumes[1], rel=1e-4)


def test_a_turn_about_the_vertical_keeps_heights():
    turn = drawn(3, rotation=(0.0, 1.0, 0.0)).turn
    turned = rotate(clip(), turn, about=torch.zeros(3, 3))
    torch.testing.assert_close(turned[..., 1], clip()[..., 1], atol=1e-6, rtol=1e-5)
    assert not np.allclose(turned, clip(), atol=0.05)


def test_turns_go_about_x_then_y_then_z_in_loops():
    angles = torch.tensor([[0.3, -0.5, 1.1], [0.0, 0.2, 0.0]], dtype=torch.float64)
    for row, (x, y, z) in enumerate(angles.tolist()):
        about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
        # of the two coordinates left, the first goes towards the second
        about_y = [[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]]
        about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
        expected = np.array(about_z) @ np.array(about_y) @ np.array(about_x)
        np.testing.assert_allclose(turns(angles, 3)[row], expected, atol=1e-7)
    plane = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    np.testing.assert_allclose(turns(angles, 2)[0], plane, atol=1e-7)


def test_angles_stay_within_their_limits():
    turn = drawn(2000, rotation=(0.0, 0.0, 0.4)).turn
    angles = torch.atan2(turn[:, 1, 0], turn[:, 0, 0])
    assert angles.abs().max() <= 0.4
    assert angles.max() > 0.38
    assert angles.min() < -0.38
    assert angles.mean().abs() < 0.03


def test_a_stretch_is_one_factor_per_axis_within_its_limit():
    maps = drawn(3, scaling=0.2).linear
    factors = apply_maps(clip(), maps) / clip()
    torch.testing.assert_close(factors, factors[:, :1, :1, :1].expand_as(factors))
    assert ((factors - 1).abs() <= 0.2 + 1e-5).all()
    assert len(maps.diagonal(dim1=1, dim2=2).unique()) == 9
    assert not (maps - maps.diagonal(dim1=1, dim2=2).diag_embed()).any()


def test_shear_fills_what_is_off_the_diagonal_within_its_limit():
    maps = drawn(400, shear=0.3).linear
    diagonal = maps.diagonal(dim1=1, dim2=2)
    assert (diagonal == 1).all()
    off = maps[:, ~torch.eye(3, dtype=torch.bool)]
    assert off.abs().max() <= 0.3
    assert off.max() > 0.29
    assert off.min() < -0.29
    assert off.unique().numel() > 2390, "each entry is drawn by itself"
    both = linear_maps(torch.ones(1, 2, 2), scaling=0.1, shear=0.3)
    torch.testing.assert_close(both[0], torch.tensor([[1.1, 0.3], [0.3, 1.1]]))


def test_maps_are_products_of_matrix_and_joint_in_loops():
    maps = torch.randn(3, 3, 3, generator=rng())
    mapped = apply_maps(clip(), maps)
    for n, t, m, v in itertools.product(range(3), range(5), range(2), range(17)):
        torch.testing.assert_close(mapped[n, t, m, v], maps[n] @ clip()[n, t, m, v])


def test_jitter_has_the_deviation_it_was_given():
    moved = jitter((2, 40, 2, 17, 3), deviation=0.3, generator=rng())
    assert moved.dtype == torch.float32
    assert float(moved.std()) == pytest.approx(0.3, rel=0.05)
    assert moved.unique().numel() > 4000, "each coordinate is drawn by itself"


def test_dropped_joints_are_missing_for_the_whole_clip():
    lost = lost_joints((50, 2, 17), share=0.25, generator=rng())
    gone = drop_joints(torch.zeros(50, 4, 2, 17, 3), lost).isnan()
    assert (gone == gone[:, :1, :, :, :1]).all()
    assert float(gone.float().mean()) == pytest.approx(0.25, abs=0.04)
    assert not torch.equal(gone[:, :, 0], gone[:, :, 1])


def test_a_mirror_swaps_sides_negates_x_and_undoes_itself():
    which = torch.tensor([True, False, True])
    mirrored = mirror(clip(), LAYOUT, which)
    left, right = LAYOUT.index("left_wrist"), LAYOUT.index("right_wrist")
    expected = clip()[0, :, :, right] * torch.tensor([-1.0, 1, 1])
    assert torch.equal(mirrored[0, :, :, left], expected)
    assert torch.equal(mirrored[1], clip()[1])
    assert torch.equal(mirror(mirrored, LAYOUT, which), clip())


def test_missing_stays_missing():
    positions = clip()
    positions[0, 2, 1, 3] = torch.nan
    drew = drawn(3, rotation=(1.0, 1.0, 1.0), scaling=0.1, shear=0.1)
    mirrored = mirror(positions, LAYOUT, torch.ones(3, dtype=torch.bool))
    for varied in (
        rotate(positions, drew.turn, about=torch.zeros(3, 3)),
        apply_maps(positions, drew.linear),
        mirrored[:, :, :, list(LAYOUT.mirror)],
    ):
        assert torch.equal(varied.isnan(), positions.isnan())


def test_only_what_was_asked_for_is_drawn():
    names = {field.name for field in fields(Draws)}
    for sample, expected in (
        ("crop", {"share", "place"}),
        ("uniform", {"inside"}),
        ("random", {"inside"}),
        ("resize", set()),
    ):
        found = drawn(sample=sample, rotation=(0.0, 0.0, 0.0))
        assert {name for name in names if getattr(found, name) is not None} == expected
        assert same(found.at(slice(None)), found)


@given(low=st.floats(0.1, 1), high=st.floats(0.1, 1))
def test_shares_lie_within_the_interval(low, high):
    share = drawn(200, interval=(low, high)).share
    assert min(low, high) - 1e-12 <= share.min() <= share.max() <= max(low, high) + 1e-12


def test_only_clips_that_may_be_mirrored_are_and_as_often_as_asked():
    may = torch.arange(4000) % 2 == 0
    found = draw(may, dimensions=3, window=8, sample="crop", generator=rng(), flip=0.3).mirrored
    assert not found[~may].any()
    assert float(found[may].float().mean()) == pytest.approx(0.3, abs=0.03)
    always = draw(may, dimensions=3, window=8, sample="crop", generator=rng(), flip=1.0).mirrored
    assert torch.equal(always, may)


def test_the_same_seed_draws_the_same_and_another_does_not():
    options = {
        "rotation": (0.3,) * 3,
        "scaling": 0.1,
        "shear": 0.1,
        "flip": 0.5,
        "sample": "random",
    }
    assert same(drawn(seed=4, **options), drawn(seed=4, **options))
    assert not same(drawn(seed=4, **options), drawn(seed=5, **options))
    rows = drawn(seed=4, **options).at(slice(3, 5))
    assert torch.equal(rows.turn, drawn(seed=4, **options).turn[3:5])
    assert rows.jitter is None
