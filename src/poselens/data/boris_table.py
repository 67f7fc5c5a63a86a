"""Tables of events that BORIS exports, as text; see ``boris.py`` for the sources."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from poselens.data.annotated import seconds
from poselens.data.importing import ImportReport
from poselens.errors import AnnotationError

NOBODY = "No focal subject"
_HEADER_LIMIT = 200
_POINT = "POINT"
_MEDIA = ("media file name", "media file", "media file path")


@dataclass(frozen=True, slots=True)
class Event:
    """One behaviour, from its start to its stop.

    Attributes:
        observation: Id of the observation.
        media: The video, as BORIS names it.
        subject: Who acts; empty where unknown.
        behaviour: The code.
        start: Seconds in the video.
        stop: Seconds in the video; equal to ``start`` for an event without duration.
        place: Where it stands in the file.
    """

    observation: str
    media: str
    subject: str
    behaviour: str
    start: float
    stop: float
    place: str


def refusal(path: Path, text: str, where: str | None = None, mend: str = "") -> AnnotationError:
    """Return ``DATA-047``: no file of BORIS, or damaged."""
    mend = mend or "give the .boris project, or events exported as CSV or TSV"
    return AnnotationError("DATA-047", text, file=path, where=where, mend=mend)


def read_table(path: Path, report: ImportReport) -> list[Event]:
    """Read aggregated events, or single ones; note those that are left out.

    Raises:
        AnnotationError: ``DATA-047`` no table of BORIS, or damaged.
        OSError: When it is missing or not permitted.
    """
    line = 1
    names: dict[str, int] = {}
    preamble: dict[str, str] = {}
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.reader(file, strict=True, delimiter=max("\t,;", key=head.count))
            for fields in reader:
                texts = [field.strip() for field in fields]
                if names and any(texts):
                    if len(texts) < max(names.values()) + 1:
                        raise refusal(path, f"{len(texts)} fields", f"line {line}")
                    rows.append((line, {name: texts[at] for name, at in names.items()}))
                elif {"subject", "behavior"} <= {text.lower() for text in texts}:
                    names = {text.lower(): at for at, text in enumerate(texts) if text}
                elif len(texts) > 1:
                    preamble.setdefault(texts[0].lower(), texts[1])
                line = reader.line_num + 1
                if not names and line > _HEADER_LIMIT:
                    break
    except (UnicodeDecodeError, csv.Error) as fault:
        raise refusal(
            path, f"not UTF-8 text of a table ({type(fault).__name__})", f"line {line}"
        ) from fault
    if {"start (s)", "stop (s)"} <= names.keys():
        return _aggregated(rows, path, report)
    if "time" in names and {"status", "behavior type"} & names.keys():
        return _single_events(rows, preamble, path, report)
    raise refusal(path, "no columns Subject, Behavior and Start (s), Stop (s), or Time and Status")


def _time(row: Mapping[str, str], name: str, path: Path, line: int) -> float:
    def refuse(_code: str, message: str, mend: str) -> AnnotationError:
        return refusal(path, message, f"line {line}", mend)

    found = seconds(row[name], name, refuse)
    if found is None:
        raise refusal(path, f"{name} is empty", f"line {line}")
    return found


def _media_of(row: Mapping[str, str]) -> str:
    named = next((row[name] for name in _MEDIA if row.get(name)), "")
    if not named and row.get("source", "").startswith("player #1:"):
        named = row["source"].removeprefix("player #1:")
    return named


def _is_shifted(row: Mapping[str, str]) -> bool:
    return row.get("time offset (s)", "").strip("0.") not in ("", "NA")


def _aggregated(
    rows: Sequence[tuple[int, dict[str, str]]], path: Path, report: ImportReport
) -> list[Event]:
    several = _observations_of_several(rows)
    events = []
    for line, row in rows:
        place = f"line {line}"
        observation = row.get("observation id", "")
        reason = _row_fault(row, observation, several)
        if reason:
            report.skip("DATA-048", f"{path}:{place}", reason)
            continue
        start = _time(row, "start (s)", path, line)
        is_point = row.get("behavior type", "").upper() == _POINT
        stop = start if is_point else _time(row, "stop (s)", path, line)
        who = "" if row["subject"] == NOBODY else row["subject"]
        if stop < start or (stop == start and not is_point):
            report.skip("DATA-050", f"{path}:{place}", f"stops at {stop} s, starts at {start} s")
            continue
        events.append(Event(observation, _media_of(row), who, row["behavior"], start, stop, place))
    return events


def _observations_of_several(rows: Sequence[tuple[int, dict[str, str]]]) -> set[str]:
    media: dict[str, set[str]] = {}
    for _, row in rows:
        media.setdefault(row.get("observation id", ""), set()).add(_media_of(row))
    return {name for name, files in media.items() if name and len(files) > 1}


def _row_fault(row: Mapping[str, str], observation: str, several: set[str]) -> str:
    if not _media_of(row):
        return "no media file: a live observation or one of pictures"
    if _is_shifted(row):
        return f"a time offset of {row['time offset (s)']} s; set it to 0 in BORIS"
    if observation in several:
        return (
            f"observation {observation!r} has several media files, whose times a table counts "
            "through; give the .boris project"
        )
    return ""


def _single_events(
    rows: Sequence[tuple[int, dict[str, str]]],
    preamble: Mapping[str, str],
    path: Path,
    report: ImportReport,
) -> list[Event]:
    status = "status" if rows and "status" in rows[0][1] else "behavior type"
    several = _observations_of_several(rows)
    # an older table is of one observation, which is named above it
    own = preamble.get("observation id", "")
    if own and len({_media_of(row) for _, row in rows}) > 1:
        several.add(own)
    offset = preamble.get("time offset (s)", "")
    going: dict[tuple[str, ...], tuple[float, str]] = {}
    events = []
    for line, row in rows:
        place = f"line {line}"
        observation = row.get("observation id", own)
        reason = _row_fault({"time offset (s)": offset} | row, observation, several)
        if reason:
            report.skip("DATA-048", f"{path}:{place}", reason)
            continue
        time, kind, media = _time(row, "time", path, line), row[status].upper(), _media_of(row)
        who = "" if row["subject"] == NOBODY else row["subject"]
        key = (observation, media, row["subject"], row["behavior"])
        if kind == _POINT:
            events.append(Event(observation, media, who, row["behavior"], time, time, place))
        elif kind == "START" and key not in going:
            going[key] = (time, place)
        elif kind == "STOP" and key in going and going[key][0] < time:
            start, begun = going.pop(key)
            events.append(Event(observation, media, who, row["behavior"], start, time, begun))
        else:
            raise refusal(path, f"{status} is {kind!r}, which fits no event before it", place)
    for (*_, behaviour), (_, place) in going.items():
        report.skip("DATA-050", f"{path}:{place}", f"{behaviour!r} starts and never stops")
    return events
