"""Small videos of every container that is read, to damage: sixty frames of a moving texture."""

import tempfile
from pathlib import Path

import av
import numpy as np

FRAMES = 60

CONTAINERS = {
    "mp4": ("libx264", {}),
    "front.mp4": ("libx264", {"movflags": "+faststart"}),
    "parts.mp4": ("libx264", {"movflags": "+frag_keyframe+empty_moov"}),
    "mpeg4.avi": ("mpeg4", {}),
    "h264.avi": ("libx264", {}),
    "mkv": ("libx264", {}),
    "webm": ("libvpx-vp9", {}),
}
"""Kind of file by ending: its codec, and options of the container."""


def video_bytes(kind: str, frames: int = FRAMES) -> bytes:
    """Return a whole video of 64 x 48 pixels; the same bytes every time but for VP9."""
    codec, options = CONTAINERS[kind]
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{kind}"
        with av.open(str(path), "w", container_options=options) as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.gop_size = 12
            stream.codec_context.thread_count = 1
            for index in range(frames):
                picture = np.roll(noise, index, axis=1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
            container.mux(stream.encode())
        return path.read_bytes()
