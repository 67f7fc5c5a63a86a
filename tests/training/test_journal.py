import csv
import errno
import json
import os
import re

import pytest

from poselens.errors import EnvironmentFault
from poselens.training.journal import COLUMNS, Journal, Teller, read_rows


def rows(epochs):
    return [
        {"epoch": epoch, "split": split, "loss": epoch / 3, "top1": 0.5}
        for epoch in range(1, epochs + 1)
        for split in ("train", "val")
    ]


def write(folder, written, epochs_done=0):
    journal = Journal(folder, epochs_done=epochs_done)
    for row in written:
        journal.write(row)


def table(folder):
    with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_are_kept_in_both_files(tmp_path):
    write(tmp_path, rows(2))
    assert read_rows(tmp_path / "log.jsonl") == rows(2)
    assert tuple(table(tmp_path)[0]) == COLUMNS
    assert [(row["epoch"], row["split"]) for row in table(tmp_path)] == [
        ("1", "train"),
        ("1", "val"),
        ("2", "train"),
        ("2", "val"),
    ]
    assert float(table(tmp_path)[2]["loss"]) == 2 / 3


def test_a_resumed_run_drops_what_it_does_again(tmp_path):
    write(tmp_path, rows(3))
    write(tmp_path, rows(3)[2:], epochs_done=1)
    assert read_rows(tmp_path / "log.jsonl") == rows(3)
    assert [row["epoch"] for row in table(tmp_path)] == ["1", "1", "2", "2", "3", "3"]


def test_a_new_run_begins_with_nothing(tmp_path):
    write(tmp_path, rows(2))
    Journal(tmp_path, epochs_done=0)
    assert read_rows(tmp_path / "log.jsonl") == []
    assert (tmp_path / "log.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path):
    write(tmp_path, rows(2))
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text()[:-10])
    assert read_rows(path) == rows(2)[:3]
    write(tmp_path, rows(2)[2:], epochs_done=1)
    assert read_rows(path) == rows(2)


def test_no_log_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "log.jsonl") == []


def test_a_log_that_cannot_be_written_is_told_and_ends_nothing(tmp_path, monkeypatch):
    told = []
    journal = Journal(tmp_path, epochs_done=0, told=told.append)
    (tmp_path / "log.jsonl").unlink()
    (tmp_path / "log.jsonl").mkdir()
    for row in rows(2):
        journal.write(row)
    assert len(set(told)) == 1
    assert re.search("rows of the log are lost: .*log.jsonl: cannot write: Is a directory", told[0])
    with pytest.raises(EnvironmentFault, match=r"log.jsonl: cannot write") as caught:
        Journal(tmp_path, epochs_done=0)
    assert caught.value.code == "ENV-003"
    (tmp_path / "log.jsonl").rmdir()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(EnvironmentFault, match="disk is full"):
        Journal(tmp_path, epochs_done=0)


def test_progress_off_a_terminal_is_one_line_an_epoch(tmp_path, capsys):
    teller = Teller("joint", total=4, done=2)
    with teller.shown():
        teller.step("loss 1.0")
        teller.epoch(2, 3, {"loss": "1.000", "val": "0.5"})
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "joint  epoch 2/3  loss 1.000  val 0.5\n"


def test_rows_are_plain_json(tmp_path):
    write(tmp_path, [{"epoch": 1, "split": "train", "loss": None, "note": "ü"}])
    assert json.loads((tmp_path / "log.jsonl").read_text())["note"] == "ü"
