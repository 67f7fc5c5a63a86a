"""Reading is frame-exact in every container, upright, cropped as asked; writing is repeatable."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poselens.data.video import count_frames, iterate_frames, probe, read_frames, write_video
from poselens.errors import UsageError, VideoError
from poselens.types import Box

COUNT = 40
HEIGHT, WIDTH = 48, 64


def numbered(index):
    """Grey picture whose left half shows the bits of ``index`` as four 12 px by 16 px blocks."""
    picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for bit in range(8):
        row, column = divmod(bit, 2)
        level = 235 if index >> bit & 1 else 20
        picture[12 * row : 12 * row + 12, 16 * column : 16 * column + 16] = level
    return picture


def number(picture):
    """Read the index back from a picture of the same geometry."""
    return sum(
        int(picture[12 * (bit // 2) + 6, 16 * (bit % 2) + 8].mean() > 128) << bit
        for bit in range(8)
    )


def encode(path, codec="libx264", count=COUNT, options=None, prepare=None, times=None, **kw):
    with av.open(str(path), "w", **kw) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if prepare:
            prepare(stream)
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(index))
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


VARIANTS = {
    "b-frames.mp4": {"options": {"bf": "3", "g": "12"}},
    "open-gop.mp4": {"options": {"bf": "2", "g": "10", "x264-params": "open-gop=1"}},
    "no-b.mkv": {"options": {"bf": "0"}},
    "b-frames.mkv": {"options": {"bf": "3"}},
    "transport.ts": {"options": {"bf": "2", "g": "8"}},
    "old.avi": {"codec": "mpeg4"},
    "variable-rate.mp4": {"times": np.cumsum(np.arange(COUNT) % 5 * 17 + 11).tolist()},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name, how in VARIANTS.items():
        encode(folder / name, **how)
    return folder


@pytest.mark.parametrize("name", VARIANTS)
def test_every_frame_is_the_one_asked_for(folder, name):
    wanted = [*reversed(range(COUNT)), 3, 3, 17]
    found = read_frames(folder / name, wanted)
    assert [number(picture) for picture in found.pixels] == wanted
    assert not found.short
    assert found.damaged == 0
    assert count_frames(folder / name) == COUNT


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    wanted=st.lists(st.integers(0, COUNT + 10), min_size=1, max_size=6),
    first=st.integers(0, COUNT + 5),
)
def test_indices_count_from_the_first_frame_and_clamp_at_the_end(folder, wanted, first):
    found = read_frames(folder / "b-frames.mp4", wanted, first_frame=first)
    expected = [min(first + index, COUNT - 1) for index in wanted]
    assert [number(picture) for picture in found.pixels] == expected
    assert found.short == (first + max(wanted) > COUNT - 1)
    assert found.decoded == min(first + max(wanted) + 1, COUNT)
    assert found.promised == COUNT


def test_threads_change_nothing(folder):
    one = read_frames(folder / "b-frames.mp4", [0, 20, 39])
    two = read_frames(folder / "b-frames.mp4", [0, 20, 39], threads=2)
    np.testing.assert_array_equal(one.pixels, two.pixels)


def test_decoding_stops_after_the_last_wanted_frame(folder):
    assert read_frames(folder / "b-frames.mp4", [4, 1]).decoded == 5


def test_container_without_a_count_promises_nothing(folder):
    assert read_frames(folder / "no-b.mkv", [0]).promised is None
    assert probe(folder / "no-b.mkv").frames is None


def test_box_keeps_the_same_pixels_as_slicing(folder):
    box = Box(left=5, top=7, right=44, bottom=30)
    full = read_frames(folder / "b-frames.mp4", [9]).pixels
    part = read_frames(folder / "b-frames.mp4", [9], box=box).pixels
    assert part.shape == (1, 23, 39, 3)
    # odd corners fall between chroma samples, so colours may differ by a rounding step
    difference = part.astype(int) - full[:, 7:30, 5:44]
    assert np.abs(difference).max() <= 3


def test_a_box_frame_by_frame_is_the_same_box(folder):
    box, path = Box(13, 7, 61, 44), folder / "b-frames.mp4"
    whole = read_frames(path, [3, 4, 5], box=box, size=(24, 16)).pixels
    each = list(iterate_frames(path, first_frame=3, frames=3, box=box, size=(24, 16)))
    np.testing.assert_array_equal(np.stack(each), whole)
    with pytest.raises(VideoError, match="does not lie inside"):
        next(iterate_frames(path, box=Box(0, 0, 9999, 10)))


def test_box_is_scaled_to_the_size_without_shifting(folder):
    box = Box(left=0, top=0, right=32, bottom=48)
    small = read_frames(folder / "b-frames.mp4", [0b10110101 % COUNT], box=box, size=(24, 16))
    assert small.pixels.shape == (1, 24, 16, 3)
    blocks = small.pixels[0].reshape(4, 6, 2, 8, 3).mean(axis=(1, 3, 4)) > 128
    index = sum(int(level) << bit for bit, level in enumerate(blocks.ravel()))
    assert index == 0b10110101 % COUNT


@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_flag_turns_pictures_upright(tmp_path, degrees, flips):
    path = tmp_path / "turned.mp4"
    encode(path, count=2, prepare=lambda stream: stream.set_display_rotation(degrees, *flips))
    upright = np.rot90(numbered(1), degrees // 90)
    upright = upright[:, :: -1 if flips[0] else 1][:: -1 if flips[1] else 1]
    found = read_frames(path, [1]).pixels[0]
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 8
    info = probe(path)
    assert (info.height, info.width) == upright.shape[:2]
    # the box is given in the upright picture
    box = Box(2, 4, 30, 40)
    part = read_frames(path, [1], box=box).pixels[0]
    assert np.abs(part.astype(int) - found[4:40, 2:30]).max() <= 3


def test_probe_reports_rotation_rate_and_duration(tmp_path):
    encode(tmp_path / "a.mp4", prepare=lambda stream: stream.set_display_rotation(270))
    info = probe(tmp_path / "a.mp4")
    assert (info.frames, info.fps, info.rotation) == (COUNT, 25.0, 270)
    assert info.duration_s == pytest.approx(COUNT / 25)


def test_a_change_of_resolution_is_scaled_to_the_first_size(tmp_path):
    path = tmp_path / "joined.ts"
    parts = []
    for size in ((HEIGHT, WIDTH), (HEIGHT * 2, WIDTH * 2)):
        part = tmp_path / f"{size[0]}.ts"
        write_video(part, [np.full((*size, 3), size[0], np.uint8)] * 5, fps=25)
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    found = read_frames(path, [0, 8], size=None)
    assert found.pixels.shape == (2, HEIGHT, WIDTH, 3)
    assert np.abs(found.pixels.mean(axis=(1, 2, 3)) - [HEIGHT, 2 * HEIGHT]).max() < 4


@pytest.mark.parametrize(
    "box", [Box(0, 0, WIDTH + 1, 10), Box(-1, 0, 10, 10), Box(10, 10, 10, 20), Box(0, 40, 9, 49)]
)
def test_box_outside_the_frame_is_refused(folder, box):
    with pytest.raises(VideoError, match=r"does not lie inside the 64x48 frame") as caught:
        read_frames(folder / "b-frames.mp4", [0], box=box)
    assert caught.value.code == "VID-014"


@pytest.mark.parametrize(("wanted", "first"), [([], 0), ([-1], 0), ([0], -1)])
def test_indices_that_make_no_sense_are_refused(folder, wanted, first):
    with pytest.raises(UsageError, match="must be given and not negative") as caught:
        read_frames(folder / "b-frames.mp4", wanted, first_frame=first)
    assert caught.value.code == "VID-015"


@pytest.mark.parametrize("name", ["a b.mp4", "$(x)'\".mp4", "x:y.mp4", "-", "n\udcff\n.mp4"])
def test_any_file_name_works(folder, tmp_path, name):
    path = tmp_path / name
    path.write_bytes((folder / "b-frames.mp4").read_bytes())
    assert number(read_frames(path, [7]).pixels[0]) == 7


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_written_bytes_repeat_and_read_back(tmp_path, suffix):
    frames = [numbered(index) for index in range(20)]
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for path in paths:
        write_video(path, frames, fps=25)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert [number(p) for p in read_frames(paths[0], range(20)).pixels] == list(range(20))
    assert sorted(tmp_path.iterdir()) == paths


def test_written_bytes_do_not_depend_on_the_state_of_memory(tmp_path):
    noise = np.random.default_rng(0)
    kinds = set()
    for _ in range(40):
        rubbish = [noise.integers(0, 255, noise.integers(100, 20000), np.uint8) for _ in range(30)]
        del rubbish[::2]
        write_video(tmp_path / "a.mp4", [numbered(index) for index in range(12)], fps=25)
        kinds.add((tmp_path / "a.mp4").read_bytes())
    assert len(kinds) == 1


@pytest.mark.parametrize("name", ["a.webm", "a.xyz", "a"])
def test_suffix_that_names_no_fitting_container(tmp_path, name):
    with pytest.raises(UsageError, match="file cannot hold this video") as caught:
        write_video(tmp_path / name, [numbered(0)], fps=25)
    assert caught.value.code == "VID-017"


def test_written_key_frames_come_at_least_every_gop(tmp_path):
    write_video(tmp_path / "a.mp4", [numbered(i) for i in range(30)], fps=25, gop=6)
    with av.open(str(tmp_path / "a.mp4")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    places = [i for i, key in enumerate(keys) if key]
    assert places[0] == 0
    assert max(np.diff([*places, 30])) == 6


def test_crf_trades_size_for_quality(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), np.uint8)
    for crf in (10, 40):
        write_video(tmp_path / f"{crf}.mp4", noise, fps=25, crf=crf)
    assert (tmp_path / "40.mp4").stat().st_size < (tmp_path / "10.mp4").stat().st_size / 2


def test_odd_sizes_are_padded(tmp_path):
    write_video(tmp_path / "a.mp4", [np.full((47, 63, 3), 90, np.uint8)] * 3, fps=25)
    assert read_frames(tmp_path / "a.mp4", [0]).pixels.shape == (1, 48, 64, 3)


@pytest.mark.parametrize("fps", [29.97, 30, 12.5])
def test_frame_rate_is_kept(tmp_path, fps):
    write_video(tmp_path / "a.mp4", [numbered(0)] * 3, fps=fps)
    assert probe(tmp_path / "a.mp4").fps == pytest.approx(fps, rel=1e-3)


def test_writing_no_frames_or_unequal_ones_leaves_nothing(tmp_path):
    with pytest.raises(UsageError, match="no frames to write") as caught:
        write_video(tmp_path / "a.mp4", [], fps=25)
    assert caught.value.code == "VID-016"
    with pytest.raises(UsageError, match=r"found a frame of \(8, 8, 3\) after \(48, 64, 3\)"):
        write_video(tmp_path / "a.mp4", [numbered(0), numbered(0)[:8, :8]], fps=25)
    assert list(tmp_path.iterdir()) == []
