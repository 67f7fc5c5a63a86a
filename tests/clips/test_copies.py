from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselens.clips import copies
from poselens.clips.copies import CopyJob, CopySettings, box_of, copy_clip, moved, place
from poselens.clips.crop import activity_region
from poselens.clips.stretch import Stretch
from poselens.data.video import VideoInfo, count_frames, read_frames, write_video
from poselens.errors import VideoError

COUNT, BLOCK = 40, 24


def numbered(index, height=4 * BLOCK, width=8 * BLOCK):
    """The index as 6 bits in blocks of light and dark, and a corner that tells up from down."""
    picture = np.full((height, width, 3), 40, np.uint8)
    for bit in range(6):
        left = (bit + 1) * BLOCK
        picture[BLOCK : 2 * BLOCK, left : left + BLOCK] = 220 if index >> bit & 1 else 90
    picture[:BLOCK, :BLOCK] = (250, 30, 30)
    return picture


def numbers(path, box=None):
    """Read the indices back from a copy of the whole picture, at any size."""
    frames = read_frames(path, range(count_frames(path))).pixels.astype(int)
    rows, columns = frames.shape[1] / 4, frames.shape[2] / 8
    y = round(1.5 * rows)
    assert (frames[:, round(rows / 2), round(columns / 2), 0] > 180).all(), "not upright"
    bits = [frames[:, y, round((bit + 1.5) * columns)].mean(axis=-1) > 155 for bit in range(6)]
    return [sum(int(bit[i]) << place for place, bit in enumerate(bits)) for i in range(len(frames))]


def write(path, *, moments=None, turned=0, bframes=2):
    """Forty numbered frames, at given moments of a 1/1000 s clock, stored turned."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        shape = np.rot90(numbered(0), turned // 90).shape
        stream.height, stream.width, stream.pix_fmt = *shape[:2], "yuv420p"
        stream.options = {"bf": str(bframes)}
        if moments is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(COUNT):
            turn = np.ascontiguousarray(np.rot90(numbered(index), turned // 90))
            frame = av.VideoFrame.from_ndarray(turn)
            if moments is not None:
                frame.pts = moments[index]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def job(source, target, **changes):
    settings = CopySettings(**({"short_side": 48, "gop": 5} | changes.pop("settings", {})))
    return CopyJob(0, source, target, changes.get("start_s"), changes.get("end_s"),
                   changes.get("joints"), settings)  # fmt: skip


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_frame_i_of_a_copy_is_frame_i(tmp_path, suffix):
    source = write(tmp_path / f"a.{suffix}", bframes=0 if suffix == "avi" else 2)
    made = copy_clip(job(source, tmp_path / "new" / "b.mp4"))
    assert numbers(tmp_path / "new" / "b.mp4") == list(range(COUNT))
    assert (made.frames, made.promised, made.damaged) == (COUNT, COUNT, 0)
    assert (made.height, made.width) == (48, 96)
    assert made.size == (tmp_path / "new" / "b.mp4").stat().st_size
    assert made.region == "no-joints"


def test_a_variable_rate_keeps_its_frames_one_to_one(tmp_path):
    steps = np.random.default_rng(0).integers(5, 200, COUNT)
    source = write(tmp_path / "a.mp4", moments=np.cumsum(steps).tolist())
    copy_clip(job(source, tmp_path / "b.mp4"))
    assert numbers(tmp_path / "b.mp4") == list(range(COUNT))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_source_becomes_upright(tmp_path, degrees):
    plain = write(tmp_path / "a.mp4", turned=degrees)
    turned = turn(plain, tmp_path / "turned.mp4", degrees)
    made = copy_clip(job(turned, tmp_path / "b.mp4"))
    assert numbers(tmp_path / "b.mp4") == list(range(COUNT))
    assert (made.height, made.width) == (48, 96)


def turn(source, target, degrees):
    """Write the display matrix of a track: the file's only difference to ``source``."""
    content = bytearray(source.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    unit = 1 << 16
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    rows = (cos * unit, sin * unit, 0, -sin * unit, cos * unit, 0, 0, 0, 1 << 30)
    content[place : place + 36] = b"".join(n.to_bytes(4, "big", signed=True) for n in rows)
    target.write_bytes(content)
    return target


def test_a_copy_is_the_clip_and_not_its_video(tmp_path):
    source = write(tmp_path / "a.mp4")
    made = copy_clip(job(source, tmp_path / "b.mp4", start_s=0.4, end_s=1.2))
    assert numbers(tmp_path / "b.mp4") == list(range(10, 30))
    assert made.frames == 20


def test_key_frames_come_often(tmp_path):
    copy_clip(job(write(tmp_path / "a.mp4"), tmp_path / "b.mp4"))
    with av.open(str(tmp_path / "b.mp4")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert sum(keys) >= COUNT / 5


def test_joints_point_at_the_same_picture(tmp_path):
    x, y = 3.5 * BLOCK, 1.5 * BLOCK
    joints = np.full((1, COUNT, 2, 2), np.nan, np.float32)
    joints[0, :, 0], joints[0, :, 1] = (x - 30, y - 30), (x, y)
    draw = np.random.default_rng(0)
    spots = [numbered(0) for _ in range(COUNT)]
    for picture in spots:
        picture[int(y) - 3 : int(y) + 3, int(x) - 3 : int(x) + 3] = (40, 250, 40)
        picture[60:] = draw.integers(0, 90, (36, 192, 3))
    write_video(tmp_path / "a.mp4", spots, fps=25)
    made = copy_clip(job(tmp_path / "a.mp4", tmp_path / "b.mp4", joints=joints,
                         settings={"short_side": 30}))  # fmt: skip
    inside = moved(joints, made.placement)
    assert made.region == "skeleton"
    assert made.width < 96
    assert np.isnan(inside[np.isnan(joints)]).all()
    column, row = inside[0, 0, 1].round().astype(int)
    pixels = read_frames(tmp_path / "b.mp4", [0]).pixels[0]
    assert pixels.shape[:2] == (made.height, made.width)
    assert pixels[row, column, 1] > 180 > 130 > pixels[row, column, 0]


def test_a_small_video_is_not_enlarged_and_odd_sides_are_filled(tmp_path):
    write_video(tmp_path / "a.avi", [numbered(i, 31, 45) for i in range(3)], fps=25)
    with av.open(str(tmp_path / "odd.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 31, 45, "yuv444p"
        for index in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(index, 31, 45))))
        container.mux(stream.encode())
    made = copy_clip(job(tmp_path / "odd.mp4", tmp_path / "b.mp4", settings={"crop": "none"}))
    assert made.placement.size == (31, 45)
    assert (made.height, made.width, made.region) == (32, 46, None)
    assert read_frames(tmp_path / "b.mp4", [0]).pixels.shape == (1, 32, 46, 3)


def facts(height, width):
    return VideoInfo(frames=None, fps=25, height=height, width=width, rotation=0, duration_s=None)


@given(
    st.integers(40, 2200), st.integers(40, 4000), st.integers(0, 2**32 - 1),
    st.floats(0, 2), st.sampled_from(["region", "square", "none"]), st.integers(16, 512),
)  # fmt: skip
def test_later_crops_stay_inside_and_keep_their_pixels(height, width, seed, margin, crop, side):
    draw = np.random.default_rng(seed)
    joints = draw.uniform((-20, -20), (width + 20, height + 20), (1, 3, 4, 2)).astype(np.float32)
    settings = CopySettings(short_side=side, margin=margin, crop=crop)
    placement, _ = place(Stretch(None, facts(height, width), 0, 3, 3), joints, settings)
    kept, (rows, columns) = box_of(placement), placement.size
    assert 0 <= kept.left < kept.right <= width
    assert 0 <= kept.top < kept.bottom <= height
    assert (rows, columns) <= (kept.height, kept.width) or rows % 2 == columns % 2 == 0
    later = activity_region(joints, frame_size=(height, width), margin=min(margin, 0.3),
                            square=crop == "square")  # fmt: skip
    if later.reason != "skeleton":
        return
    box = later.box
    assert kept.left <= box.left < box.right <= kept.right
    assert kept.top <= box.top < box.bottom <= kept.bottom
    if crop != "none":
        scaled = min(box.height * rows / kept.height, box.width * columns / kept.width)
        assert scaled >= min(side, box.height, box.width) * 0.9 - 2
    np.testing.assert_allclose(
        placement.to_frame(moved(joints, placement)), joints, atol=2e-3 * max(height, width)
    )


def test_too_short_is_refused_and_nothing_is_left(tmp_path, monkeypatch):
    source = write(tmp_path / "a.mp4")
    real = copies.find_stretch
    monkeypatch.setattr(copies, "find_stretch", lambda *a, **k: longer(real(*a, **k)))
    with pytest.raises(VideoError, match="40 of 60 frames can be read") as caught:
        copy_clip(job(source, tmp_path / "b.mp4"))
    assert caught.value.code == "VID-019"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def longer(stretch):
    return Stretch(stretch.path, stretch.facts, stretch.first, 60, 60)


@pytest.mark.parametrize(("fps", "kept"), [(0.0, 30.0), (1e6, 30.0), (29.97, 29.97)])
def test_an_impossible_rate_becomes_a_usual_one(fps, kept):
    found = Stretch(None, VideoInfo(None, fps, 48, 64, 0, None), 0, 3, 3)
    assert copies._rate(found) == kept
