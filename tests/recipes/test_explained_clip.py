import numpy as np
import pytest

from poselens.data.folder import open_folder
from poselens.recipes.explained_clip import MOMENTS, Question, explain_streams
from poselens.recipes.explaining import load_plain
from poselens.recipes.seen_clip import see_clip

CLIP = 9


@pytest.fixture(scope="module")
def folder(drawn):
    return open_folder(drawn.data)


@pytest.fixture(scope="module")
def bundle(drawn):
    return load_plain(drawn.bundle, "cpu")


def explained(bundle, folder, **options):
    return explain_streams(bundle, folder, CLIP, Question(2, 5, **options), {"rgb": "says so"})


def test_both_branches_are_shown_on_the_same_frames(bundle, folder):
    found = explained(bundle, folder, layer="layer3")
    seen = see_clip(folder, CLIP, bundle.streams[0].stream.input)
    assert [row.name for row in found.rows] == ["clip", "rgb", "whole frame", "joint"]
    assert {len(row.pictures) for row in found.rows} == {len(seen.times)}
    np.testing.assert_array_equal(found.times, seen.times)
    np.testing.assert_array_equal(found.rows[0].pictures, seen.pictures)
    assert found.rows[1].note == "says so"
    assert found.facts.keys() == found.inputs.keys() == {"rgb", "joint"}
    assert found.figures.keys() == {"joint"}
    # the body is drawn over the same picture, and covers a part of it only
    joint = found.rows[3]
    assert joint.pictures.shape[1] == joint.pictures.shape[2]
    curve = joint.curve
    assert 0 <= curve.times.min() < curve.times.max() <= seen.source.frames / 24
    assert curve.values.max() == pytest.approx(1)


def test_a_bundle_in_another_order_shows_pictures_first(bundle, folder):
    turned = type(bundle)(list(reversed(bundle.streams)), bundle.fusion, bundle.facts)
    found = explained(turned, folder)
    assert [row.name for row in found.rows] == ["clip", "rgb", "whole frame", "joint"]


def test_joints_alone_are_seen_from_the_front(drawn, folder):
    for run in (drawn.joint, drawn.pixels):
        found = explained(load_plain(run, "cpu"), folder)
        (row,) = found.rows
        assert len(row.pictures) == len(found.times) == MOMENTS
        assert found.times[0] == 0
        frames = folder.skeleton(CLIP, "metres").frames
        assert found.times[-1] == pytest.approx((frames - 1) / 24)
        assert found.rgb is None
        # somebody is drawn in every frame
        assert (row.pictures.std(axis=(1, 2, 3)) > 1).all()


def test_methods_and_classes_reach_their_branch(bundle, folder):
    first = explained(bundle, folder)
    for options in ({"method": "input-x-gradient"}, {"layer": "layer1"}):
        other = explained(bundle, folder, **options)
        assert abs(other.rgb.maps - first.rgb.maps).max() > 0.01
        assert other.facts["joint"] == first.facts["joint"]
    other = explained(bundle, folder, joint_method="gradient-input")
    assert other.facts["joint"] != first.facts["joint"]
    np.testing.assert_array_equal(other.rgb.maps, first.rgb.maps)
