"""The figures of docs/reference/cost.md are what is counted today."""

import importlib.util
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
TEXT = (FOLDER / "cost.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script():
    found = importlib.util.spec_from_file_location("write_cost", FOLDER / "write_cost.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_every_figure_of_the_page(script, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    seen = []
    monkeypatch.setattr(
        script, "row", lambda *row, count=script.row: seen.append(row) or count(*row)
    )
    fresh = script.renewed(TEXT).splitlines()
    # no drift; where there is one, run docs/reference/write_cost.py
    assert fresh == TEXT.splitlines()
    assert sum(first.startswith("`--recipe ") for first, *_ in seen) >= 6
    assert sum("network." in first for first, *_ in seen) >= 12


def test_the_script_would_see_a_drift(script):
    cells = {"GMACs": "1.00", "params, 10^6": "2.00"}
    line = "| `--recipe tiny --layout coco-17 --classes 9` | 1.00 | 2.00 |"
    table = ["| `poselens cost` with | " + " | ".join(cells) + " |", "|---|---|---|", line]
    *head, fresh = script.rows(table)
    assert head == table[:2]
    assert re.fullmatch(r"\| `--recipe tiny .*` \| 0\.1\d \| 0\.\d\d \|", fresh)


def test_the_paper_recipe_is_quoted_on_both_data_sets(poselens):
    words = ("--recipe", "paper", "--json")
    finegym = ("--layout", "coco-17", "--classes", 99, "--set", "skeleton.input.people=1")
    for more in ((), finegym):
        (facts,) = poselens("cost", *words, *more).facts["recipes"]
        assert f"{facts['gmacs']:.1f} GMACs" in TEXT
