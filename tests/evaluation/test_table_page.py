import re

import pytest
from table_run import some_scores

from poselens.evaluation.published import published
from poselens.evaluation.table_page import as_grid, as_html, as_latex, as_markdown
from poselens.evaluation.tables import Entry, On, accuracy_table, cost_table


def entry(row, seed, setting="joint & <b>_%|", of=None):
    on = On("tiny", "p_1", "test", "f00", of)
    return Entry(row, setting, str(seed), some_scores("joint", 0.7, seed), on, "last", ("r",))


@pytest.fixture(scope="module")
def facts():
    entries = [entry("pose", seed) for seed in range(3)]
    entries += [entry("pose", 0, "another"), entry("crop", 0, of=50)]
    return accuracy_table(4, published(4), entries)


def cells(markdown):
    rows = [line.strip("| ") for line in markdown.splitlines() if line.startswith("| ")]
    return [re.split(r"(?<!\\) \| ", row) for row in rows]


def test_markdown_has_the_printed_and_the_measured(facts):
    text = as_markdown(facts)
    table = cells(text)
    assert table[0][:4] == ["row", "input", "paper, NTU60 X-Sub", "paper, NTU60 X-View"]
    assert len({len(row) for row in as_grid(facts).rows}) == 1
    pose, more = (row for row in table if row[0] == "Pose")
    assert pose[1:6] == ["S", "92.8", "96.7", "Top-1", "joint & <b>_%\\|"]
    assert re.fullmatch(r"\d+\.\d ± \d+\.\d \[\d+\.\d, \d+\.\d\]", pose[6])
    assert pose[8:] == ["40", "3", "", "", "", ""][: len(pose) - 8]
    assert more[1:6] == ["", "", "", "", "another"]
    crop = next(row for row in as_grid(facts).rows if row[0] == "Baseline + Crop")
    assert "40 of 50" in crop
    assert "**whole method**" in text


def test_rows_that_were_not_run_are_empty(facts):
    rows = {row[0]: row for row in as_grid(facts).rows}
    assert set(rows["Baseline + Crop + STAA"][5:]) == {""}
    empty = as_grid(accuracy_table(1, published(1), []))
    assert empty.rows[-1][:2] == ["poselens", "R + S"]
    assert set(empty.rows[-1][2:]) == {""}
    assert "poselens: Top-1 % [95 %]" in empty.columns


def test_the_page_is_one_file_and_escapes(facts):
    page = as_html(facts)
    assert "joint &amp; &lt;b&gt;_%|" in page
    assert not re.search(r"(?:src|href)=", page)
    assert page.count("<tr") == len(as_grid(facts).rows) + 1
    assert "<b>TSM</b>: RGB + optical flow" in as_html(accuracy_table(2, published(2), []))


def test_latex_escapes_and_has_as_many_cells_in_every_line(facts):
    text = as_latex(facts)
    assert r"joint \& <b>\_\%|" in text
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    counts = {len(re.findall(r"(?<!\\)&", line)) for line in body.splitlines() if "&" in line}
    assert counts == {len(as_grid(facts).columns) - 1}
    assert r"$\pm$" in text
    assert r"$\pi$-ViT" in as_latex(accuracy_table(1, published(1), []))


def test_costs():
    measured = [
        {"setting": "a", "gmacs": 34.79, "rgb_gmacs": 32.99, "skeleton_gmacs": 1.8, "params": 9e6},
        {"setting": "b", "gmacs": 0.0042, "rgb_gmacs": None, "skeleton_gmacs": 0.0042,
         "params": 2e4, "milliseconds": 2.51, "weight_bytes": 4e6, "activation_bytes": 1e6,
         "hardware": "a CPU", "memory_by": "counted"},
    ]  # fmt: skip
    grid = as_grid(cost_table(3, published(3), measured))
    assert grid.rows[0] == ["VPN", "107.9", "", "", "", "", "", "", ""]
    assert grid.rows[-2] == [
        "poselens: a", "", "34.79", "32.99", "1.80", "9.00", "", "", "",
    ]  # fmt: skip
    assert grid.rows[-1][2:] == ["0.0042", "", "0.0042", "0.02", "2.5", "4.0", "1.0"]
    assert any("on a CPU; activations: counted" in text for _, text in grid.notes)
    assert "ms" not in as_grid(cost_table(3, published(3), measured[:1])).columns
