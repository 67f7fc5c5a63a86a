"""A code stands for one thing, and the table of codes says what."""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from poselens import errors

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "poselens"
CODE = re.compile(r"[A-Z]{2,5}-[0-9]{3}")


def table() -> list[list[str]]:
    text = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    rows = [re.split(r"\s*\|\s*", line.strip("| \n")) for line in text.splitlines()]
    return [row for row in rows if CODE.fullmatch(row[0])]


@cache
def modules():
    return [
        (
            file.relative_to(SRC).parts[0].removesuffix(".py"),
            ast.parse(file.read_text(encoding="utf-8")),
        )
        for file in sorted(SRC.rglob("*.py"))
    ]


@cache
def rooms_by_code() -> dict[str, set[str]]:
    """Every string of the source that is a code, by the room it stands in."""
    found = defaultdict(set)
    for room, tree in modules():
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and CODE.fullmatch(node.value):
                found[node.value].add(room)
    return found


@cache
def exits_by_code() -> dict[str, set[int]]:
    """The exit codes of the errors that are made with a code."""
    found = defaultdict(set)
    for _, tree in modules():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            kind, code = getattr(errors, node.func.id, None), node.args[0]
            is_error = isinstance(kind, type) and issubclass(kind, errors.PoselensError)
            if is_error and isinstance(code, ast.Constant):
                found[code.value].add(kind.exit_code)
    return found


def test_every_code_is_in_the_table_once_and_none_is_invented():
    listed = [row[0] for row in table()]
    assert listed == sorted(set(listed))
    assert set(listed) == set(rooms_by_code())


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0])
def test_a_code_means_one_thing_wherever_it_is_raised(row):
    """A code taken up by another room, or by another kind of error, has to be looked at here."""
    code, exit_code, rooms, meaning, mend = row
    assert set(rooms.split(", ")) == rooms_by_code()[code]
    assert exits_by_code()[code] <= {int(exit_code)}
    assert len(meaning) > 10
    assert mend


def test_no_two_codes_say_the_same():
    meanings = [row[3] for row in table()]
    assert len(set(meanings)) == len(meanings)


def test_docstrings_name_only_codes_that_exist():
    known = set(rooms_by_code())
    for file in sorted(SRC.rglob("*.py")):
        named = re.findall(rf"``({CODE.pattern})``", file.read_text(encoding="utf-8"))
        assert set(named) <= known, file
