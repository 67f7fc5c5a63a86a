import numpy as np
import pytest

from poselens.synth.body import subject
from poselens.synth.camera import draw_camera
from poselens.synth.difficulty import DIFFICULTIES


@pytest.mark.parametrize("name", DIFFICULTIES)
def test_the_person_stands_in_the_picture_at_the_promised_size(name: str) -> None:
    setting = DIFFICULTIES[name]
    for seed in range(40):
        rng = np.random.default_rng(seed)
        height = subject(0, 1 + seed % 8).body.height
        camera, yaw, aside = draw_camera(setting, height, (144, 192), 10, rng)
        column = np.array([[[aside, 0.0, 0.0], [aside, height, 0.0]]] * 10)
        (_, foot), (across, head) = camera.pixels(camera.metres(column))[0]
        low, high = setting.person_share
        assert 0.9 * low < (foot - head) / 144 < 1.1 * high
        assert head > 0
        assert foot < 144
        assert 0 < across < 192
        assert abs(np.degrees(yaw)) <= setting.yaw
