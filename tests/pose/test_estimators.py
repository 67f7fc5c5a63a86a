"""Any estimator serves; what it misses for a moment is bridged."""

import numpy as np

from poselens.pose.estimators import Pose, estimate_clip
from poselens.types import Skeleton


class Nodding:
    """Sees one joint moving down one pixel a frame, and misses frame 2."""

    layout = "coco-17"

    def estimate(self, frames):
        positions = np.stack(
            [np.full((17, 2), index, np.float32) for index, _ in enumerate(frames)]
        )
        positions[2] = np.nan
        return Pose(Skeleton(positions[None], self.layout, "pixels"), np.ones((1, 5, 17)))


def test_clip_is_estimated_filled_and_smoothed():
    frames = [np.zeros((4, 4, 3), np.uint8)] * 5
    found = estimate_clip(Nodding(), iter(frames))
    assert (found.layout, found.space, found.positions.shape) == (
        "coco-17",
        "pixels",
        (1, 5, 17, 2),
    )
    np.testing.assert_allclose(found.positions[0, :, 0, 0], range(5), atol=1e-6)


def test_filling_can_be_switched_off():
    found = estimate_clip(Nodding(), [np.zeros((4, 4, 3), np.uint8)] * 5, max_gap=0, radius=0)
    assert np.isnan(found.positions[0, 2]).all()
