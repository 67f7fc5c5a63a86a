"""What can be wrong with a video file, told apart and said in our own words.

FFmpeg answers most bad files with "invalid data"; the first bytes of the file usually tell more.
"""

import errno
import os
import re
import stat
import struct
from pathlib import Path

import av

from poselens.errors import EnvironmentFault, UsageError, VideoError

PYAV_FAULTS = (av.FFmpegError, IndexError, UnicodeDecodeError, EOFError, MemoryError)
"""Everything PyAV was seen to raise over 2,000 damaged files."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.,-]+:")
_PLAYLIST = (b"ffconcat", b"#EXTM3U", b"[playlist]")
_MEND_CODE = "convert it first: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4"
_MEND_AGAIN = "copy or download it again"


def require_video_file(path: Path) -> None:
    """Refuse what is not a regular, non-empty local file, without opening it.

    A FIFO or device would block or never end; a URL would make FFmpeg fetch it.

    Raises:
        VideoError: ``VID-001`` missing, ``VID-002`` empty, ``VID-008`` folder, FIFO, device or
            socket, ``VID-013`` not permitted.
        UsageError: ``VID-009`` a URL, a pipe or an FFmpeg protocol.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as fault:  # ValueError: a null byte
        if _URL.match(str(path)) or str(path) == "-":
            raise UsageError(
                "VID-009",
                "only local files can be read, found a URL or a pipe",
                file=path,
                mend="download it first and give the file",
            ) from fault
        raise VideoError(
            "VID-001", "no such video file", file=path, mend="check the path"
        ) from fault
    except OSError as fault:
        reason = os.strerror(fault.errno or errno.EIO)
        raise VideoError(
            "VID-013", f"cannot be read: {reason}", file=path, mend="check path and permissions"
        ) from fault
    if not stat.S_ISREG(status.st_mode):
        raise VideoError(
            "VID-008",
            f"not a regular file but a {_kind(status.st_mode)}",
            file=path,
            mend="give a video file",
        )
    if status.st_size == 0:
        raise VideoError("VID-002", "file is empty (0 bytes)", file=path, mend=_MEND_AGAIN)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"


def open_fault(path: Path, fault: BaseException) -> VideoError | EnvironmentFault:
    """Say why FFmpeg could not open ``path``, from its first bytes.

    Returns:
        ``VID-003`` not a video, ``VID-004`` container index missing, ``VID-007`` format not
        allowed, ``VID-011`` no decoder, ``VID-012`` damaged, ``VID-013`` not permitted, or
        ``ENV-007`` out of memory. To be raised by the caller.
    """
    if isinstance(fault, MemoryError):
        return memory_fault(path)
    if isinstance(fault, PermissionError):
        return VideoError(
            "VID-013", "cannot be read: Permission denied", file=path, mend="check permissions"
        )
    if isinstance(fault, av.error.DecoderNotFoundError):
        return no_decoder(path)
    with path.open("rb") as file:
        head = file.read(1024)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith(_PLAYLIST):
        kind = "a playlist or concat script, which could read other files"
        return VideoError(
            "VID-007", f"format not allowed: {kind}", file=path, mend="join the parts first"
        )
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")) or b"<html" in text:
        return VideoError(
            "VID-003",
            "not a video: looks like HTML (download failed?)",
            file=path,
            mend=_MEND_AGAIN,
        )
    if _is_text(head):
        return VideoError("VID-003", "not a video: looks like text", file=path, mend=_MEND_AGAIN)
    if lacks_index(path):
        return VideoError(
            "VID-004",
            "container index missing; file is cut short",
            file=path,
            mend="download it again, or repair it: ffmpeg -i IN -c copy OUT.mp4",
        )
    if isinstance(fault, av.error.ArgumentError):
        return VideoError("VID-007", "format not allowed", file=path, where=None, mend=_MEND_CODE)
    if isinstance(fault, av.error.InvalidDataError):
        return VideoError(
            "VID-003", "not a video: no known container format", file=path, mend=_MEND_AGAIN
        )
    return VideoError(
        "VID-012", f"the container is damaged ({type(fault).__name__})", file=path, mend=_MEND_AGAIN
    )


def _is_text(head: bytes) -> bool:
    # the last character may be cut by the end of the sample
    readable = head.decode("utf-8", errors="ignore")
    control = sum(letter < " " and letter not in "\t\r\n\f" for letter in readable)
    return control == 0 and len(readable.encode()) >= len(head) - 3


def lacks_index(path: Path) -> bool:
    """Tell whether an MP4 or QuickTime file has no ``moov`` box among its complete boxes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        position = 0
        while position + 8 <= size:
            file.seek(position)
            header = file.read(16)
            length, name = struct.unpack(">I4s", header[:8])
            if position == 0 and name not in (b"ftyp", b"wide", b"mdat", b"free", b"skip"):
                return False
            if length == 1 and len(header) == 16:
                length = struct.unpack(">Q", header[8:])[0]
            if name == b"moov":
                return bool(position + length > size)
            if length < 8:  # 0: the box runs to the end of the file
                return True
            position += length
    return True


def no_video_stream(path: Path, audio: int, cover: int) -> VideoError:
    """``VID-004`` or ``VID-005``: the container opened, and there is no picture in it."""
    if lacks_index(path):
        return VideoError(
            "VID-004",
            "container index missing; file is cut short",
            file=path,
            mend="download it again, or repair it: ffmpeg -i IN -c copy OUT.mp4",
        )
    plural = "" if audio == 1 else "s"
    art = ", cover picture only" if cover else ""
    return VideoError(
        "VID-005",
        f"no video stream ({audio} audio stream{plural}{art})",
        file=path,
        mend="give a file with pictures",
    )


def no_decoder(path: Path) -> VideoError:
    """``VID-011``: a video stream whose codec this build of FFmpeg cannot decode."""
    return VideoError(
        "VID-011",
        "its video codec is unknown to this build of FFmpeg",
        file=path,
        mend=f"where it plays, {_MEND_CODE}",
    )


def too_many_pixels(path: Path, size: tuple[int, int] | None, limit: int) -> VideoError:
    """``VID-010``: a frame larger than the limit, refused before memory is taken for it."""
    found = "a frame" if size is None else f"{size[1]}x{size[0]} = {size[0] * size[1]:,} pixels"
    return VideoError(
        "VID-010",
        f"{found} exceeds the limit of {limit:,} pixels a frame",
        file=path,
        mend="make it smaller first, or raise max_pixels",
    )


def too_many_frames(path: Path, limit: int) -> VideoError:
    """``VID-018``: more frames than one file may have, whether promised or there."""
    return VideoError(
        "VID-018",
        f"more than {limit:,} frames, the limit of one file",
        file=path,
        mend="cut it into parts, or set POSELENS_MAX_FRAMES to a larger number",
    )


def no_frame(path: Path, fault: BaseException | None) -> VideoError:
    """``VID-006``: nothing could be decoded."""
    reason = f" ({type(fault).__name__})" if fault is not None else ""
    return VideoError(
        "VID-006", f"not one frame can be decoded{reason}", file=path, mend=_MEND_AGAIN
    )


def memory_fault(path: Path) -> EnvironmentFault:
    """``ENV-007``: the machine's memory is not enough for these frames."""
    return EnvironmentFault(
        "ENV-007", "not enough memory to decode", file=path, mend="ask for fewer or smaller frames"
    )
