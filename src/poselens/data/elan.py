"""Importer for annotations of ELAN: ``.eaf`` files and tab-delimited text.

Sources: the EAF schema 3.0 (https://www.mpi.nl/tools/elan/EAFv3.0.xsd): TIME_ORDER of TIME_SLOTs in
milliseconds, TIERs of ALIGNABLE_ANNOTATIONs and of REF_ANNOTATIONs that take their times from
another annotation, MEDIA_DESCRIPTORs; the ELAN manual, "Export as tab-delimited text".
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from xml.parsers import expat

from poselens.data.annotated import seconds, write_annotated
from poselens.data.arrays import require_regular_file
from poselens.data.class_folders import SUFFIXES
from poselens.data.disk import require_free
from poselens.data.importing import ImportReport, Link
from poselens.data.info import cannot_read, nearest
from poselens.data.keypoint_table import listed
from poselens.data.video_places import Stretch, VideoPlaces, clips_of
from poselens.errors import AnnotationError, UsageError

FILE_LIMIT = 64 * 1024 * 1024
DEPTH_LIMIT = 32
_ALIGNED, _REFERRING = "ALIGNABLE_ANNOTATION", "REF_ANNOTATION"
_CLOCK = re.compile(r"[0-9]{2,3}:[0-9]{2}:[0-9]{2}\.[0-9]{1,3}")
_TIMES = re.compile(r"(begin|end) time - (hh:mm:ss\.ms|ss\.msec|msec|sec)")
_NO_TEXT = re.compile(r"(begin time|end time|duration|tier|participant|annotator|file)\b.*")
_MEDIA_LINE = re.compile(r'"?#(file:.*?)(?: -- offset: ([0-9]{1,9}))?"?')


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotated stretch: its tier, who is in it, its text, and its start and end in seconds."""

    tier: str
    participant: str
    text: str
    start: float
    end: float
    place: str


@dataclass
class ElanFile:
    """What an ELAN file says.

    Attributes:
        annotations: Those with a start and an end.
        tiers: Names of all tiers, in the order of the file.
        media: Videos as the file names them, each with the seconds it begins before time 0.
        untimed: Places of annotations, by tier, whose time slots have no times.
    """

    annotations: list[Annotation] = field(default_factory=list)
    tiers: list[str] = field(default_factory=list)
    media: list[tuple[str, float]] = field(default_factory=list)
    untimed: dict[str, list[str]] = field(default_factory=dict)


def import_elan(
    src: Path,
    out: Path,
    *,
    videos: Path | None = None,
    tier: str | None = None,
    link: Link = "copy",
    seed: int = 0,
) -> ImportReport:
    """Import an ``.eaf`` file, its tab-delimited text, or a folder of such files.

    Every annotation of the tier becomes a clip, its text the class. Where a file has several tiers,
    ``tier`` says which. The video is the file's first that is found by name. Protocols are as
    ``write_annotated`` makes them.

    Args:
        src: File, or folder of ``.eaf`` files.
        out: Folder to make.
        videos: Folder of the videos; the file's own by default.
        tier: The tier whose annotations are clips.
        link: How videos come into the folder.
        seed: Seed of the random split.

    Raises:
        UsageError: ``DATA-001`` source missing, ``DATA-014``, ``DATA-020``, ``DATA-051`` a tier
            that is not there, or none said and several there.
        AnnotationError: ``DATA-047`` no file of ELAN or damaged, ``DATA-052`` XML that declares
            entities, ``DATA-012`` nothing to import.
        EnvironmentFault: ``ENV-001`` to ``ENV-004``.
    """
    if not src.exists():
        raise UsageError(
            "DATA-001", "the ELAN file does not exist", file=src.absolute(), mend="check the path"
        )
    require_free(out)
    report = ImportReport()
    paths = sorted(src.rglob("*.eaf")) if src.is_dir() else [src]
    read = {path: read_elan(path) for path in paths}
    wanted = _choose_tier(read, tier, src)
    places = VideoPlaces((videos or (src if src.is_dir() else src.parent)).resolve())
    stretches = []
    for path, content in read.items():
        named, offset = _video(content, path, places)
        for place in content.untimed.get(wanted, ()):
            report.skip("DATA-050", f"{path}:{place}", "an annotation without times of its own")
        stretches += [
            Stretch(
                path, one.place, named, one.text, one.start + offset, one.end + offset,
                one.participant,
            )
            for one in content.annotations
            if one.tier == wanted
        ]  # fmt: skip
    clips = clips_of(stretches, places, report)
    return write_annotated(
        clips, src, out,
        source=f"tier {wanted!r} of ELAN annotations {src.name}", report=report, link=link,
        seed=seed,
    )  # fmt: skip


def _choose_tier(read: Mapping[Path, ElanFile], tier: str | None, src: Path) -> str:
    filled = {one.tier: None for content in read.values() for one in content.annotations}
    known = list(filled) or list({name: None for each in read.values() for name in each.tiers})
    if tier is not None and tier in known:
        return tier
    if tier is None and len(known) == 1:
        return known[0]
    said = f"no annotations on tier {tier!r}{nearest(tier, known)}" if tier else ""
    raise UsageError(
        "DATA-051", said or f"annotations on {len(known)} tiers", file=src,
        mend=f"--tier with one of {listed(known) or 'those that have some'}",
    )  # fmt: skip


def _video(content: ElanFile, path: Path, places: VideoPlaces) -> tuple[str, float]:
    """Return the file's first video that is at hand, else one named like the file."""
    for named, offset in content.media:
        if places.of(named) is not None:
            return named, offset
    for suffix in SUFFIXES:
        if not content.media and places.of(path.stem + suffix) is not None:
            return path.stem + suffix, 0.0
    return content.media[0] if content.media else (path.stem, 0.0)


def read_elan(path: Path) -> ElanFile:
    """Read an ``.eaf`` file or a tab-delimited export.

    Raises:
        AnnotationError: ``DATA-047`` no file of ELAN, or damaged; ``DATA-052`` XML that declares
            entities.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    refuse = partial(_refuse, path)
    try:
        size = require_regular_file(path, refuse)
        if size > FILE_LIMIT:
            raise refuse(f"{size} bytes, the limit is {FILE_LIMIT}")
        with path.open("rb") as file:
            is_xml = b"<" in file.read(16)
        return _Eaf(path).read() if is_xml else _read_text(path)
    except OSError as fault:
        raise cannot_read(fault, path) from fault


def _refuse(path: Path, text: str, where: str | None = None, mend: str = "") -> AnnotationError:
    mend = mend or "give the .eaf file, or tab-delimited text exported from it"
    return AnnotationError("DATA-047", text, file=path, where=where, mend=mend)


@dataclass
class _Open:
    """The annotation that is being read."""

    identity: str
    place: str
    slots: tuple[str, str] | None
    refers: str
    text: list[str] = field(default_factory=list)


class _Eaf:
    """Takes an ``.eaf`` file element by element; entities are refused where they are declared."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = ElanFile()
        self._slots: dict[str, float | None] = {}
        self._participants: dict[str, str] = {}
        self._tier = ""
        self._found: dict[str, tuple[str, _Open]] = {}
        self._now: _Open | None = None
        self._stack: list[str] = []
        self._root = False
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.EntityDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text

    def read(self) -> ElanFile:
        try:
            self._parser.Parse(self._path.read_bytes(), True)
        except (expat.ExpatError, ValueError, LookupError) as fault:
            raise self._refuse(f"not valid XML ({fault})") from fault
        if not self._root:
            raise self._refuse("no ANNOTATION_DOCUMENT of ELAN")
        for tier, one in self._found.values():
            start, end = self._times(one)
            if start is None or end is None:
                self._content.untimed.setdefault(tier, []).append(one.place)
                continue
            who, text = self._participants.get(tier, ""), " ".join("".join(one.text).split())
            self._content.annotations.append(Annotation(tier, who, text, start, end, one.place))
        self._content.annotations.sort(key=lambda one: (one.start, one.end))
        return self._content

    def _refuse(self, text: str) -> AnnotationError:
        return _refuse(self._path, text, f"line {self._parser.CurrentLineNumber}")

    def _doctype(self, *_found: object) -> None:
        raise AnnotationError(
            "DATA-052", "the XML declares a document type or entities, which ELAN never does",
            file=self._path, where=f"line {self._parser.CurrentLineNumber}",
            mend="save it in ELAN again",
        )  # fmt: skip

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._stack:
            self._root = name == "ANNOTATION_DOCUMENT"
        self._stack.append(name)
        if len(self._stack) > DEPTH_LIMIT:
            raise self._refuse(f"nested deeper than {DEPTH_LIMIT}")
        if name == "TIME_SLOT":
            self._slots[attributes.get("TIME_SLOT_ID", "")] = self._milliseconds(attributes)
        elif name == "MEDIA_DESCRIPTOR":
            named = attributes.get("RELATIVE_MEDIA_URL") or attributes.get("MEDIA_URL", "")
            origin = attributes.get("TIME_ORIGIN", "")
            if origin and not (origin.isascii() and origin.isdigit() and len(origin) < 10):
                raise self._refuse(f"TIME_ORIGIN is {origin!r}")
            self._content.media.append((named, int(origin or 0) / 1000))
        elif name == "TIER":
            self._tier = attributes.get("TIER_ID", "")
            self._content.tiers.append(self._tier)
            self._participants[self._tier] = attributes.get("PARTICIPANT", "")
        elif name in (_ALIGNED, _REFERRING):
            self._begin(name, attributes)

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        identity = attributes.get("ANNOTATION_ID", "")
        if not self._tier:
            raise self._refuse(f"annotation {identity!r} is on no tier")
        if not identity or identity in self._found:
            raise self._refuse(f"annotation {identity!r} is nameless or there twice")
        slots = None
        if name == _ALIGNED:
            slots = attributes.get("TIME_SLOT_REF1", ""), attributes.get("TIME_SLOT_REF2", "")
            for slot in slots:
                if slot not in self._slots:
                    raise self._refuse(f"annotation {identity!r} has no time slot {slot!r}")
        place = f"line {self._parser.CurrentLineNumber} ({identity})"
        self._now = _Open(identity, place, slots, attributes.get("ANNOTATION_REF", ""))
        self._found[identity] = (self._tier, self._now)

    def _milliseconds(self, attributes: dict[str, str]) -> float | None:
        text = attributes.get("TIME_VALUE")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 12):
            raise self._refuse(f"TIME_VALUE is {text!r}, expected milliseconds")
        return int(text) / 1000

    def _end(self, name: str) -> None:
        self._stack.pop()
        if name in (_ALIGNED, _REFERRING):
            self._now = None
        elif name == "TIER":
            self._tier = ""

    def _text(self, text: str) -> None:
        if self._now is not None and self._stack[-1] == "ANNOTATION_VALUE":
            self._now.text.append(text)

    def _times(self, one: _Open) -> tuple[float | None, float | None]:
        """Return the times of an annotation, or of the one that it refers to, however far off."""
        seen = {one.identity}
        while one.slots is None:
            if one.refers not in self._found or one.refers in seen:
                raise _refuse(self._path, f"annotation refers to {one.refers!r}", one.place)
            seen.add(one.refers)
            one = self._found[one.refers][1]
        start, end = (self._slots[slot] for slot in one.slots)
        return start, end


def _read_text(path: Path) -> ElanFile:
    content = ElanFile()
    line = 1
    columns: dict[str, int] = {}
    width = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for fields in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                texts = [field.strip() for field in fields]
                named = _MEDIA_LINE.fullmatch(texts[0]) if texts else None
                if named:
                    if named[1].lower().endswith(SUFFIXES):
                        content.media.append((named[1], int(named[2] or 0) / 1000))
                elif not columns and any(_TIMES.fullmatch(text.lower()) for text in texts):
                    columns = {text.lower(): at for at, text in enumerate(texts) if text}
                    content.tiers = texts
                    width = len(texts)
                elif any(texts) and columns:
                    content.annotations += _by_name(texts, columns, content, width, path, line)
                elif any(texts):
                    content.annotations += _by_look(texts, path, line)
                line += 1
    except (UnicodeDecodeError, csv.Error) as fault:
        raise _refuse(
            path, f"not UTF-8 text of a table ({type(fault).__name__})", f"line {line}"
        ) from fault
    if not content.annotations:
        raise _refuse(
            path, "no times hh:mm:ss.ms in any line",
            mend="export with begin and end times as hh:mm:ss.ms, and one column for the text",
        )  # fmt: skip
    content.tiers = list({one.tier: None for one in content.annotations})
    return content


def _by_name(
    texts: Sequence[str],
    columns: Mapping[str, int],
    content: ElanFile,
    width: int,
    path: Path,
    line: int,
) -> list[Annotation]:
    """Read a line under a header: a tier's name and text, or a column of texts for each tier."""
    where = f"line {line}"
    if len(texts) != width:
        raise _refuse(path, f"{len(texts)} fields, expected {width}", where)
    start, end = (_time_of(texts, columns, which, path, where) for which in ("begin", "end"))
    who = texts[columns["participant"]] if "participant" in columns else ""
    own = [(name, at) for name, at in columns.items() if not _NO_TEXT.fullmatch(name)]
    if "tier" in columns:
        if len(own) != 1:
            raise _refuse(path, f"{len(own)} columns of text beside Tier", "line 1")
        return [Annotation(texts[columns["tier"]], who, texts[own[0][1]], start, end, where)]
    return [
        Annotation(content.tiers[at], who, texts[at], start, end, where)
        for _, at in own
        if texts[at]
    ]


def _time_of(
    texts: Sequence[str], columns: Mapping[str, int], which: str, path: Path, where: str
) -> float:
    def refuse(_code: str, message: str, mend: str) -> AnnotationError:
        return _refuse(path, message, where, mend)

    for form in ("ss.msec", "hh:mm:ss.ms", "msec"):
        name = f"{which} time - {form}"
        if name in columns:
            found = seconds(texts[columns[name]], name, refuse)
            if found is None:
                raise _refuse(path, f"{name} is empty", where)
            return found / 1000 if form == "msec" else found
    raise _refuse(
        path, f"no column of {which} times as hh:mm:ss.ms, ss.msec or msec", "line 1",
        "export again with these times",
    )  # fmt: skip


def _by_look(texts: Sequence[str], path: Path, line: int) -> list[Annotation]:
    """Read a line without a header as ELAN writes it: tier, participant, times, text."""

    def refuse(_code: str, message: str, mend: str) -> AnnotationError:
        return _refuse(path, message, f"line {line}", mend)

    clocks = [at for at, text in enumerate(texts) if at and _CLOCK.fullmatch(text)]
    if len(clocks) < 2:
        if line == 1 or texts[0].startswith(('"#', "#")):
            # a header in another language, or a remark
            return []
        raise _refuse(path, "no begin and end time hh:mm:ss.ms", f"line {line}")
    start, end = (seconds(texts[at], "time", refuse) or 0.0 for at in clocks[:2])
    who = texts[1] if clocks[0] > 1 else ""
    return [Annotation(texts[0], who, texts[-1], start, end, f"line {line}")]
