"""``dataset.yaml``: what a data set says about itself; and the row of one clip."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from poselens.data.plain_yaml import plain_yaml, read_plain_yaml
from poselens.errors import AnnotationError, EnvironmentFault, UsageError
from poselens.pose.declared import layout_from
from poselens.pose.layouts import LAYOUTS, declare_layout, get_layout
from poselens.types import Space

INFO_FILE = "dataset.yaml"
INFO_LIMIT = 4 * 1024 * 1024

Part = Literal["train", "val", "test"]
Column = Literal["subject", "view", "source", "session", "event"]
COLUMN_NAMES: tuple[Column, ...] = get_args(Column)
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """One row of ``clips.csv``.

    Attributes:
        id: Unique, printable, at most 200 characters.
        video: Path relative to the data set's folder, with ``/``; None for a skeleton-only clip.
        label: Class index, -1 where unknown.
        subject: Who acts; empty where unknown.
        view: Camera or viewpoint; empty where unknown.
        source: Recording the clip was cut from; clips of one source belong in one part of a split.
        session: Sitting, setup or day in which it was recorded; empty where unknown.
        event: Performance within the source that the clip is a part of, such as one routine of a
            competition; empty where unknown. Unique over the data set, not within the source.
        start_s: First moment of the clip in its video, None for the beginning.
        end_s: Last moment of the clip in its video, None for the end.
        width: Pixels of the upright video frame, None where unknown.
        height: Pixels of the upright video frame, None where unknown.
    """

    id: str
    video: str | None = None
    label: int = -1
    subject: str = ""
    view: str = ""
    source: str = ""
    start_s: float | None = None
    end_s: float | None = None
    width: int | None = None
    height: int | None = None
    session: str = ""
    event: str = ""


_STRICT = ConfigDict(extra="forbid", frozen=True)


class SkeletonInfo(BaseModel):
    """Joints of one space: the layout's name and the number of coordinates of a joint."""

    model_config = _STRICT

    layout: str
    dimensions: int = Field(ge=2, le=3)


class ProtocolInfo(BaseModel):
    """How a data set is parted, and which number is reported on it.

    Attributes:
        description: One sentence for people and reports: who trains, who tests.
        group: Column whose values the parts do not share; ``id`` for a split by clip, ``time`` for
            one by stretches of each recording.
        shares: Columns whose values the parts share by the definition of the protocol, each with
            the reason; such sharing is told with every number, and training does not refuse it.
        metric: The number that papers report under this protocol.
        chance: Accuracy of guessing, in [0, 1].
    """

    model_config = _STRICT

    description: str
    group: Literal["subject", "view", "source", "session", "event", "id", "time"] = "id"
    shares: dict[Column, str] = Field(default_factory=dict)
    metric: Literal["top1", "mean_class"] = "top1"
    chance: float | None = Field(default=None, ge=0, le=1)


class DatasetInfo(BaseModel):
    """The content of ``dataset.yaml``.

    Attributes:
        name: Name of the data set.
        classes: Class names; a label is a position in this list.
        skeletons: Which spaces are stored, and how.
        protocols: Splits by name; each has a column ``split:<name>`` in ``clips.csv``.
        hierarchy: Coarser names of the classes by level, coarsest level first: for each level the
            name that every class falls under, in the order of ``classes``.
        mirror: ``same`` when a left-right mirrored clip keeps its class, ``none`` when clips are
            never mirrored, or the class each class turns into; classes not named are not mirrored.
        source: Where the recordings come from, and whom to cite.
        licence: Terms of use.
        fps: Frames per second of the skeletons, None where it varies or is unknown.
        video_roots: Folders outside the data set that symbolic links to videos may lead to.
        layouts: Joint layouts of the data set's own, as ``poselens.pose.declared.layout_from``
            reads them.
    """

    model_config = _STRICT

    name: str = Field(min_length=1)
    classes: list[str] = Field(min_length=1)
    skeletons: dict[Space, SkeletonInfo] = Field(default_factory=dict)
    protocols: dict[str, ProtocolInfo] = Field(default_factory=dict)
    hierarchy: dict[str, list[str]] = Field(default_factory=dict)
    mirror: Literal["same", "none"] | dict[str, str] = "none"
    source: str = ""
    licence: str = ""
    fps: float | None = Field(default=None, gt=0)
    video_roots: list[str] = Field(default_factory=list)
    layouts: dict[str, dict[str, Any]] = Field(default_factory=dict)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest known name, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def cannot_read(fault: OSError, path: Path) -> EnvironmentFault:
    """Return ``ENV-004`` for a file that exists but cannot be read."""
    return EnvironmentFault(
        "ENV-004", f"cannot read: {fault.strerror}", file=path, mend="check its permissions"
    )


def read_info(root: Path) -> DatasetInfo:
    """Read and check ``dataset.yaml`` of the data set in ``root``.

    Raises:
        AnnotationError: ``DATA-002`` missing, ``DATA-003`` not YAML, an unknown key, a wrong value
            or a contradiction.
        EnvironmentFault: ``ENV-004`` not readable.
    """
    path = root / INFO_FILE
    try:
        if path.stat().st_size > INFO_LIMIT:
            raise AnnotationError("DATA-003", f"larger than {INFO_LIMIT} bytes", file=path)
        content = read_plain_yaml(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as fault:
        raise AnnotationError(
            "DATA-002",
            f"{INFO_FILE} is missing: this folder is not a data set",
            file=root,
            mend="make one with `poselens data import`",
        ) from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise AnnotationError(
            "DATA-003", f"not valid YAML: {fault.problem}", file=path, where=f"line {line}"
        ) from fault
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as fault:
        raise AnnotationError("DATA-003", "not a readable YAML file", file=path) from fault
    if not isinstance(content, dict):
        raise AnnotationError("DATA-003", "expected keys and values", file=path)
    try:
        info = DatasetInfo.model_validate(content)
    except ValidationError as fault:
        raise _explain(fault, path) from fault
    check_info(info, path)
    return info


def _explain(fault: ValidationError, path: Path) -> AnnotationError:
    # a misspelt key is also a missing one; the misspelling says more
    first = min(
        fault.errors(include_url=False), key=lambda error: error["type"] != "extra_forbidden"
    )
    place = first["loc"]
    where = ".".join(str(step) for step in place)
    if first["type"] == "extra_forbidden":
        model: type[BaseModel] = DatasetInfo
        if place[0] in ("skeletons", "protocols"):
            model = SkeletonInfo if place[0] == "skeletons" else ProtocolInfo
        key = str(place[-1])
        return AnnotationError(
            "DATA-003",
            f"unknown key {key!r}{nearest(key, model.model_fields)}",
            file=path,
            where=where,
            mend=f"use one of {', '.join(model.model_fields)}",
        )
    mend = 'put it in quotes, as in "1"' if first["type"] == "string_type" else None
    return AnnotationError("DATA-003", first["msg"], file=path, where=where, mend=mend)


def check_info(info: DatasetInfo, path: Path) -> None:
    """Refuse a description that contradicts itself, and declare its layouts.

    Raises:
        AnnotationError: ``DATA-003`` for a repeated class, a level that does not name every class,
            a mirror of unknown classes, or a layout that is unknown, no layout, or known as another
            one.
    """

    def refuse(message: str, where: str, mend: str | None = None) -> AnnotationError:
        return AnnotationError("DATA-003", message, file=path, where=where, mend=mend)

    seen: dict[str, int] = {}
    for position, name in enumerate(info.classes):
        if name in seen:
            raise refuse(f"class {name!r} is listed twice ({seen[name]} and {position})", "classes")
        if name != name.strip() or not name:
            raise refuse(f"class name {name!r} is empty or has blanks around it", "classes")
        seen[name] = position
    for level, names in info.hierarchy.items():
        if len(names) != len(info.classes):
            raise refuse(
                f"{len(names)} names for {len(info.classes)} classes",
                f"hierarchy.{level}",
                "give every class its name on this level",
            )
    if isinstance(info.mirror, Mapping):
        for name in (*info.mirror, *info.mirror.values()):
            if name not in seen:
                raise refuse(f"unknown class {name!r}{nearest(name, seen)}", "mirror")
    for name, content in info.layouts.items():
        try:
            declare_layout(layout_from(name, content))
        except UsageError as fault:
            where = ".".join(part for part in ("layouts", name, fault.where) if part)
            raise refuse(fault.message, where, fault.mend) from fault
    for space, skeleton in info.skeletons.items():
        try:
            get_layout(skeleton.layout)
        except UsageError as fault:
            raise refuse(fault.message, f"skeletons.{space}.layout", fault.mend) from fault
        if skeleton.layout not in LAYOUTS and skeleton.layout not in info.layouts:
            # known in this process; another one that opens the folder would not know it
            message = f"layout {skeleton.layout!r} is not built in, and not under layouts"
            raise refuse(message, f"skeletons.{space}.layout", "declare it under layouts")
        if space == "pixels" and skeleton.dimensions != 2:
            raise refuse("joints in pixels have 2 dimensions", f"skeletons.{space}.dimensions")


def write_info(info: DatasetInfo) -> bytes:
    """Return ``dataset.yaml`` for ``info``."""
    content = cast("dict[str, object]", info.model_dump(mode="json", exclude_defaults=False))
    return plain_yaml(content, width=100).encode()
