"""One ``.skeleton`` file of NTU RGB+D: every body that the Kinect v2 tracked, frame by frame.

A text file, described by the authors' reader (github.com/shahroudy/NTURGB-D)::

    frames
    bodies                                                      for each frame, may be 0
    id + 9 numbers on edges, hands, lean and tracking state     for each body
    25
    x y z depthX depthY colorX colorY w x y z state             for each joint

x, y, z are metres before the depth camera, colorX and colorY pixels of the 1920 x 1080 video.
"""

import contextlib
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from poselens.data.arrays import require_regular_file
from poselens.data.clip_limits import FILE_LIMIT, FRAME_LIMIT, PEOPLE_LIMIT
from poselens.data.info import cannot_read
from poselens.data.store import VALUE_LIMIT, zeros_are_missing
from poselens.errors import PoselensError, SkeletonError
from poselens.pose.layouts import get_layout, require_joint_count

LAYOUT = "ntu-25"
WIDTH, HEIGHT = 1920, 1080
JOINTS = 25
_JOINT_FIELDS = 12
_BODY_FIELDS = 10
_XYZ, _COLOUR = slice(0, 3), slice(5, 7)

_PLAIN = b"0123456789+-.eE \n"
_COUNT = re.compile(rb"[0-9]{1,9}")
_ID = re.compile(rb"[0-9]{1,20}")
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
# as C, C#, and Microsoft's C library print them
_NOT_FINITE = re.compile(rb"[+-]?(?:nan|inf|infinity|1\.#(?:qnan|snan|ind|inf)[0-9]*)", re.I)
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "a zip archive"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"7z\xbc\xaf", "7-Zip"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"\x80\x02", "a pickle, which is never opened"),
    (b"\x80\x04", "a pickle, which is never opened"),
    (b"\x93NUMPY", "an .npy array"),
)


@dataclass(frozen=True, eq=False)
class NtuSkeleton:
    """What one file holds, a row for every body of every frame, in the order of the file.

    Attributes:
        frames: Frames of the recording, those without a body included.
        frame: Frame of each row, from 0.
        body: Tracking id of each row, as it is written: 17 digits do not fit a float.
        joints_metres: ``(b, v, 3)`` before the depth camera; NaN marks a missing joint.
        joints_pixels: ``(b, v, 2)`` of the 1920 x 1080 colour video; NaN marks a missing joint.
    """

    frames: int
    frame: Int[np.ndarray, " b"]
    body: tuple[str, ...]
    joints_metres: Float[np.ndarray, "b v 3"]
    joints_pixels: Float[np.ndarray, "b v 2"]


def read_ntu_skeleton(path: Path) -> NtuSkeleton:
    """Read one ``.skeleton`` file.

    CRLF, a byte order mark, tabs, blank lines, and blanks around fields are accepted. A joint at
    the sensor's origin, or with NaN or infinity for x, y or z, is missing; one whose colour
    coordinates are no numbers, or beyond a million, is missing in pixels alone.

    Args:
        path: The file.

    Raises:
        SkeletonError: ``SKEL-001`` missing, ``SKEL-003`` over a limit (64 MB, 20,000 frames, 32
            bodies in a frame), ``SKEL-004`` not 25 joints, ``SKEL-008`` a position beyond a
            million, ``SKEL-010`` no body in any frame, ``SKEL-050`` not text, ``SKEL-051`` fewer or
            more lines than its counts say, ``SKEL-052`` a count or id that is no whole number,
            ``SKEL-053`` a line of another number of fields, or a field that is no number,
            ``SKEL-054`` one id twice in a frame.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    text = _Text(_read(path), path)
    frames, rows, bodies, starts = _walk(text)
    if not starts:
        raise SkeletonError(
            "SKEL-010", f"no body in any of {frames} frames", file=path, where="line 1",
            mend="leave the clip out, or give its video alone",
        )  # fmt: skip
    values = _numbers(text, starts)
    metres, pixels = values[..., _XYZ], values[..., _COLOUR]
    # a word became NaN; what is infinite was a number too large for a float
    if not (np.abs(np.nan_to_num(metres, posinf=np.inf)) <= VALUE_LIMIT).all():
        body, joint, axis = np.argwhere(np.nan_to_num(np.abs(metres)) > VALUE_LIMIT)[0]
        raise text.fault(
            "SKEL-008",
            f"{'xyz'[axis]} is {metres[body, joint, axis]:.3g}, the limit is {VALUE_LIMIT:.0e}",
            starts[body] + int(joint),
            f"joint {joint + 1}",
            "give positions in metres",
        )
    with np.errstate(invalid="ignore"):
        pixels = np.where(np.abs(pixels) <= VALUE_LIMIT, pixels, np.nan)
    metres = zeros_are_missing(metres)
    # a joint without a position has no place in the picture either
    pixels[np.isnan(metres[..., 0])] = np.nan
    return NtuSkeleton(frames, np.array(rows), tuple(bodies), metres, _both(pixels))


def _both(pixels: NDArray[np.float64]) -> NDArray[np.float32]:
    pixels[np.isnan(pixels).any(axis=-1)] = np.nan
    return pixels.astype(np.float32)


def _read(path: Path) -> bytes:
    def refuse(message: str) -> PoselensError:
        return SkeletonError(
            "SKEL-050", message, file=path, where="line 1", mend="unpack or download it again"
        )

    try:
        size = require_regular_file(path, refuse)
        if size > FILE_LIMIT:
            raise SkeletonError(
                "SKEL-003", f"{size} bytes, the limit is {FILE_LIMIT}", file=path, where="line 1",
                mend="split the clip",
            )  # fmt: skip
        data = path.read_bytes()
    except FileNotFoundError as fault:
        raise SkeletonError(
            "SKEL-001", "the skeleton file is missing", file=path, mend="check the path"
        ) from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            raise refuse(f"not text; looks like {kind}")
    return data


class _Text:
    """The lines of a file that are not blank, fields one blank apart, and where they stood."""

    def __init__(self, data: bytes, path: Path) -> None:
        self.path = path
        data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").rstrip()
        odd = data.translate(None, _PLAIN)
        lines = data.split(b"\n")
        blanks = (b"  ", b"\n\n", b"\n ", b" \n")
        self.numbers: list[int] | range = range(1, len(lines) + 1)
        if odd or data[:1] in (b"", b" ", b"\n") or any(blank in data for blank in blanks):
            lines = [b" ".join(line.split()) for line in lines]
            self.numbers = [number for number, line in enumerate(lines, start=1) if line]
            lines = [line for line in lines if line]
        self.lines = lines
        if odd:
            self._check_characters()

    def fault(
        self, code: str, message: str, place: int, inside: str = "", mend: str = "download it again"
    ) -> SkeletonError:
        """Return an error at a line, by its place among those that are not blank."""
        where = f"line {self.numbers[place]}" if place < len(self.lines) else "after the last line"
        where = f"{where}, {inside}" if inside else where
        return SkeletonError(code, message, file=self.path, where=where, mend=mend)

    def _check_characters(self) -> None:
        """Refuse what is no text; put ``nan`` for what is written instead of a number."""
        for place, line in enumerate(self.lines):
            if not line.translate(None, _PLAIN):
                continue
            if b"\0" in line or not line.isascii():
                found = "a NUL byte" if b"\0" in line else "a byte that is not ASCII"
                if not place:
                    found += ": binary, or text in another encoding"
                raise self.fault("SKEL-050", f"not plain text: found {found}", place)
            fields = line.split(b" ")
            for at, field in enumerate(fields):
                if len(fields) in (_BODY_FIELDS, _JOINT_FIELDS) and _NOT_FINITE.fullmatch(field):
                    fields[at] = b"nan"
                elif not _NUMBER.fullmatch(field):
                    code = "SKEL-052" if len(fields) == 1 else "SKEL-053"
                    raise self.fault(
                        code, f"field {at + 1} is {_shown(field)}, expected a number", place
                    )
            self.lines[place] = b" ".join(fields)


def _shown(field: bytes) -> str:
    text = field[:30].decode("ascii", errors="replace")
    return repr(text) + ("..." if len(field) > 30 else "")


def _walk(text: _Text) -> tuple[int, list[int], list[str], list[int]]:
    """Follow the counts through the lines.

    Returns:
        Frames; and for each body of each frame its frame, id and the place of its first joint.
    """
    frames = _count(text, 0, "frames", FRAME_LIMIT)
    rows: list[int] = []
    bodies: list[str] = []
    starts: list[int] = []
    place = 1
    for frame in range(frames):
        _require(text, place, frame, frames)
        people = _count(text, place, "bodies", PEOPLE_LIMIT)
        place += 1
        seen: set[bytes] = set()
        for _ in range(people):
            _require(text, place + 1 + JOINTS, frame, frames)
            name = _body(text, place)
            if name in seen:
                raise text.fault(
                    "SKEL-054", f"body {name.decode()} is there twice in frame {frame + 1}", place,
                    mend="leave the clip out",
                )  # fmt: skip
            seen.add(name)
            _check_joint_count(text, place + 1)
            rows.append(frame)
            bodies.append(name.decode())
            starts.append(place + 2)
            place += 2 + JOINTS
    if place < len(text.lines):
        raise text.fault(
            "SKEL-051",
            f"the file goes on after the {frames} frames it announces "
            f"({len(text.lines) - place} lines more)",
            place,
        )
    return frames, rows, bodies, starts


def _require(text: _Text, place: int, frame: int, frames: int) -> None:
    if place >= len(text.lines):
        raise text.fault(
            "SKEL-051",
            f"the file ends in frame {frame + 1}, but announces {frames} frames",
            len(text.lines) - 1,
        )


def _count(text: _Text, place: int, what: str, limit: int) -> int:
    if place >= len(text.lines):
        raise SkeletonError(
            "SKEL-050", f"only blanks, expected the number of {what}", file=text.path,
            where="line 1", mend="download it again",
        )  # fmt: skip
    line = text.lines[place]
    if not _COUNT.fullmatch(line):
        huge = line.isdigit()
        raise text.fault(
            "SKEL-003" if huge else "SKEL-052",
            f"{_shown(line)} {what}, " + (f"the limit is {limit}" if huge else "expected a count"),
            place,
        )
    if int(line) > limit:
        raise text.fault("SKEL-003", f"{int(line)} {what}, the limit is {limit}", place)
    return int(line)


def _body(text: _Text, place: int) -> bytes:
    """Check the line that opens a body, and return its id."""
    fields = text.lines[place].split(b" ")
    if len(fields) != _BODY_FIELDS:
        raise text.fault(
            "SKEL-053",
            f"a body opens with {_BODY_FIELDS} fields, found {len(fields)}", place,
        )  # fmt: skip
    if not _ID.fullmatch(fields[0]):
        raise text.fault("SKEL-052", f"the id of a body is {_shown(fields[0])}", place)
    _check_fields(text, fields, place)
    return fields[0]


def _check_fields(text: _Text, fields: list[bytes], place: int) -> None:
    for at, field in enumerate(fields):
        if not _NUMBER.fullmatch(field) and field != b"nan":
            raise text.fault(
                "SKEL-053", f"field {at + 1} is {_shown(field)}, expected a number", place
            )


def _check_joint_count(text: _Text, place: int) -> None:
    line = text.lines[place]
    if line == b"25":
        return
    if not _COUNT.fullmatch(line):
        raise text.fault("SKEL-052", f"{_shown(line)} joints, expected {JOINTS}", place)
    require_joint_count(
        int(line), get_layout(LAYOUT), file=str(text.path), where=f"line {text.numbers[place]}"
    )


def _numbers(text: _Text, starts: list[int]) -> Float[np.ndarray, "b v f"]:
    """Read the joints' lines, all at once; only a bad one is looked at by itself."""
    blocks = [text.lines[start : start + JOINTS] for start in starts]
    if any(line.count(b" ") != _JOINT_FIELDS - 1 for block in blocks for line in block):
        _refuse_first_bad(text, starts)
    joined = b"\n".join(line for block in blocks for line in block)
    values = np.empty(0)
    # NumPy stops at what is no number, with a warning or an error according to its version
    with warnings.catch_warnings(), contextlib.suppress(DeprecationWarning, ValueError):
        warnings.simplefilter("error", DeprecationWarning)
        values = np.fromstring(joined, dtype=np.float64, sep=" ")
    if len(values) != len(starts) * JOINTS * _JOINT_FIELDS:
        _refuse_first_bad(text, starts)
    return values.reshape(len(starts), JOINTS, _JOINT_FIELDS)


def _refuse_first_bad(text: _Text, starts: list[int]) -> None:
    for place in (place for start in starts for place in range(start, start + JOINTS)):
        fields = text.lines[place].split(b" ")
        if len(fields) != _JOINT_FIELDS:
            raise text.fault(
                "SKEL-053", f"a joint has {_JOINT_FIELDS} fields, found {len(fields)}", place
            )
        _check_fields(text, fields, place)
