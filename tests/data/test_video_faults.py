"""Bad video files are told apart, named, and never read past what is there."""

import contextlib
import os
import pickle
import socket
import struct
import threading

import av
import av.filter
import numpy as np
import pytest

from poselens.data.video import count_frames, probe, read_frames, write_video
from poselens.errors import EnvironmentFault, UsageError, VideoError


def pictures(count, height=48, width=64):
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    return [np.roll(noise, index, axis=1) for index in range(count)]


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "good.mp4"
    write_video(path, pictures(60), fps=25)
    return path


def refused(path, code, match, kind=VideoError):
    """Every reader refuses ``path`` with the same code, text and file name."""
    for read in (lambda p: read_frames(p, [0]), probe, count_frames):
        with pytest.raises(kind, match=match) as caught:
            read(path)
        assert caught.value.code == code
        assert caught.value.file == str(path)
    return caught.value


def test_missing(tmp_path):
    refused(tmp_path / "none.mp4", "VID-001", "no such video file")


def test_empty(tmp_path):
    (tmp_path / "a.mp4").touch()
    refused(tmp_path / "a.mp4", "VID-002", r"file is empty \(0 bytes\)")


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><title>404</title>", b"\n <HTML>x", b"\xef\xbb\xbf<html lang='en'>"]
)
def test_html(tmp_path, page):
    (tmp_path / "a.mp4").write_bytes(page)
    refused(tmp_path / "a.mp4", "VID-003", r"looks like HTML \(download failed\?\)")


@pytest.mark.parametrize("text", ["hello\n" * 300, "{}", "schön " * 200])
def test_text(tmp_path, text):
    (tmp_path / "a.mp4").write_text(text)
    refused(tmp_path / "a.mp4", "VID-003", "not a video: looks like text")


def test_random_bytes(tmp_path):
    (tmp_path / "a.mp4").write_bytes(np.random.default_rng(0).bytes(4096))
    refused(tmp_path / "a.mp4", "VID-003", "no known container format")


def test_cut_before_the_index(video):
    content = video.read_bytes()
    video.write_bytes(content[: len(content) * 6 // 10])
    fault = refused(video, "VID-004", "container index missing; file is cut short")
    assert "ffmpeg -i IN -c copy" in fault.mend


def test_cut_inside_the_index(video):
    video.write_bytes(video.read_bytes()[:-200])
    refused(video, "VID-004", "container index missing; file is cut short")


def cut_behind_the_index(path):
    with av.open(str(path), "w", container_options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for picture in pictures(60):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])


def test_cut_behind_the_index_reports_decoded_and_promised(tmp_path):
    path = tmp_path / "a.mp4"
    cut_behind_the_index(path)
    found = read_frames(path, [0, 59])
    assert found.short
    assert found.promised == 60
    assert 20 < found.decoded < 50
    assert found.damaged > 0
    last = read_frames(path, [found.decoded - 1])
    np.testing.assert_array_equal(found.pixels[1], last.pixels[0])
    assert not last.short
    assert count_frames(path) < 60


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_cut_streamable_container_reads_as_far_as_it_goes(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    write_video(path, pictures(60), fps=25)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    found = read_frames(path, [0, 59])
    assert found.short
    assert 20 < found.decoded < 50


def test_bytes_damaged_in_the_middle_are_stepped_over_and_counted(video):
    content = bytearray(video.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 1500] = np.random.default_rng(1).bytes(1500)
    video.write_bytes(content)
    found = read_frames(video, [59])
    assert found.damaged > 0
    assert found.decoded > 40


@pytest.mark.parametrize("suffix", ["wav", "mp4"])
def test_audio_only(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le" if suffix == "wav" else "aac", rate=8000)
        stream.layout = "mono"
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.int16 if suffix == "wav" else np.float32),
            format="s16" if suffix == "wav" else "fltp",
            layout="mono",
        )
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    refused(path, "VID-005", r"no video stream \(1 audio stream\)")


def test_no_decodable_frame(video):
    content = bytearray(video.read_bytes())
    start = content.index(b"mdat") + 4
    content[start : content.index(b"moov") - 4] = bytes(content.index(b"moov") - 4 - start)
    video.write_bytes(content)
    for read in (lambda path: read_frames(path, [0]), probe):
        with pytest.raises(VideoError, match="not one frame can be decoded") as caught:
            read(video)
        assert caught.value.code == "VID-006"


@pytest.mark.parametrize(
    "script", ["ffconcat version 1.0\nfile 'good.mp4'\n", "#EXTM3U\n#EXTINF:1,\ngood.mp4\n"]
)
def test_script_that_would_read_another_file(video, script):
    path = video.parent / "script.mp4"
    path.write_text(script)
    refused(path, "VID-007", "format not allowed: a playlist or concat script")


def test_picture_format(tmp_path):
    path = tmp_path / "a.gif"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pictures(1)[0])))
        container.mux(stream.encode())
    refused(path, "VID-007", "format not allowed")


def test_folder(tmp_path):
    refused(tmp_path, "VID-008", "not a regular file but a folder")


def test_fifo_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    refused(tmp_path / "a.mp4", "VID-008", "not a regular file but a FIFO")


def test_socket_and_device(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.mp4"))
        refused(tmp_path / "s.mp4", "VID-008", "but a socket")
    refused("/dev/zero", "VID-008", "but a device")


@pytest.mark.parametrize(
    "name", ["concat:a.mp4|b.mp4", "subfile,,start,0,end,9,,:a.mp4", "pipe:", "-"]
)
def test_protocols(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    fault = refused(name, "VID-009", "only local files can be read", UsageError)
    assert "download it first" in fault.mend


def test_url_is_not_fetched():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        hits = []

        def accept():
            try:
                server.accept()[0].close()
                hits.append(1)
            except TimeoutError:
                pass

        listener = threading.Thread(target=accept)
        listener.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.mp4"
        with pytest.raises(UsageError, match="only local files") as caught:
            read_frames(url, [0])
        listener.join()
    assert caught.value.code == "VID-009"
    assert hits == []


def bomb(path, height=400, width=500, claimed=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb24"
        container.mux(
            stream.encode(av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8)))
        )
        container.mux(stream.encode())
    if claimed:
        content = path.read_bytes()
        for form, shift in ((">HH", 0), (">II", 16)):
            true, false = (
                struct.pack(form, w << shift, h << shift) for h, w in ((height, width), claimed)
            )
            where = content.index(b"moov")  # the picture itself, before it, keeps its true size
            content = content[:where] + content[where:].replace(true, false)
        path.write_bytes(content)


def test_pixel_bomb(tmp_path):
    bomb(tmp_path / "a.mov")
    with pytest.raises(VideoError, match="exceeds the limit of 100,000 pixels") as caught:
        read_frames(tmp_path / "a.mov", [0], max_pixels=100_000)
    assert caught.value.code == "VID-010"
    assert read_frames(tmp_path / "a.mov", [0]).pixels.shape == (1, 400, 500, 3)


def test_pixel_bomb_whose_container_claims_a_small_picture(tmp_path):
    bomb(tmp_path / "a.mov", claimed=(20, 30))
    with pytest.raises(VideoError, match="a frame exceeds the limit of 100,000 pixels") as caught:
        probe(tmp_path / "a.mov", max_pixels=100_000)
    assert caught.value.code == "VID-010"


def test_unknown_codec(video):
    video.write_bytes(video.read_bytes().replace(b"avc1", b"xyz1"))
    refused(video, "VID-011", "video codec is unknown to this build of FFmpeg")


def test_not_permitted(video, monkeypatch):
    def denied(*_args, **_options):
        raise av.error.PermissionError(13, "Permission denied", str(video))

    monkeypatch.setattr(av, "open", denied)
    refused(video, "VID-013", "cannot be read: Permission denied")


def test_link_to_itself(tmp_path):
    (tmp_path / "a.mp4").symlink_to(tmp_path / "a.mp4")
    refused(tmp_path / "a.mp4", "VID-013", "cannot be read: Too many levels of symbolic links")


def test_other_faults_of_the_library_are_named(video, monkeypatch):
    def broken(*_args, **_options):
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    monkeypatch.setattr(av, "open", broken)
    refused(video, "VID-012", r"the container is damaged \(UnicodeDecodeError\)")


def test_out_of_memory(video, monkeypatch):
    def full(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr(av, "open", full)
    refused(video, "ENV-007", "not enough memory to decode", EnvironmentFault)


def test_frame_that_no_filter_takes(video, monkeypatch):
    def broken(*_args, **_options):
        raise av.error.ArgumentError(22, "Invalid argument")

    monkeypatch.setattr(av.filter.Graph, "add_buffer", broken, raising=True)
    with pytest.raises(VideoError, match="format yuv420p cannot be converted to RGB") as caught:
        read_frames(video, [0])
    assert caught.value.code == "VID-012"


def test_one_frame_is_enough(tmp_path):
    write_video(tmp_path / "a.mp4", pictures(1), fps=25)
    found = read_frames(tmp_path / "a.mp4", [0, 5])
    assert (found.short, found.decoded, found.promised) == (True, 1, 1)
    np.testing.assert_array_equal(found.pixels[0], found.pixels[1])


def test_metadata_that_is_not_text_is_ignored(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["comment"] = "MARK"
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pictures(1)[0])))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"MARK", b"\xff\xfe\xfd\xfc"))
    assert read_frames(path, [0]).decoded == 1


def test_faults_travel_out_of_a_worker(tmp_path):
    with pytest.raises(VideoError) as caught:
        read_frames(tmp_path / "none.mp4", [0])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.code, str(copy)) == ("VID-001", str(caught.value))


def test_writing_into_no_folder(tmp_path):
    with pytest.raises(EnvironmentFault, match="cannot write: No such file") as caught:
        write_video(tmp_path / "no" / "a.mp4", pictures(1), fps=25)
    assert caught.value.code == "ENV-003"


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv"])
def test_damaged_files_raise_our_errors_only(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    write_video(path, pictures(12), fps=25)
    good = np.frombuffer(path.read_bytes(), np.uint8)
    draw = np.random.default_rng(7)
    read = 0
    for _ in range(60):
        bad = good.copy()
        places = draw.integers(0, len(bad) if draw.random() < 0.5 else 800, draw.integers(1, 30))
        bad[places] = draw.integers(0, 256, len(places))
        cut = len(bad) if draw.random() < 0.7 else int(draw.integers(1, len(bad)))
        path.write_bytes(bad[:cut].tobytes())
        with contextlib.suppress(VideoError, EnvironmentFault):
            read += read_frames(path, [0, 11], size=(16, 16)).pixels.shape == (2, 16, 16, 3)
    assert read > 5
