"""FineGym's own files: lists of clips, categories, and times (Shao et al., CVPR 2020).

Source: sdolivia.github.io/FineGym, ``resources/dataset``. A line of a list is
``VIDEO_E_ssssss_eeeeee_A_ssss_eeee LABEL``: YouTube id, seconds of the event in the video, seconds
of the element in the event, all cut to whole ones. ``gym99_categories.txt`` has lines
``Clabel:   0; set:  1; Glabel:   1; (VT) round-off, ...`` and ``set_categories.txt`` lines
``set: 1; vault``. ``finegym_annotation_info_v1.1.json`` has the times in fractions of a second.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from poselens.data.info import cannot_read
from poselens.errors import AnnotationError

LIST_LIMIT = 64 * 1024**2
EVENTS: Mapping[str, str] = {
    "VT": "vault", "FX": "floor exercise", "BB": "balance beam", "UB": "uneven bars",
}  # fmt: skip
_ID = re.compile(r"([A-Za-z0-9_-]{11})_(?:E_)?([0-9]{6})_([0-9]{6})_(?:A_)?([0-9]{4})_([0-9]{4})")
_LINE = re.compile(r"(\S{1,80})[ \t]+([0-9]{1,4})")
_CATEGORY = re.compile(
    r"Clabel:\s*([0-9]{1,4});\s*set:\s*([0-9]{1,4});\s*Glabel:\s*([0-9]{1,4});\s*"
    r"\(([A-Z]{2})\)\s*(\S.*?)\s*"
)
_SET = re.compile(r"set:\s*([0-9]{1,4});\s*(\S.*?)\s*")


@dataclass(frozen=True, slots=True)
class GymId:
    """What the name of a FineGym clip says; times in whole seconds.

    Attributes:
        video: YouTube id.
        event_s: Start and end of the event in the video.
        element_s: Start and end of the element in the event.
    """

    video: str
    event_s: tuple[int, int]
    element_s: tuple[int, int]

    @property
    def event(self) -> str:
        """Name of the event, as its video is called."""
        return f"{self.video}_{self.event_key}"

    @property
    def event_key(self) -> str:
        """Name of the event within its video."""
        return f"E_{self.event_s[0]:06d}_{self.event_s[1]:06d}"

    @property
    def element_key(self) -> str:
        """Name of the element within its event."""
        return f"A_{self.element_s[0]:04d}_{self.element_s[1]:04d}"

    @property
    def text(self) -> str:
        """The name, as the lists write it."""
        return f"{self.event}_{self.element_key}"


def gym_id(text: str) -> GymId | None:
    """Read a clip's name, with or without ``E_`` and ``A_``; None for any other text."""
    match = _ID.fullmatch(text)
    if match is None:
        return None
    numbers = [int(number) for number in match.groups()[1:]]
    return GymId(match[1], (numbers[0], numbers[1]), (numbers[2], numbers[3]))


@dataclass(frozen=True, slots=True)
class Category:
    """A class.

    Attributes:
        name: Its name, unlike that of every other.
        event: The apparatus, as in ``EVENTS``.
        set_name: The set of elements it belongs to.
    """

    name: str
    event: str
    set_name: str


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return numbered lines without the blank ones.

    Raises:
        AnnotationError: ``DATA-035`` when the file is missing, too large or not text.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    text = _text(path)
    return [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]


def _text(path: Path) -> str:
    def refuse(message: str, mend: str, byte: int = 0) -> AnnotationError:
        return AnnotationError("DATA-035", message, file=path, where=f"byte {byte}", mend=mend)

    try:
        if path.stat().st_size > LIST_LIMIT:
            raise refuse(f"larger than {LIST_LIMIT} bytes", "download it again")
        data = path.read_bytes()
    except FileNotFoundError as fault:
        raise refuse(
            "the file is missing", "download it from sdolivia.github.io/FineGym"
        ) from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    if data.lstrip()[:1] == b"<":
        raise refuse("not a list; looks like HTML", "download it again")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise refuse("not UTF-8 text", "download it again", fault.start) from fault


def read_list(path: Path, classes: int) -> dict[str, int]:
    """Return the label of every clip of a list, in its order.

    Raises:
        AnnotationError: ``DATA-035`` no file or no text, ``DATA-036`` a line that is no clip and
            label, ``DATA-006`` a label out of range, ``DATA-007`` a clip that is there twice.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    labels: dict[str, int] = {}
    lines: dict[str, int] = {}
    for number, line in read_lines(path):

        def refuse(code: str, message: str, mend: str, at: int = number) -> NoReturn:
            raise AnnotationError(code, message, file=path, where=f"line {at}", mend=mend)

        match = _LINE.fullmatch(line)
        clip = gym_id(match[1]) if match else None
        if match is None or clip is None:
            refuse(
                "DATA-036",
                f"found {line[:60]!r}, expected VIDEO_E_ssssss_eeeeee_A_ssss_eeee LABEL",
                "download the list again",
            )  # fmt: skip
        label = int(match[2])
        if label >= classes:
            refuse("DATA-006", f"label {label}, expected 0 to {classes - 1}", "take its own list")
        first = lines.setdefault(clip.text, number)
        if first != number:
            refuse(
                "DATA-007", f"{clip.text} is there twice, in lines {first} and {number}",
                "leave one of them out",
            )  # fmt: skip
        labels[clip.text] = label
    return labels


def read_categories(path: Path, sets: Path | None = None) -> list[Category]:
    """Return the classes in the order of their labels.

    Departure: names that are there twice (salto backward tucked is an element and a dismount) get
    their set behind them, and their number in the whole list where that does not tell them apart.

    Raises:
        AnnotationError: ``DATA-035`` no file or no text, ``DATA-037`` a line that is no category,
            or labels that do not count from 0.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    set_names = {} if sets is None else read_sets(sets)
    rows: list[tuple[str, str, str, str]] = []
    for number, line in read_lines(path):
        match = _CATEGORY.fullmatch(line)
        if match is None or int(match[1]) != len(rows):
            raise AnnotationError(
                "DATA-037",
                f"found {line[:60]!r}, expected 'Clabel: {len(rows)}; set: N; Glabel: N; (VT) ...'",
                file=path, where=f"line {number}", mend="download the categories again",
            )  # fmt: skip
        set_name = set_names.get(int(match[2]), f"set {int(match[2])}")
        rows.append((f"({match[4]}) {match[5]}", match[4], set_name, match[3]))
    names = [row[0] for row in rows]
    within = [f"{name} [{set_name}]" for name, _, set_name, _ in rows]
    categories: list[Category] = []
    for row, longer in zip(rows, within, strict=True):
        name, event, set_name, glabel = row
        if names.count(name) > 1:
            name = longer if within.count(longer) == 1 else f"{longer} {glabel}"
        categories.append(Category(name, EVENTS.get(event, event), set_name))
    return categories


def read_sets(path: Path) -> dict[int, str]:
    """Return the names of the sets of elements.

    Raises:
        AnnotationError: ``DATA-035`` no file or no text, ``DATA-037`` a line that is no set.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    names: dict[int, str] = {}
    for number, line in read_lines(path):
        match = _SET.fullmatch(line)
        if match is None:
            raise AnnotationError(
                "DATA-037", f"found {line[:60]!r}, expected 'set: N; NAME'", file=path,
                where=f"line {number}", mend="download the categories again",
            )  # fmt: skip
        names[int(match[1])] = match[2]
    return names


class Times:
    """When elements happen, to a fraction of a second.

    Args:
        path: ``finegym_annotation_info_v1.0.json`` or ``v1.1``.

    Raises:
        AnnotationError: ``DATA-035`` no file or no text, ``DATA-038`` no JSON of this form.
        EnvironmentFault: ``ENV-004`` not readable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            content = json.loads(_text(path))
        except (ValueError, RecursionError) as fault:
            place = f"line {fault.lineno}" if isinstance(fault, json.JSONDecodeError) else None
            raise self._fault("not valid JSON", place) from fault
        if not isinstance(content, dict):
            raise self._fault("expected videos by their YouTube id")
        self._videos: dict[str, object] = content

    def _fault(self, message: str, where: str | None = None) -> AnnotationError:
        return AnnotationError(
            "DATA-038", message, file=self._path, where=where, mend="download it again"
        )

    def span_s(self, clip: GymId, *, in_video: bool) -> tuple[float, float] | None:
        """Return start and end of a clip in its event or video; None where the file lacks it.

        A vault has three stages; it lasts from the first to the last.

        Raises:
            AnnotationError: ``DATA-038`` when the times of the clip are no times.
        """
        events = self._videos.get(clip.video)
        event = events.get(clip.event_key) if isinstance(events, dict) else None
        if not isinstance(event, dict):
            return None
        segments = event.get("segments")
        element = segments.get(clip.element_key) if isinstance(segments, dict) else None
        if not isinstance(element, dict):
            return None
        begin = self._spans(event, clip)[0][0] if in_video else 0.0
        spans = self._spans(element, clip)
        start, end = begin + spans[0][0], begin + spans[-1][1]
        if end <= start:
            raise self._fault(f"times {start} to {end}", f"{clip.text}")
        return start, end

    def _spans(self, entry: Mapping[str, object], clip: GymId) -> Sequence[Sequence[float]]:
        spans = entry.get("timestamps")
        if not isinstance(spans, list) or not spans or not all(map(_is_span, spans)):
            raise self._fault("timestamps are no list of [start, end] in seconds", clip.text)
        return spans


def _is_span(span: object) -> bool:
    return (
        isinstance(span, list)
        and len(span) == 2
        and all(
            isinstance(time, int | float) and not isinstance(time, bool) and 0 <= time < 1e6
            for time in span
        )
    )
