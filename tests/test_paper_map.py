"""Every equation that is implemented is cited where, and the map of the paper leads to it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "poselens"
IMPLEMENTED = tuple(range(1, 15))
MAP = ROOT / "docs" / "paper.md"

_CITED = re.compile(r"Eqs?\.\s*\(?(\d+)\)?(?:\s*(-|–|,|and)\s*\(?(\d+)\)?)?")


def cited(text: str) -> set[int]:
    """Return the numbers in ``Eq. (3)-(5)``, ``Eq. 1-2``, ``Eq. (11) and (13)``."""
    found = set()
    for first, joint, last in _CITED.findall(text):
        found.add(int(first))
        if last:
            ranged = joint in ("-", "–")
            found |= set(range(int(first), int(last) + 1)) if ranged else {int(last)}
    return found


def docstrings(file: Path):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def test_citations_are_read():
    assert cited("Eq. (3)-(5), and Eq. 14; Eq. (11) and (13)") == {3, 4, 5, 11, 13, 14}
    assert cited("no equation (3)") == set()


@pytest.mark.parametrize("equation", IMPLEMENTED)
def test_an_equation_is_cited_by_a_function_or_class(equation):
    rooms = ("rgb", "clips", "skeleton", "contrast", "training", "fusion")
    found = [
        file.relative_to(SRC).as_posix()
        for room in rooms
        for file in sorted((SRC / room).glob("*.py"))
        if file.name != "__init__.py" and any(equation in cited(text) for text in docstrings(file))
    ]
    assert found


def symbols(text: str) -> list[tuple[str, str]]:
    """Return the ``file.py:symbol`` named in a text."""
    return re.findall(r"([\w/]+\.py):([A-Za-z_][\w.]*)", text)


def defined(file: Path) -> set[str]:
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
            for inner in getattr(node, "body", []):
                if isinstance(inner, ast.FunctionDef):
                    names.add(f"{node.name}.{inner.name}")
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


@pytest.mark.skipif(not MAP.is_file(), reason="docs/paper.md is not written yet")
def test_what_the_map_of_the_paper_names_exists():
    text = MAP.read_text(encoding="utf-8")
    named = symbols(text)
    assert named
    for path, symbol in named:
        places = [ROOT / path, SRC / path, ROOT / "src" / path]
        file = next((place for place in places if place.is_file()), None)
        assert file is not None, path
        assert symbol in defined(file), f"{path}:{symbol}"
    assert set(IMPLEMENTED) <= cited(text) | {
        int(number) for number in re.findall(r"\((\d{1,2})\)", text)
    }
