"""Importer for annotations of BORIS (Friard and Gamba, 2016): project files and exported tables.

Sources: https://www.boris.unito.it/user_guide, "Export events", and the project files and exports
among BORIS' own tests (github.com/olivierfriard/BORIS, tests/files): ``observations`` with
``file``, ``events`` of [time, subject, behaviour, modifiers, comment] and ``media_info.length``;
``behaviors_conf`` with ``code`` and ``type``; aggregated tables with Start (s) and Stop (s); tables
of single events with Time and START, STOP or POINT.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from poselens.data.annotated import write_annotated
from poselens.data.arrays import require_regular_file
from poselens.data.boris_table import NOBODY, Event, read_table, refusal
from poselens.data.disk import require_free
from poselens.data.importing import ImportReport, Link
from poselens.data.info import cannot_read
from poselens.data.json_file import read_json
from poselens.data.video_places import Stretch, VideoPlaces, clips_of
from poselens.errors import UsageError

FILE_LIMIT = 64 * 1024 * 1024


def import_boris(
    src: Path,
    out: Path,
    *,
    videos: Path | None = None,
    point_window: float | None = None,
    link: Link = "copy",
    seed: int = 0,
) -> ImportReport:
    """Import a ``.boris`` project, or a table of events exported as CSV or TSV.

    Every state becomes a clip from start to stop, every point event one of ``point_window`` seconds
    around it. Videos are found by name. Protocols are as ``write_annotated`` makes them.

    Args:
        src: Project or table.
        out: Folder to make.
        videos: Folder of the videos; the file's own by default.
        point_window: Seconds of a clip around an event without duration.
        link: How videos come into the folder.
        seed: Seed of the random split.

    Raises:
        UsageError: ``DATA-001`` source missing, ``DATA-014``, ``DATA-020``, ``DATA-049`` events
            without duration and no window for them.
        AnnotationError: ``DATA-047`` no file of BORIS or damaged, ``DATA-012`` nothing to import.
        EnvironmentFault: ``ENV-001`` to ``ENV-004``.
    """
    if not src.is_file():
        raise UsageError(
            "DATA-001", "the BORIS file does not exist", file=src.absolute(), mend="check the path"
        )
    require_free(out)
    report = ImportReport()
    events = read_boris(src, report)
    points = [event for event in events if event.stop == event.start]
    if points and point_window is None:
        raise UsageError(
            "DATA-049",
            f"{len(points)} of {len(events)} events have no duration, such as "
            f"{points[0].behaviour!r}",
            file=src,
            where=points[0].place,
            mend="say how many seconds around them are a clip: --point-window 2",
        )
    places = VideoPlaces((videos or src.parent).resolve())
    half = (point_window or 0) / 2
    stretches = []
    for event in events:
        around = half if event.stop == event.start else 0.0
        start, stop = max(event.start - around, 0.0), event.stop + around
        stretches.append(
            Stretch(src, event.place, event.media, event.behaviour, start, stop, event.subject)
        )
    clips = clips_of(stretches, places, report)
    return write_annotated(
        clips, src, out, source=f"BORIS file {src.name}", report=report, link=link, seed=seed
    )


def read_boris(path: Path, report: ImportReport) -> list[Event]:
    """Read the events of a project or of an exported table; note those that are left out.

    Raises:
        AnnotationError: ``DATA-047`` no file of BORIS, or damaged.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    refuse = partial(refusal, path)
    try:
        size = require_regular_file(path, refuse)
        if size > FILE_LIMIT:
            raise refuse(f"{size} bytes, the limit is {FILE_LIMIT}")
        with path.open("rb") as file:
            is_json = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
        if is_json:
            return _project(read_json(path, refuse), path, report)
        return read_table(path, report)
    except OSError as fault:
        raise cannot_read(fault, path) from fault


def _project(content: Any, path: Path, report: ImportReport) -> list[Event]:
    observations, behaviours = content.get("observations"), content.get("behaviors_conf")
    if not isinstance(observations, dict) or not isinstance(behaviours, dict):
        raise refusal(path, "found no observations and behaviors_conf")
    states: dict[str, bool] = {}
    for key, entry in behaviours.items():
        code, kind = (entry.get("code"), entry.get("type")) if isinstance(entry, dict) else (0, 0)
        if not isinstance(code, str) or not isinstance(kind, str):
            raise refusal(path, "a behaviour without code and type", f"behaviors_conf {key}")
        states[code] = kind.lower().startswith("state")
    events: list[Event] = []
    for name, observation in observations.items():
        where = f"observation {name!r}"
        if not isinstance(observation, dict) or not isinstance(observation.get("events"), list):
            raise refusal(path, "an observation without events", where)
        if not observation["events"]:
            continue
        media = _media(observation, path, where)
        reason = _unusable(observation, media)
        if reason:
            report.skip("DATA-048", f"{path}:{where}", reason)
            continue
        rows = list(_rows(observation["events"], path, where))
        for event in _paired(rows, name, states, path, report):
            events += _in_its_file(event, media, path, report)
    return events


def _media(observation: Mapping[str, Any], path: Path, where: str) -> list[tuple[str, float]]:
    """Return the videos of the first player one after another, and how long each is."""
    players = observation.get("file")
    files = players.get("1") if isinstance(players, dict) else None
    if not isinstance(files, list):
        return []
    info = observation.get("media_info")
    lengths = info.get("length") if isinstance(info, dict) else None
    found = []
    for file in files:
        length = lengths.get(file) if isinstance(file, str) and isinstance(lengths, dict) else None
        if not isinstance(file, str) or isinstance(length, bool):
            raise refusal(path, "a media file without a name or length", where)
        known = isinstance(length, int | float) and 0 < length < 1e7
        found.append((file, float(length) if known and length is not None else 0.0))
    return found


def _unusable(observation: Mapping[str, Any], media: Sequence[tuple[str, float]]) -> str:
    if not media:
        return "no media file: a live observation or one of pictures"
    offset = observation.get("time offset", 0)
    if offset not in (0, 0.0) or isinstance(offset, bool):
        return f"a time offset of {offset!r} s; set it to 0 in BORIS"
    if len(media) > 1 and not all(length for _, length in media):
        return "several media files of unknown length one after another"
    return ""


def _rows(
    found: Sequence[Any], path: Path, where: str
) -> Iterator[tuple[float, str, str, str, str]]:
    """Yield time, subject, behaviour, modifiers and place of every event."""
    for number, row in enumerate(found):
        place = f"{where} event {number}"
        if not isinstance(row, list) or len(row) < 4:
            raise refusal(path, "an event without time, subject, behaviour, modifiers", place)
        time, subject, code, modifiers = row[:4]
        is_time = isinstance(time, int | float) and not isinstance(time, bool) and 0 <= time < 1e7
        if not is_time or not all(isinstance(text, str) for text in (subject, code, modifiers)):
            raise refusal(
                path, "an event whose time is no number of seconds, or a wrong text", place
            )
        yield float(time), subject, code, modifiers, place


def _paired(
    rows: Sequence[tuple[float, str, str, str, str]],
    observation: str,
    states: Mapping[str, bool],
    path: Path,
    report: ImportReport,
) -> list[Event]:
    """Join starts and stops of states: an event of a state ends the one that is going on."""
    going: dict[tuple[str, str, str], tuple[float, str]] = {}
    events = []
    for time, subject, code, modifiers, place in sorted(rows, key=lambda row: row[0]):
        if code not in states:
            raise refusal(path, f"behaviour {code!r} is not among those of the project", place)
        who = "" if subject == NOBODY else subject
        key = (subject, code, modifiers)
        if not states[code]:
            events.append(Event(observation, "", who, code, time, time, place))
        elif key in going:
            start, begun = going.pop(key)
            if time > start:
                events.append(Event(observation, "", who, code, start, time, begun))
            else:
                report.skip("DATA-050", f"{path}:{begun}", f"{code!r} stops when it starts")
        else:
            going[key] = (time, place)
    for (_, code, _), (_, place) in going.items():
        report.skip("DATA-050", f"{path}:{place}", f"{code!r} starts and never stops")
    return events


def _in_its_file(
    event: Event, media: Sequence[tuple[str, float]], path: Path, report: ImportReport
) -> list[Event]:
    """Count an event's times from the start of the file it is in."""
    start = 0.0
    for place, (name, length) in enumerate(media):
        last = place == len(media) - 1
        if last or event.start < start + length:
            if not last and event.stop > start + length:
                report.skip(
                    "DATA-050", f"{path}:{event.place}", f"goes on from {name!r} into the next file"
                )
                return []
            begin, stop = event.start - start, event.stop - start
            return [replace(event, media=name, start=begin, stop=stop)]
        start += length
    return []
