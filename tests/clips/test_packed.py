import io

import numpy as np
import pytest
from PIL import Image

from poselens.clips.packed import pack, unpack


def picture(side=64):
    """A smooth picture, as cameras take them."""
    y, x = np.mgrid[:side, :side] / side
    return (255 * np.stack([x, y, (x + y) / 2], axis=-1)).astype(np.uint8)


def through(frame, form):
    back = np.empty_like(frame)
    unpack(pack(frame, form), form, back)
    return back


def test_raw_is_exact():
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    np.testing.assert_array_equal(through(frame, "raw"), frame)
    assert len(pack(frame[:, ::-1], "raw")) == 8 * 8 * 3


def test_packed_is_near_and_small():
    frame = picture()
    error = np.mean((through(frame, "packed").astype(float) - frame) ** 2)
    assert 10 * np.log10(255**2 / error) > 40
    assert len(pack(frame, "packed")) < frame.nbytes / 4


def grey(side=64):
    kept = io.BytesIO()
    Image.new("L", (side, side)).save(kept, "JPEG")
    return kept.getvalue()


def png():
    kept = io.BytesIO()
    Image.new("RGB", (64, 64)).save(kept, "PNG")
    return kept.getvalue()


@pytest.mark.parametrize(
    "kept", [b"", b"no picture", pack(picture(), "packed")[:400], pack(picture(32), "packed"),
             grey(), png()],
    ids=["empty", "text", "cut", "size", "grey", "png"],
)  # fmt: skip
def test_other_bytes_are_refused(kept):
    with pytest.raises(ValueError, match=r"."):
        unpack(kept, "packed", np.empty((64, 64, 3), np.uint8))


def test_raw_of_another_length_is_refused():
    with pytest.raises(ValueError, match="reshape"):
        unpack(bytes(47), "raw", np.empty((4, 4, 3), np.uint8))
