import re
from importlib import resources

import pytest

from poselens.errors import UsageError
from poselens.evaluation.protocols import known
from poselens.evaluation.published import figures, published

TABLES = sorted(figures().tables)


def test_the_paper_has_five_tables():
    assert TABLES == [1, 2, 3, 4, 5]
    with pytest.raises(UsageError, match="found table 6, the paper has 1 to 5") as caught:
        published(6)
    assert caught.value.code == "CFG-111"


@pytest.mark.parametrize("number", TABLES)
def test_a_table_is_whole(number):
    table = published(number)
    assert all(len(row.printed) == len(table.columns) for row in table.rows)
    assert sum(row.ours for row in table.rows) == 1
    assert all(known(name) is not None for name in table.protocols)
    assert all(each.source for row in table.rows for each in row.elsewhere)
    assert all(entry.top1 or entry.mean_class for entry in table.beyond)
    keys = [row.key for row in table.rows if row.key]
    assert len(set(keys)) == len(keys)
    assert bool(keys) == (number in (4, 5))


def test_what_is_known_from_memory_alone_is_not_there():
    """RGBPose-C3D's NTU60 figures of its paper, VPN's largest variant, TEA's and TDN's costs."""
    text = resources.files("poselens.evaluation").joinpath("published.yaml").read_text("utf-8")
    rows = {row.method: row for row in published(1).rows}
    assert rows["RGBPose-C3D"].printed == (95.3, 96.4)
    assert "NTU RGB+D 120" in rows["RGBPose-C3D"].caveat
    for figure in ("99.6", "95.5", "98.0", "[M]"):
        assert figure not in text


def test_mixed_metrics_are_marked():
    rows = {row.method: row for row in published(2).rows}
    assert rows["TSM"].streams == "RGB + optical flow"
    assert (rows["TSM"].counts, rows["PoseC3D"].counts, rows["MTN"].counts) == (
        "top1", "mean_class", "unsaid",
    )  # fmt: skip


# --- against the text of the paper -------------------------------------------------------------


def lines_of(text: str, number: int) -> str:
    """Return the text from a table's title to the next one's."""
    begin = text.index(f"Table {number}: ")
    ends = [text.find(mark, begin) for mark in (f"Table {number + 1}: ", "4.5 Visualization")]
    return text[begin : min(end for end in ends if end > 0)]


@pytest.mark.shared
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_figures_are_those_of_the_paper(shared, number):
    path = shared / "paper" / "mfcf.txt"
    if not path.is_file():
        pytest.skip("the paper's text is not beside the data")
    text = lines_of(path.read_text(encoding="utf-8"), number)
    table = published(number)
    found = []
    for row in table.rows:
        name = re.escape(row.text_name or row.method)
        modality = re.escape(f" {row.modality}") if row.modality else ""
        line = re.search(rf"^{name}(?:\[\d+\])?{modality} ((?:[\d.]+G? ?)+)$", text, re.MULTILINE)
        assert line, row.method
        printed = tuple(float(figure.rstrip("G")) for figure in line[1].split())
        assert printed == row.printed, row.method
        found.append(line.start())
    assert found == sorted(found)
    # and there are no others
    until = re.search(r"^Ours.*$", text, re.MULTILINE).end()
    rows = re.findall(r"^[^\n]*[A-Za-z\]] [\d.]+G?(?: [\d.]+)?$", text[:until], re.MULTILINE)
    assert len(rows) == len(table.rows)


@pytest.mark.shared
def test_figures_of_samplings_are_those_of_the_paper(shared):
    path = shared / "paper" / "mfcf.txt"
    if not path.is_file():
        pytest.skip("the paper's text is not beside the data")
    text = lines_of(path.read_text(encoding="utf-8"), 5)
    marked = re.findall(r"^([✓ ]+) ([\d.]+)$", text.replace("✓ ✓", "✓✓"), re.MULTILINE)
    printed = [(len(marks), float(figure)) for marks, figure in marked]
    ours = [
        (len(row.key.split("+")), row.printed[0])
        for row in published(5).rows
        if row.printed[0] is not None
    ]
    assert ours == printed
    assert "the combination of random and\nclass-aware" in text
