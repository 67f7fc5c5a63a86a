"""A layout of a user's own: joints, bones and mirror as YAML, checked and declared.

It stands under ``layouts`` in dataset.yaml, in a file of its own (``--layout my-dog.yaml``), and in
every run and bundle that was trained on it::

    joints: [nose, withers, hip, paw_l, paw_r]
    parents: {nose: withers, hip: withers, paw_l: withers, paw_r: withers}
    mirror: [[paw_l, paw_r]]

``bones`` with a ``centre`` may stand in place of ``parents``; without ``mirror`` the pairs follow
from names that start with ``left`` and ``right``. See docs/concepts/layouts.md.
"""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from poselens.errors import UsageError
from poselens.pose.layouts import LAYOUTS, Layout, counterpart, declare_layout, get_layout

JOINT_LIMIT = 256
FILE_LIMIT = 1024 * 1024
KEYS = ("joints", "parents", "bones", "centre", "mirror")

_SUFFIXES = (".yaml", ".yml")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

_Refuse = Callable[[str, str, str | None, str], UsageError]


def layout_from(name: str, content: object, *, file: Path | None = None) -> Layout:
    """Check a declaration and return its layout; nothing is declared yet.

    Departure: a mirror that does not turn bones into bones is refused, since a mirrored clip would
    have bones that no other clip has, and the usual cause is a wrong pair; and so is a layout that
    says nothing of its sides, whose mirrored clips would keep left on the left.

    Args:
        name: What the layout is called.
        content: Keys ``joints``, ``parents`` or ``bones`` and ``centre``, and ``mirror``.
        file: Where it was read from, for messages.

    Raises:
        UsageError: ``CFG-040`` a key that is unknown, missing or of another type, or a name that
            cannot be one; ``CFG-041`` too few or too many joints, or one that is there twice;
            ``CFG-042`` bones that are no tree; ``CFG-043`` a mirror that is not its own inverse or
            does not fit the bones.
    """

    def refuse(code: str, message: str, where: str | None, mend: str) -> UsageError:
        told = f"layout {_shown(name)}: {message}"
        return UsageError(code, told, file=file, where=where, mend=mend)

    if not _NAME.fullmatch(name) or name.endswith(_SUFFIXES):
        raise refuse("CFG-040", "not a name for a layout", None, "use letters, digits and - _ .")
    if not isinstance(content, dict):
        raise refuse("CFG-040", "expected keys and values", None, f"give {', '.join(KEYS)}")
    for key in content:
        if key not in KEYS:
            message = f"unknown key {_shown(key)}{_nearest(key, KEYS)}"
            raise refuse("CFG-040", message, None, f"use {', '.join(KEYS)}")
    joints = _joints(content.get("joints"), refuse)
    if ("parents" in content) == ("bones" in content):
        found = "both parents and bones" if "parents" in content else "neither parents nor bones"
        raise refuse("CFG-040", f"found {found}", None, "give one of them")
    centre = content.get("centre")
    if centre is not None:
        _require_joint(centre, joints, "CFG-042", "centre", refuse)
    if "parents" in content:
        parents = _from_parents(content["parents"], centre, joints, refuse)
    else:
        parents = _from_bones(content["bones"], centre, joints, refuse)
    layout = Layout(name, joints, parents, _pairs(content.get("mirror"), joints, refuse))
    _require_mirrored_bones(layout, refuse)
    return layout


def _shown(found: object) -> str:
    """Return what was found, for a message; YAML's aliases can make lists of any length."""
    return repr(found[:80]) if isinstance(found, str) else f"(of type {type(found).__name__})"


def _nearest(found: object, known: Iterable[str]) -> str:
    name = found[:80] if isinstance(found, str) else ""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _joints(found: object, refuse: _Refuse) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise refuse("CFG-040", "expected a list of joint names", "joints", 'quote them, as in "1"')
    if not 2 <= len(found) <= JOINT_LIMIT:
        message = f"found {len(found)} joints, expected 2 to {JOINT_LIMIT}"
        raise refuse("CFG-041", message, "joints", "name every joint of the skeleton")
    for name, times in Counter(found).items():
        if times > 1:
            message = f"joint {_shown(name)} is there {times} times"
            raise refuse("CFG-041", message, "joints", "name every joint once")
        if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > 80:
            message = f"joint name {_shown(name)} is empty, too long or has blanks around"
            raise refuse("CFG-041", message, "joints", "use 1 to 80 letters, digits or signs")
    return tuple(found)


def _require_joint(
    name: object, joints: Sequence[str], code: str, where: str, refuse: _Refuse
) -> None:
    if name not in joints:
        message = f"unknown joint {_shown(name)}{_nearest(name, joints)}"
        raise refuse(code, message, where, "name it in joints")


def _from_parents(
    found: object, centre: object, joints: tuple[str, ...], refuse: _Refuse
) -> tuple[int, ...]:
    if not isinstance(found, dict):
        raise refuse("CFG-040", "expected joint: parent", "parents", "write {nose: neck, ...}")
    for joint, parent in found.items():
        _require_joint(joint, joints, "CFG-042", "parents", refuse)
        if parent is not None and parent not in joints:
            guess = _nearest(parent, joints)
            message = f"unknown parent {_shown(parent)} of {joint!r}{guess}"
            raise refuse("CFG-042", message, "parents", "name it in joints")
    above = {joint: found.get(joint) or joint for joint in joints}
    for joint in joints:
        way = [joint]
        while above[way[-1]] != way[-1]:
            way.append(above[way[-1]])
            if way[-1] in way[:-1]:
                circle = " < ".join(way[way.index(way[-1]) :])
                message = f"the parents go in a circle: {circle}"
                raise refuse("CFG-042", message, "parents", "let every joint lead to the centre")
    roots = [joint for joint in joints if above[joint] == joint]
    if len(roots) > 1:
        raise refuse(
            "CFG-042",
            f"{len(roots)} joints have no parent: {', '.join(roots[:5])}",
            "parents",
            "give each a parent, but for the one centre",
        )
    if centre not in (None, roots[0]):
        message = f"the centre is {centre!r}, but the joint without a parent is {roots[0]!r}"
        raise refuse("CFG-042", message, "centre", "leave centre out, or turn the parents")
    return tuple(joints.index(above[joint]) for joint in joints)


def _from_bones(
    found: object, centre: object, joints: tuple[str, ...], refuse: _Refuse
) -> tuple[int, ...]:
    bones = _name_pairs(found, "bones", refuse)
    if centre is None:
        mend = "name the joint that every limb leads to"
        raise refuse("CFG-042", "bones without a centre", "centre", mend)
    group = {joint: joint for joint in joints}
    beside: dict[str, list[str]] = {joint: [] for joint in joints}
    for one, other in bones:
        for joint in (one, other):
            _require_joint(joint, joints, "CFG-042", "bones", refuse)
        if group[one] == group[other]:
            message = f"the bone {one} - {other} closes a circle"
            raise refuse("CFG-042", message, "bones", "leave out one bone of the circle")
        old, new = group[one], group[other]
        group = {joint: new if member == old else member for joint, member in group.items()}
        beside[one].append(other)
        beside[other].append(one)
    above, waiting = {str(centre): str(centre)}, [str(centre)]
    while waiting:
        joint = waiting.pop()
        for neighbour in beside[joint]:
            if neighbour not in above:
                above[neighbour] = joint
                waiting.append(neighbour)
    apart = [joint for joint in joints if joint not in above]
    if apart:
        message = f"no bones connect {', '.join(apart[:5])} with the centre {centre!r}"
        raise refuse("CFG-042", message, "bones", "add the bones that are missing")
    return tuple(joints.index(above[joint]) for joint in joints)


def _name_pairs(found: object, where: str, refuse: _Refuse) -> list[tuple[str, str]]:
    is_list = isinstance(found, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(one, str) for one in pair)
        for pair in found
    )
    if not isinstance(found, list) or not is_list:
        message = "expected a list of pairs of joint names"
        raise refuse("CFG-040", message, where, "write [[paw_l, paw_r], ...]")
    return [(one, other) for one, other in found]


def _pairs(
    found: object, joints: tuple[str, ...], refuse: _Refuse
) -> tuple[tuple[int, int], ...] | None:
    """Return the mirror's pairs; None where the names say them."""
    if found is None:
        for name in joints:
            if counterpart(name) not in joints:
                raise refuse(
                    "CFG-043",
                    f"joint {name!r} has no {counterpart(name)!r} on the other side",
                    "joints",
                    "name both, or give the pairs under mirror ([] for none)",
                )
        if all(counterpart(name) == name for name in joints):
            message = "no joint's name starts with left or right, and mirror is missing"
            raise refuse("CFG-043", message, "mirror", "give the [left, right] pairs, [] for none")
        return None
    pairs = _name_pairs(found, "mirror", refuse)
    for name, times in Counter(name for pair in pairs for name in pair).items():
        _require_joint(name, joints, "CFG-043", "mirror", refuse)
        if times > 1:
            message = f"joint {_shown(name)} is in the mirror's pairs {times} times"
            raise refuse("CFG-043", message, "mirror", "pair each joint once, midline joints never")
    return tuple((joints.index(left), joints.index(right)) for left, right in pairs)


def _require_mirrored_bones(layout: Layout, refuse: _Refuse) -> None:
    mirror, names = layout.mirror, layout.joints
    bones = {frozenset(bone) for bone in layout.edges}
    for joint, parent in layout.edges:
        if frozenset((mirror[joint], mirror[parent])) not in bones:
            raise refuse(
                "CFG-043",
                f"the mirror turns the bone {names[joint]} - {names[parent]} into "
                f"{names[mirror[joint]]} - {names[mirror[parent]]}, which is no bone",
                "mirror",
                "mend the pair, or hang both sides from one joint",
            )


def read_layout_file(path: Path) -> Layout:
    """Read a layout from a YAML file, whose ``name`` is the file's own where it has none.

    Raises:
        UsageError: ``CFG-046`` missing, not readable, larger than 1 MB or not YAML; else as
            :func:`layout_from`.
    """

    def refuse(text: str, where: str | None = None) -> UsageError:
        return UsageError(
            "CFG-046", text, file=path, where=where, mend="give a YAML file with joints and parents"
        )

    try:
        if not path.is_file():
            raise refuse("the layout file is missing")
        if path.stat().st_size > FILE_LIMIT:
            raise refuse(f"the layout file is larger than {FILE_LIMIT} bytes")
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as fault:
        raise refuse(f"cannot read the layout file: {fault.strerror}") from fault
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise refuse(f"not valid YAML: {fault.problem}", f"line {line}") from fault
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as fault:
        raise refuse("not a readable YAML file") from fault
    name = path.stem
    if isinstance(content, dict):
        named = content.pop("name", name)
        name = named if isinstance(named, str) else ""
    return layout_from(name, content, file=path)


def find_layout(name_or_file: str) -> Layout:
    """Return a layout by name, or read and declare the one in a ``.yaml`` file.

    Raises:
        UsageError: ``CFG-003`` an unknown name; ``CFG-044`` a file whose name stands for another
            layout; else as :func:`read_layout_file`.
    """
    if not name_or_file.lower().endswith(_SUFFIXES):
        return get_layout(name_or_file)
    layout = read_layout_file(Path(name_or_file))
    declare_layout(layout)
    return layout


def declaration(name: str) -> dict[str, Any] | None:
    """Return what :func:`layout_from` needs to make a layout again; None for a built-in one.

    Raises:
        UsageError: ``CFG-003`` an unknown name.
    """
    if name in LAYOUTS:
        return None
    layout = get_layout(name)
    names = layout.joints
    content: dict[str, Any] = {
        "joints": list(names),
        "parents": {names[joint]: names[parent] for joint, parent in layout.edges},
    }
    if layout.pairs is not None:
        content["mirror"] = [[names[left], names[right]] for left, right in layout.pairs]
    return content
