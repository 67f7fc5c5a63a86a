"""The combinations of a sweep: axes as they are typed, settings as recipes take them, names."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import yaml

from poselens.errors import UsageError
from poselens.training.config import RgbSection, SkeletonSection, override

Section = RgbSection | SkeletonSection

NAME_LIMIT = 160
"""Longest name of a combination's folder; file systems allow 255 bytes."""


@dataclass(frozen=True)
class Axis:
    """One setting and the values it takes.

    Attributes:
        key: Setting, such as ``training.seed``.
        texts: Its values in YAML, as typed.
    """

    key: str
    texts: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Combination:
    """One run of a sweep.

    Attributes:
        name: Folder of the run within that of the sweep.
        values: Value by axis; None where a section or setting is switched off.
        section: The resolved settings.
    """

    name: str
    values: Mapping[str, Any]
    section: Section


def parse_axes(texts: Sequence[str]) -> list[Axis]:
    """Read axes as ``key=value,value``; a comma inside brackets, braces or quotes parts nothing.

    Raises:
        UsageError: ``SWP-001`` without a key or values, for brackets that do not close, a value
            that is not YAML, or a key that is there twice.
    """
    axes: list[Axis] = []
    for text in texts:
        key, equals, values = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise _unreadable(f"found {text!r}")
        if key in (axis.key for axis in axes):
            raise _unreadable(f"{key} is there twice")
        split = split_values(values)
        if "" in split:
            raise _unreadable(f"{key} has an empty value")
        for value in split:
            _from_yaml(value, key)
        axes.append(Axis(key, tuple(split)))
    return axes


def split_values(text: str) -> list[str]:
    """Return the parts between commas that stand outside brackets, braces and quotes.

    Raises:
        UsageError: ``SWP-001`` for brackets or quotes that do not close.
    """
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        else:
            depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += letter
        if depth < 0:
            break
    if depth or quote:
        raise _unreadable(f"{text!r} has brackets or quotes that do not close")
    return [part.strip() for part in parts]


def _unreadable(message: str) -> UsageError:
    return UsageError(
        "SWP-001",
        f"--sweep expects key=value,value: {message}",
        mend="write for example --sweep training.seed=0,1,2",
    )


def _from_yaml(text: str, key: str) -> Any:
    try:
        # what YAML reads as a date is text in JSON, and no setting is a date
        return json.loads(json.dumps(yaml.safe_load(text), default=str))
    except (ValueError, RecursionError, yaml.YAMLError) as fault:
        raise _unreadable(f"{key}: {text!r} is not valid YAML") from fault


def combinations(
    section: Section, axes: Sequence[Axis], settings: Sequence[str] = ()
) -> list[Combination]:
    """Return every combination of the axes' values, the last axis changing fastest.

    ``none`` as a value means null where the setting takes one. Where it does not, and the section
    it stands in may be absent, that section is switched off: ``contrast.samplers=[hard],none``. A
    key inside a section that is absent brings the section in, with its other settings at their
    defaults.

    Args:
        section: What all have in common.
        axes: At least one.
        settings: ``key=value`` for all of them.

    Raises:
        UsageError: ``SWP-002`` when two combinations come to the same settings; ``CFG-001``,
            ``CFG-002``, ``CFG-006`` for settings that are refused, with the combination.
    """
    given = [(key, value) for key, _, value in (text.partition("=") for text in settings)]
    if any("=" not in text for text in settings):
        override(section, settings)
    section = override(section, _opened(section, given))
    made: list[Combination] = []
    seen: dict[str, str] = {}
    for texts in product(*(axis.texts for axis in axes)):
        values = {
            axis.key: _from_yaml(text, axis.key) for axis, text in zip(axes, texts, strict=True)
        }
        try:
            settled, values = _settled(section, axes, texts, values)
        except UsageError as fault:
            told = ", ".join(f"{axis.key}={text}" for axis, text in zip(axes, texts, strict=True))
            raise UsageError(
                fault.code, fault.message, file="--sweep", where=told, mend=fault.mend
            ) from fault
        name = _name(values)
        content = json.dumps(settled.model_dump(mode="json"), sort_keys=True)
        if content in seen:
            raise UsageError(
                "SWP-002",
                f"two combinations are the same settings: {seen[content]} and {name}",
                mend="give each value once, and no settings of a section that is switched off",
            )
        seen[content] = name
        made.append(Combination(name, values, settled))
    return _with_own_names(made)


def _settled(
    section: Section, axes: Sequence[Axis], texts: Sequence[str], values: dict[str, Any]
) -> tuple[Section, dict[str, Any]]:
    """Apply one value of each axis; return the section, and the values with none resolved."""
    settings: list[tuple[str, str]] = []
    for axis, text in zip(axes, texts, strict=True):
        key, resolved = axis.key, text
        if values[axis.key] in (None, "none"):
            key, resolved = _none(section, axis.key, text)
            values = values | {axis.key: None if resolved == "null" else values[axis.key]}
        settings.append((key, resolved))
    off = [key for key, text in settings if text == "null"]
    kept = [pair for pair in settings if not any(pair[0].startswith(f"{key}.") for key in off)]
    return override(section, _opened(section, kept)), values


def _none(section: Section, key: str, text: str) -> tuple[str, str]:
    """Return the key and the YAML text that ``none`` means there."""
    choices = [(key, text), (key, "null")]
    if "." in key:
        choices.append((key.rpartition(".")[0], "null"))
    refused: UsageError | None = None
    for choice in choices:
        try:
            override(section, _opened(section, [choice]))
        except UsageError as fault:
            refused = refused or fault
        else:
            meant = "null" if choice[1] in ("~", "Null", "NULL") else choice[1]
            return choice[0], meant
    raise refused or _unreadable(f"{key}={text}")


def _opened(section: Section, settings: Sequence[tuple[str, str]]) -> list[str]:
    """Return settings as ``--set`` takes them, after those that bring absent sections in."""
    opened: list[str] = []
    given = {key for key, _ in settings}
    for key, _ in settings:
        current: object = section
        parents = key.split(".")[:-1]
        for depth, parent in enumerate(parents, start=1):
            current = getattr(current, parent, None)
            if current is None:
                place = ".".join(parents[:depth])
                if place not in given and f"{place}={{}}" not in opened:
                    opened.append(f"{place}={{}}")
                break
    return [*opened, *(f"{key}={text}" for key, text in settings)]


def label(value: Any) -> str:
    """Return a value as tables show it."""
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={label(below)}" for key, below in value.items()) or "{}"
    if isinstance(value, list):
        return f"[{', '.join(label(below) for below in value)}]"
    return value if isinstance(value, str) else json.dumps(value)


def _name(values: Mapping[str, Any]) -> str:
    """Return ``seed=0_stream=joint``: the keys' last words, or whole keys where these are alike."""
    last = Counter(key.rpartition(".")[2] for key in values)
    parts = []
    for key, value in values.items():
        short = key.rpartition(".")[2]
        text = re.sub(r"[\[\]{} ]", "", label(value)).replace(",", "+")
        text = re.sub(r"[^A-Za-z0-9.+-]+", "-", text)
        parts.append(f"{short if last[short] == 1 else key}={text}")
    name = "_".join(parts)
    return name if len(name) <= NAME_LIMIT else f"{name[:NAME_LIMIT]}~{digest(values)}"


def _with_own_names(made: Sequence[Combination]) -> list[Combination]:
    """Tell combinations apart whose values differ in letters that names leave out."""
    counts = Counter(each.name for each in made)
    return [
        each
        if counts[each.name] == 1
        else Combination(f"{each.name}~{digest(each.values)}", each.values, each.section)
        for each in made
    ]


def digest(values: Mapping[str, Any]) -> str:
    """Return eight letters that tell values apart which names do not."""
    return hashlib.sha256(json.dumps(dict(values), sort_keys=True).encode()).hexdigest()[:8]
