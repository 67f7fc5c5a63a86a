"""A drawn data set with one fault of each kind planted in it, to be found by a check."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from poselens.data.video import iterate_frames, write_video

Row = dict[str, str]


def frames_of(path: Path) -> NDArray[np.uint8]:
    return np.stack(list(iterate_frames(path)))


def change_rows(root: Path, change: Callable[[Row], Row | None]) -> None:
    """Rewrite clips.csv; None removes a row."""
    path = root / "clips.csv"
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        names, rows = list(reader.fieldnames or []), list(reader)
    kept = [row for row in map(change, rows) if row is not None]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)


def change_row(root: Path, clip: str, **values: str) -> None:
    change_rows(root, lambda row: {**row, **values} if row["id"] == clip else row)


def add_copy(root: Path, clip: str, name: str, frames: NDArray[np.uint8] | None, crf: int) -> None:
    """Add a clip that shows the recording of another one; with no frames, its very bytes."""
    video = f"videos/{name}.mp4"
    origin = root / "videos" / f"{clip}.mp4"
    if frames is None:
        shutil.copy(origin, root / video)
    else:
        write_video(root / video, frames, fps=24, crf=crf)
    path = root / "clips.csv"
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or [])
        row = next(row for row in reader if row["id"] == clip)
    row = {**row, "id": name, "video": video, "source": name, "width": "", "height": ""}
    with path.open("a", newline="") as file:
        csv.DictWriter(file, names, lineterminator="\n").writerow(row)


def change_joints(root: Path, space: str, clip: str, change: Callable[[NDArray], NDArray]) -> None:
    """Rewrite the stored joints of one clip, ``(people * frames, v, c)``, in place."""
    with np.load(root / "skeletons" / f"{space}_index.npz") as index:
        place = index["ids"].tolist().index(clip)
        start = int(index["offset"][place])
        rows = int(index["frames"][place] * index["people"][place])
    array = np.load(root / "skeletons" / f"{space}.npy", mmap_mode="r+")
    array[start : start + rows] = change(np.array(array[start : start + rows]))
    array.flush()


def remux(
    path: Path,
    *,
    rotation: int = 0,
    step: Callable[[int], int] | None = None,
) -> None:
    """Copy the packets of a video, with a rotation flag, or with other times of frames."""
    target = path.with_name("remuxed.mp4")
    with av.open(str(path)) as source, av.open(str(target), "w") as sink:
        stream = source.streams.video[0]
        copy = sink.add_stream_from_template(stream)
        if rotation:
            copy.codec_context.options = {}
        count = 0
        for packet in source.demux(stream):
            if packet.dts is None:
                continue
            if step is not None:
                moved = step(count)
                packet.pts += moved
                packet.dts += moved
            count += 1
            packet.stream = copy
            sink.mux(packet)
    target.replace(path)


def turn(path: Path) -> None:
    """Write the rotation of a telephone held upright into an MP4's track header."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4
    # version 0: flags 4, times 8, id 4, reserved 4, duration 4, reserved 8, layer to volume 8
    matrix = place + 4 + 8 + 4 + 4 + 4 + 8 + 8
    one, minus = (0x10000).to_bytes(4, "big"), (0x100000000 - 0x10000).to_bytes(4, "big")
    nothing, last = bytes(4), (0x40000000).to_bytes(4, "big")
    content[matrix : matrix + 36] = b"".join(
        [nothing, one, nothing, minus, nothing, nothing, nothing, nothing, last]
    )
    path.write_bytes(bytes(content))


def cut_in_half(path: Path) -> None:
    """Cut a Matroska or MP4 file whose index lies in front; the promise stays."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])


def index_first(path: Path) -> None:
    """Move the index of an MP4 to the front, so that a file cut short still opens."""
    target = path.with_name("front.mp4")
    with (
        av.open(str(path)) as source,
        av.open(str(target), "w", options={"movflags": "faststart"}) as sink,
    ):
        copy = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                sink.mux(packet)
    target.replace(path)


def spoil(root: Path) -> dict[str, str]:
    """Plant a fault of each kind; return for each code the clip that it is to be told of."""
    video = lambda number: root / "videos" / f"synth-{number:06}.mp4"  # noqa: E731
    name = lambda number: f"synth-{number:06}"  # noqa: E731
    video(0).write_bytes(b"<html>404</html>")
    index_first(video(1))
    cut_in_half(video(1))
    change_row(root, name(2), end_s="9.5")
    change_row(root, name(3), width="65")
    write_video(video(4), frames_of(video(4))[::2], fps=24)
    remux(video(5), step=lambda packet: 200 * packet if packet > 10 else 0)
    turn(video(6))
    change_row(root, name(6), width="64", height="64")
    change_joints(root, "pixels", name(7), lambda rows: rows * np.float32(np.nan))
    change_joints(root, "metres", name(7), lambda rows: rows * np.float32(np.nan))
    for space in ("pixels", "metres"):
        change_joints(root, space, name(8), _absent_early)
        change_joints(root, space, name(9), _half_missing)
        change_joints(root, space, name(11), _held)
        change_joints(root, space, name(12), _standing)
    change_joints(root, "pixels", name(10), lambda rows: rows + np.float32(90))
    change_joints(root, "metres", name(13), lambda rows: rows * np.float32(1000))
    frames = frames_of(video(20))
    add_copy(root, name(20), "copy-worse", frames, 30)
    add_copy(root, name(21), "copy-same", None, 0)
    add_copy(root, name(22), "copy-other-label", None, 0)
    change_row(root, "copy-other-label", label="put-down")
    return {
        "CHK-001": name(0), "CHK-002": name(1), "CHK-004": name(2), "CHK-005": name(3),
        "CHK-006": name(4), "CHK-007": name(5), "CHK-009": name(6), "CHK-012": name(7),
        "CHK-013": name(8), "CHK-014": name(9), "CHK-015": name(10), "CHK-016": name(11),
        "CHK-017": name(12), "CHK-019": name(13), "CHK-021": name(22),
    }  # fmt: skip


def _absent_early(rows: NDArray) -> NDArray:
    rows[: len(rows) * 6 // 10] = np.nan
    return rows


def _half_missing(rows: NDArray) -> NDArray:
    rows[:, ::2] = np.nan
    return rows


def _held(rows: NDArray) -> NDArray:
    rows[5:] = rows[5]
    return rows


def _standing(rows: NDArray) -> NDArray:
    rows[:] = rows[0]
    return rows
