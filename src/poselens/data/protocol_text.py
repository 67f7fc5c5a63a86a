"""Protocols in the text of ``dataset.yaml``, added and removed around what a person wrote there."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from poselens.data.info import ProtocolInfo
from poselens.data.plain_yaml import plain_yaml

_KEY = "protocols"


def with_protocols(text: str, protocols: Mapping[str, ProtocolInfo]) -> tuple[str, bool]:
    """Return the text with protocols added, and whether all the rest of it is as it was.

    The result is read again and compared with what it is to say; where the text is too unusual to
    be added to, it is written anew, without comments.
    """
    added = {
        name: about.model_dump(mode="json", exclude_defaults=True)
        for name, about in protocols.items()
    }
    content = yaml.safe_load(text)
    wanted = {**content, _KEY: {**(content.get(_KEY) or {}), **added}}
    return _if_it_says(_added(text, added, wanted[_KEY]), wanted)


def without_protocols(text: str, names: Sequence[str]) -> tuple[str, bool]:
    """Return the text without some of its protocols, and whether the rest is as it was."""
    if not names:
        return text, True
    content = yaml.safe_load(text)
    left = {name: about for name, about in content[_KEY].items() if name not in names}
    return _if_it_says(_removed(text, names, left), {**content, _KEY: left})


def _if_it_says(text: str | None, wanted: Mapping[str, Any]) -> tuple[str, bool]:
    try:
        if text is not None and yaml.safe_load(text) == wanted:
            return text, True
    except yaml.YAMLError:
        pass
    return plain_yaml(dict(wanted), width=100), False


def _protocols(text: str) -> tuple[yaml.MappingNode | None, yaml.Node | None]:
    """Return the root and the value of ``protocols``, None where it is no mapping or not there."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return None, None
    for key, value in root.value:
        if key.value == _KEY:
            return root, value
    return root, None


def _added(text: str, added: Mapping[str, Any], every: Mapping[str, Any]) -> str | None:
    root, value = _protocols(text)
    if root is None:
        return None
    if value is None:
        before = text if text.endswith("\n") else f"{text}\n"
        return f"{before}{_KEY}:\n{_block(added, 2, before)}"
    if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
        indent = value.value[0][0].start_mark.column
        at = _line_after(text, _end(value))
        before = text[:at] if text[:at].endswith("\n") else f"{text[:at]}\n"
        return before + _block(added, indent, before) + text[at:]
    # {...} or nothing: a block takes its place, and what stands behind it in its line stays there
    start, end = value.start_mark.index, value.end_mark.index
    at = _line_after(text, end)
    rest = text[end:at].rstrip("\r\n")
    head = text[:start].rstrip(" ") + (f"  {rest.lstrip()}" if rest.strip() else "") + "\n"
    return head + _block(every, 2, head) + text[at:]


def _removed(text: str, names: Sequence[str], left: Mapping[str, Any]) -> str | None:
    _, value = _protocols(text)
    if not isinstance(value, yaml.MappingNode):
        return None
    if value.flow_style:
        flow = plain_yaml(dict(left), flow=True, width=1 << 20)
        return text[: value.start_mark.index] + flow.strip() + text[value.end_mark.index :]
    for key, about in reversed(value.value):
        if key.value in names:
            start = key.start_mark.index - key.start_mark.column
            # the key may stand behind another mark in its line; then reading again tells
            text = text[:start] + text[_line_after(text, _end(about)) :]
    if not left:
        at = value.start_mark.index - value.start_mark.column
        head = text[:at].rstrip("\r\n ")
        return f"{head} {{}}\n{text[at:]}"
    return text


def _end(node: yaml.Node) -> int:
    """Return where the text of a node ends; a block's mark lies behind comments after it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _line_after(text: str, index: int) -> int:
    if index and text[index - 1] == "\n":
        return index
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


def _block(protocols: Mapping[str, Any], indent: int, before: str) -> str:
    dumped = plain_yaml(dict(protocols), width=100 - indent)
    ending = "\r\n" if "\r\n" in before else "\n"
    return "".join(" " * indent + line + ending for line in dumped.splitlines())
