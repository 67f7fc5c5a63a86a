import numpy as np
import pytest
import torch

from poselens.clips.augment import apply_to_pixels, centre_view
from poselens.clips.placing import input_placement, joints_at, joints_in_input
from poselens.clips.stream import RgbInput
from poselens.types import Box


@pytest.mark.parametrize(("scale", "size"), [(256, 224), (72, 64), (50, 50), (40, 64), (75, 64)])
def test_a_point_of_the_frame_is_seen_where_it_is_said_to_be(scale, size):
    """A bright square is cut, resized and looked at as in a test; its middle is found again."""
    box = Box(30, 20, 150, 110)
    settings = RgbInput(scale=scale, size=size)
    place = input_placement(box, settings)
    for x, y in ((70, 50), (90, 65), (110, 80)):
        frame = torch.zeros(1, 200, 200, 3, dtype=torch.uint8)
        frame[:, y - 3 : y + 3, x - 3 : x + 3] = 255
        region = frame[:, box.top : box.bottom, box.left : box.right].permute(0, 3, 1, 2)
        resized = torch.nn.functional.interpolate(
            region, size=(scale, scale), mode="bilinear", antialias=True
        )
        view = centre_view(scale=scale, size=size)
        seen = apply_to_pixels(resized.permute(0, 2, 3, 1), view, size=size)[0, 0].double().numpy()
        down, across = np.indices(seen.shape) + 0.5
        found = np.array([(across * seen).sum(), (down * seen).sum()]) / seen.sum()
        expected = place.to_crop(np.array([[x, y]], float))[0]
        np.testing.assert_allclose(found, expected, atol=0.15)


def test_joints_are_those_of_the_frames_that_were_shown():
    joints = np.arange(2 * 10 * 3 * 3, dtype=np.float32).reshape(2, 10, 3, 3)
    found = joints_at(joints, np.array([0, 4, 9]), 10)
    np.testing.assert_array_equal(found, joints[:, [0, 4, 9], :, :2])
    # a skeleton of half the frames is spread over the clip
    spread = joints_at(joints, np.array([0, 10, 20, 99]), 21)
    np.testing.assert_array_equal(spread, joints[:, [0, 4, 9, 9], :, :2])


def test_missing_joints_stay_missing_and_those_outside_lie_outside():
    joints = np.array([[[[40.0, 30.0], [np.nan, np.nan], [0.0, 0.0]]]], np.float32)
    place = input_placement(Box(20, 20, 60, 60), RgbInput(scale=80, size=80))
    found = joints_in_input(joints, np.array([0]), 1, place)
    np.testing.assert_allclose(found[0, 0, 0], (40, 20))
    assert np.isnan(found[0, 0, 1]).all()
    assert (found[0, 0, 2] < 0).all()
