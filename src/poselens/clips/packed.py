"""How one cached frame is kept: as its bytes, or as a JPEG picture by itself.

Why JPEG and not short-GOP video: docs/decisions/0012-region-cache.md.
"""

import io
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

Format = Literal["raw", "packed"]
"""``raw`` keeps the pixels themselves, 196,608 bytes of 256 x 256; ``packed`` about 17,000."""

QUALITY = 95
"""JPEG quality; 45 dB PSNR on signing people."""


def pack(frame: UInt8[np.ndarray, "h w 3"], form: Format) -> bytes:
    """Return the bytes a frame is kept as.

    Departure: not in the paper. ``packed`` halves the colour's resolution (4:2:0), as the videos it
    comes from do at their own, larger size.
    """
    if form == "raw":
        return np.ascontiguousarray(frame).tobytes()
    kept = io.BytesIO()
    Image.fromarray(frame).save(kept, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return kept.getvalue()


def unpack(kept: bytes, form: Format, into: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write the frame kept as ``kept`` into an array of its size.

    Raises:
        ValueError: When these are not the bytes of such a frame.
    """
    if form == "raw":
        into[...] = np.frombuffer(kept, np.uint8).reshape(into.shape)
        return
    try:
        # the one format that is written: no other decoder meets bytes from the disk
        with Image.open(io.BytesIO(kept), formats=("JPEG",)) as picture:
            if (*picture.size[::-1], picture.mode) != (*into.shape[:2], "RGB"):
                raise ValueError(f"found {picture.size} {picture.mode}")
            into[...] = picture
    except (OSError, Image.DecompressionBombError) as fault:
        raise ValueError(str(fault)) from fault
