"""Patience, parts and fp16 in the loop: where a run ends, and that a resumed one ends there too."""

import dataclasses
import math
import os
import signal

import pytest
import torch
from tiny_loop import batches, equal, run, scores, weights

from poselens.checkpoint import read_tensors
from poselens.training import sums
from poselens.training.gradients import FIRST_SCALE, Descent
from poselens.training.journal import read_rows
from poselens.training.objectives import Losses, cross_entropy
from poselens.training.states import state_files


def following(*right):
    """Validation that recognises so many of ten clips, epoch by epoch."""

    def validate(_network, progress, _stopped):
        return scores(right[progress.epoch] or 0)

    return validate


@pytest.fixture
def judged(monkeypatch):
    """Let validation with none recognised be one of scores that are no numbers."""
    real = sums.evaluate

    def evaluate(given, **options):
        found = real(given, **options)
        return found if found.top1 else dataclasses.replace(found, nll=math.nan, top1=1.0)

    monkeypatch.setattr(sums, "evaluate", evaluate)


def stopped_at(epoch, position):
    """Batches during which a signal comes."""

    def given(progress):
        for step, each in enumerate(batches(progress), progress.step):
            if (progress.epoch, step) == (epoch, position):
                os.kill(os.getpid(), signal.SIGTERM)
            yield each

    return given


@pytest.mark.parametrize(
    ("right", "patience", "epochs", "best"),
    [
        ([4, 5, 6, 7, 8, 9], 1, 6, 6),
        ([4, 8, 8, 8, 9, 9], 2, 4, 2),  # a tie is no better one
        ([4, 8, 7, 9, 8, 7], 2, 6, 4),
        ([9, 8, 7, 6, 5, 4], 1, 2, 1),
        ([None, 8, None, 9, 8, 8], 3, 6, 4),
        ([5, None, None, 9, 9, 9], 2, 3, 1),
        ([None, None, None, None, None, None], 3, 3, 0),
        ([4, 4, 4, 4, 4, 4], None, 6, 1),
    ],
)
@pytest.mark.usefixtures("judged")
def test_a_run_ends_so_many_epochs_after_its_best(tmp_path, right, patience, epochs, best):
    options = {"validate": following(*right), "patience": patience, "epochs": 6}
    model, outcome = run(tmp_path, select="best", **options)
    assert outcome.progress.epoch == epochs
    assert outcome.progress.best_epoch == best
    assert outcome.exit_code == 0
    assert equal(outcome.weights, weights(model)) == (best in (epochs, 0))
    again, resumed = run(tmp_path, select="best", resume=True, given=pytest.fail, **options)
    assert resumed.progress.epoch == epochs
    assert equal(weights(again), weights(model))


@pytest.mark.parametrize(("epoch", "position"), [(0, 1), (1, 3), (3, 0), (3, 3)])
def test_patience_is_that_of_the_undisturbed_run(tmp_path, epoch, position):
    options = {"validate": following(4, 8, 8, 8, 9, 9), "patience": 2, "epochs": 6}
    whole, ended = run(tmp_path / "whole", **options)
    _, outcome = run(tmp_path / "run", given=stopped_at(epoch, position), **options)
    assert outcome.exit_code == 143
    model, outcome = run(tmp_path / "run", resume=True, **options)
    assert outcome.progress.epoch == ended.progress.epoch == 4
    assert equal(weights(model), weights(whole))


def short_of_memory(model, given):
    losses = cross_entropy()(model, given)
    if len(given["label"]) > 3:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return losses


def overflowing(model, given):
    losses = cross_entropy()(model, given)

    class Larger(torch.autograd.Function):
        @staticmethod
        def forward(_, value):
            return value.clone()

        @staticmethod
        def backward(_, gradient):
            return gradient * 3e3

    return Losses(Larger.apply(losses.total), losses.parts, losses.logits)


@pytest.mark.parametrize(
    ("descent", "objective"),
    [
        (Descent(size=2), None),
        (Descent(halves=True), short_of_memory),
        (Descent(scales=True), overflowing),
        (Descent(size=3, halves=True, scales=True), None),
    ],
)
def test_each_way_to_descend_is_resumed_bitwise(tmp_path, descent, objective):
    """Dropout and a normalisation are in the network; size and scale are in the state."""
    options = {"descent": descent, "objective": objective}
    whole, _ = run(tmp_path / "whole", **options)
    run(tmp_path / "run", given=stopped_at(1, 2), **options)
    if descent.halves and descent.size is None:
        # the size was found out in the first step and is not found out again
        options["objective"] = None
    model, _ = run(tmp_path / "run", resume=True, **options)
    assert equal(weights(model), weights(whole))


def test_what_was_found_out_is_in_the_state(tmp_path, capsys):
    run(tmp_path, descent=Descent(halves=True), objective=short_of_memory)
    state = read_tensors(state_files(tmp_path)[0])
    assert int(state["pace.size"]) == 3
    told = capsys.readouterr().err
    assert told.count("memory does not hold 6 clips at once") == 1


def test_skipped_steps_are_counted_in_the_log(tmp_path):
    run(tmp_path, descent=Descent(scales=True), objective=overflowing, epochs=8)
    rows = read_rows(tmp_path / "log.jsonl")
    skipped = sum(row.get("skipped_steps", 0) for row in rows)
    scale = float(read_tensors(state_files(tmp_path)[0])["pace.scale"])
    assert scale == FIRST_SCALE / 2**skipped
    assert 1 <= skipped < 24
    assert "skipped_steps" not in rows[-1]


def test_a_run_without_options_saves_no_pace_and_tells_its_wait(tmp_path, capsys):
    run(tmp_path)
    assert not any(name.startswith("pace.") for name in read_tensors(state_files(tmp_path)[0]))
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3
    for line in told:
        assert "  clips/s " in line
        assert line.rstrip().endswith("%")
