"""The page on layouts lists what the code has, and its examples run."""

import re
from pathlib import Path

import pytest
import yaml

from poselens.pose import layouts
from poselens.pose.convert import convertible
from poselens.pose.declared import layout_from
from poselens.pose.layouts import LAYOUTS

PAGE = (Path(__file__).parents[2] / "docs" / "concepts" / "layouts.md").read_text(encoding="utf-8")
ROWS = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in PAGE.splitlines()]


@pytest.fixture(autouse=True)
def nothing_declared(monkeypatch):
    monkeypatch.setattr(layouts, "_declared", {})


def examples(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_order_of_the_joints():
    listed = {row[0]: tuple(row[1].split()) for row in ROWS if len(row) == 2 and row[0] in LAYOUTS}
    assert listed == {name: layout.joints for name, layout in LAYOUTS.items()}


def test_the_table_of_conversions():
    (head,) = [row[1:] for row in ROWS if row[0] == "from, to"]
    table = {row[0]: row[1:] for row in ROWS if len(row) == len(head) + 1 and row[0] in LAYOUTS}
    assert list(table) == head == list(LAYOUTS)
    for name, cells in table.items():
        missing = {other: str(len(lost) or "all") for other, lost in convertible(name).items()}
        assert cells == ["" if other == name else missing.get(other, "-") for other in head]


def test_the_examples_run():
    (example,) = examples("yaml")
    for name, content in yaml.safe_load(example)["layouts"].items():
        assert len(layout_from(name, content)) == 8
    declare, change = examples("python")
    exec(declare, {})
    found = {}
    exec(change, found)
    assert len(found["missing"]) == 5
