"""Rows of the log for TensorBoard; a fault of the writer ends nothing."""

import pytest

from poselens.errors import UsageError
from poselens.training import tensorboard as module
from poselens.training.tensorboard import FOLDER, Board, require_tensorboard

ROWS = [
    {"epoch": 1, "split": "train", "loss": 2.0, "top1": 0.25},
    {"epoch": 1, "split": "val", "loss": 1.5, "top1": 0.5},
    {"epoch": 2, "split": "train", "loss": 1.0, "top1": 0.75, "note": "text"},
]


class Writer:
    def __init__(self):
        self.rows, self.flushed = [], 0

    def add_scalar(self, name, value, epoch):
        self.rows.append((name, value, epoch))

    def flush(self):
        self.flushed += 1


def test_each_row_is_written_once(tmp_path, monkeypatch):
    writer = Writer()
    monkeypatch.setattr(module, "_writer", lambda _: writer)
    board, told = Board(tmp_path), []
    board.follow(ROWS[:2], told=told.append)
    board.follow(ROWS, told=told.append)
    assert writer.rows == [
        ("train/loss", 2.0, 1),
        ("train/top1", 0.25, 1),
        ("val/loss", 1.5, 1),
        ("val/top1", 0.5, 1),
        ("train/loss", 1.0, 2),
        ("train/top1", 0.75, 2),
    ]
    assert (writer.flushed, told) == (2, [])


@pytest.mark.parametrize("where", ["made", "written", "flushed"])
def test_a_writer_that_breaks_is_told_of_once_and_left_alone(tmp_path, monkeypatch, where):
    calls = []

    def broken(*_):
        calls.append(where)
        raise OSError(28, "No space left on device")

    writer = Writer()
    if where == "written":
        writer.add_scalar = broken
    if where == "flushed":
        writer.flush = broken
    monkeypatch.setattr(module, "_writer", broken if where == "made" else lambda _: writer)
    board, told = Board(tmp_path), []
    for count in (2, 3, 3):
        board.follow(ROWS[:count], told=told.append)
    assert len(told) == len(calls) == 1
    assert told[0].startswith("TensorBoard gets no more rows, training goes on: OSError")


def test_what_the_package_writes_can_be_read_and_a_resumed_run_has_one_curve(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is not installed; pip install 'poselens[tensorboard]'",
    )
    for count in (2, 3):
        Board(tmp_path).follow(ROWS[:count], told=pytest.fail)
    assert len(list((tmp_path / FOLDER).iterdir())) == 1
    read = accumulator.EventAccumulator(str(tmp_path / FOLDER)).Reload()
    found = [(event.step, event.value) for event in read.Scalars("train/top1")]
    assert found == [(1, 0.25), (2, 0.75)]
    assert read.Tags()["scalars"] == ["train/loss", "train/top1", "val/loss", "val/top1"]


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(
        UsageError, match=r"not installed.*pip install 'poselens\[tensorboard\]'"
    ) as e:
        require_tensorboard()
    assert e.value.code == "CFG-050"
