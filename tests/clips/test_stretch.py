import av
import numpy as np
import pytest

from poselens.clips.stretch import find_stretch, require_whole
from poselens.data.video import count_frames, write_video
from poselens.data.video_extent import Extent, measure_extent
from poselens.errors import AnnotationError, VideoError


def pictures(count):
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    return [np.roll(noise, index, axis=1) for index in range(count)]


def cut(path, share=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def write(path, *, sound=0.0, options=None):
    """Sixty frames at 25 a second, beside which sound may go on for longer."""
    with av.open(str(path), "w", container_options=options or {}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        voice = container.add_stream("aac", rate=48000) if sound else None
        for picture in pictures(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
        for start in range(0, int(48000 * sound), 1024):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 48000, start
            container.mux(voice.encode(silence))
        if voice is not None:
            container.mux(voice.encode())
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "webm"])
def test_a_whole_file_misses_nothing(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "webm":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libvpx-vp9", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for picture in pictures(60):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
            container.mux(stream.encode())
    else:
        write_video(path, pictures(60), fps=25)
    assert measure_extent(path) == Extent(60, 0)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_a_file_that_is_cut_short_misses_what_it_promises(tmp_path, suffix):
    path = write(
        tmp_path / f"a.{suffix}", options={"movflags": "+faststart"} if suffix == "mp4" else {}
    )
    cut(path)
    extent = measure_extent(path)
    assert extent.shown == count_frames(path)
    assert 10 < extent.shown < 50
    assert extent.shown + extent.missing == pytest.approx(60, abs=2)
    found = find_stretch(path)
    assert (found.frames, found.promised) == (extent.shown, extent.shown + extent.missing)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_sound_that_goes_on_promises_no_pictures(tmp_path, suffix):
    assert measure_extent(write(tmp_path / f"a.{suffix}", sound=4.0)) == Extent(60, 0)


def test_an_avi_that_stores_every_fourth_moment_misses_nothing(tmp_path):
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=120)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index, picture in enumerate(pictures(30)):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts = 4 * index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    extent = measure_extent(tmp_path / "a.avi")
    assert extent.shown == 30
    assert extent.missing <= 3


def test_a_stretch_misses_what_lies_behind_the_cut(tmp_path):
    path = write(tmp_path / "a.mp4", options={"movflags": "+faststart"})
    cut(path, 0.7)
    there = count_frames(path)
    before = find_stretch(path, start_s=0.2, end_s=0.8)
    assert (before.first, before.frames, before.promised) == (5, 15, 15)
    across = find_stretch(path, start_s=0.4, end_s=2.2)
    assert (across.first, across.frames, across.promised) == (10, there - 10, 45)
    with pytest.raises(AnnotationError, match=f"frames 55 to {there} of {there}") as caught:
        find_stretch(path, start_s=2.2)
    assert caught.value.code == "DATA-025"


def test_nine_in_ten_are_enough(tmp_path):
    require_whole(tmp_path, 9, 10)
    with pytest.raises(VideoError, match=r"89 of 100 frames can be read.*90%.*Mend") as caught:
        require_whole(tmp_path, 89, 100)
    assert caught.value.code == "VID-019"
