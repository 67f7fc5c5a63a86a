import pytest

from poselens.cli.output import give_json, give_table, percent, with_interval
from poselens.cli.progress import bar


def test_numbers_for_people():
    assert percent(0.98765) == "98.8"
    assert with_interval(0.5, [0.25, 0.75]) == "50.0 [25.0, 75.0]"


def test_json_is_one_line_and_keeps_letters(capsys):
    give_json({"name": "Übung\nzwei", "none": None})
    out, err = capsys.readouterr()
    assert out == '{"name": "Übung\\nzwei", "none": null}\n'
    assert err == ""


def test_a_table_loses_nothing_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    label = "raise-the-right-arm-then-the-left-one"
    give_table("table", ["clip", "label"], [["a" * 30, label]])
    cells = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert "".join(cell[2].strip() for cell in cells) == label


@pytest.mark.parametrize("total", [None, 3])
def test_a_bar_is_silent_where_nobody_looks(capsys, total):
    with bar("scoring", total) as advance:
        advance()
        advance(2)
        advance(1, "ignored")
    assert capsys.readouterr() == ("", "")
