import os
import signal

import numpy as np
import pytest
import torch
from torch import nn

from poselens.checkpoint import read_tensors, read_tensors_and_facts
from poselens.errors import NumericFault
from poselens.training.journal import read_rows
from poselens.training.loop import STATE_FILE, Plan, fit
from poselens.training.objectives import Losses, cross_entropy
from poselens.training.state import Progress
from poselens.types import Scores


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 3))


def optimiser(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for group in optimizer.param_groups:
        group["lr_factor"] = 1.0
    return optimizer


def batch(key):
    generator = torch.Generator().manual_seed(key)
    label = torch.randint(0, 3, (6,), generator=generator)
    return {
        "inputs": (torch.randn(6, 4, generator=generator) + label[:, None],),
        "label": label,
        "index": torch.arange(6) + 6 * key,
        "id": [f"{key}-{row}" for row in range(6)],
    }


def batches(progress):
    for position in range(progress.step, 4):
        yield batch(10 * progress.epoch + position)


def scores(right):
    """Ten clips, of which ``right`` are recognised."""
    labels = np.arange(10) % 2
    logits = np.zeros((10, 2), np.float32)
    logits[np.arange(10), np.where(np.arange(10) < right, labels, 1 - labels)] = 1
    return Scores(logits, [str(row) for row in range(10)], labels, ["a", "b"], "test")


def plan(folder, **changes):
    facts = {
        "folder": folder,
        "title": "test",
        "epochs": 3,
        "steps": 4,
        "rate": lambda progress: 0.1 / (1 + progress),
        "amp": False,
        "replay": False,
        "clip_norm": 1.0,
        "ema": 0.0,
        "select": "last",
        "fingerprint": "f",
    }
    return Plan(**{**facts, **changes})


def run(folder, *, given=batches, validate=None, resume=False, objective=None, **changes):
    folder.mkdir(exist_ok=True)
    model = network()
    beside = changes.pop("beside", None)
    observe = changes.pop("observe", lambda _: None)
    outcome = fit(
        model,
        objective or cross_entropy(),
        optimiser(model),
        batches=given,
        validate=validate,
        observe=observe,
        plan=plan(folder, **changes),
        resume=resume,
        beside=beside,
    )
    return model, outcome


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def turned_nan(losses):
    return Losses(losses.total * float("nan"), losses.parts, losses.logits)


def test_a_run_that_becomes_nan_keeps_its_last_good_state(tmp_path):
    seen = []

    def objective(model, given):
        seen.append(given["id"][0])
        losses = cross_entropy()(model, given)
        return turned_nan(losses) if len(seen) == 7 else losses

    with pytest.raises(NumericFault, match=r"NUM-001|the loss is nan"):
        run(tmp_path, objective=objective)
    kept = read_tensors(tmp_path / "state.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in kept.values())
    assert [row["epoch"] for row in read_rows(tmp_path / "log.jsonl")] == [1]
    undisturbed, _ = run(tmp_path / "whole", epochs=3)
    resumed, outcome = run(tmp_path, resume=True)
    assert outcome.progress.epoch == 3
    assert equal(weights(resumed), weights(undisturbed))


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 8, 11, 12])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_resumes_bitwise(tmp_path, steps, number):
    """Wherever the signal comes, also on the last step of an epoch and of the run."""
    undisturbed, _ = run(tmp_path / "whole")
    given = []

    def interrupted(progress):
        for each in batches(progress):
            given.append(each["id"])
            if len(given) == steps:
                os.kill(os.getpid(), number)
            yield each

    model, outcome = run(tmp_path / "stopped", given=interrupted)
    assert outcome.exit_code == 128 + number
    assert len(given) == steps
    position = read_tensors_and_facts(tmp_path / "stopped" / STATE_FILE)[1]["progress"]
    assert (4 * position["epoch"] + position["step"]) == steps
    assert not steps < 12 or not equal(weights(model), weights(undisturbed))
    resumed, outcome = run(tmp_path / "stopped", resume=True)
    assert outcome.exit_code == 0
    assert equal(weights(resumed), weights(undisturbed))
    rows = [read_rows(tmp_path / name / "log.jsonl") for name in ("whole", "stopped")]
    for one, other in zip(*rows, strict=True):
        timed = {"seconds", "clips_per_second", "data_wait"}
        assert {k: v for k, v in one.items() if k not in timed} == {
            k: v for k, v in other.items() if k not in timed
        }


def test_a_signal_during_validation_stops_there_and_validates_anew(tmp_path):
    calls = []

    def validate(_network, progress, stopped):
        calls.append(progress.epoch)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stopped()
            return scores(0)
        assert not stopped()
        return scores(5 + len(calls))

    _, outcome = run(tmp_path, validate=validate)
    assert outcome.exit_code == 143
    assert (outcome.progress.epoch, outcome.progress.step) == (1, 4)
    assert [row["epoch"] for row in read_rows(tmp_path / "log.jsonl")] == [1, 1]
    model, outcome = run(tmp_path, validate=validate, resume=True)
    assert (outcome.exit_code, outcome.progress.epoch) == (0, 3)
    assert calls == [0, 1, 1, 2]
    undisturbed, _ = run(tmp_path / "whole", validate=lambda *_: scores(5))
    assert equal(weights(model), weights(undisturbed))
    rows = read_rows(tmp_path / "log.jsonl")
    assert [(row["epoch"], row["split"]) for row in rows] == [
        (epoch, split) for epoch in (1, 2, 3) for split in ("train", "val")
    ]
    assert [row["top1"] for row in rows if row["split"] == "val"] == [0.6, 0.8, 0.9]


def test_a_second_ctrl_c_leaves_at_once_and_the_state_is_that_of_the_last_epoch(tmp_path):
    def validate(_network, progress, _stopped):
        if progress.epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return scores(5)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, validate=validate)
    model, outcome = run(tmp_path, validate=lambda *_: scores(5), resume=True)
    assert outcome.progress.epoch == 3
    undisturbed, _ = run(tmp_path / "whole", validate=lambda *_: scores(5))
    assert equal(weights(model), weights(undisturbed))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("stop_at", [None, 1, 2])
def test_best_keeps_the_earlier_of_equals_also_when_resumed(tmp_path, stop_at):
    """Validation goes 0.4, 0.8, 0.8, 0.6: the second epoch is kept."""
    reached = {}

    def validate(_network, progress, _stopped):
        return scores([4, 8, 8, 6][progress.epoch])

    def given(progress):
        for position, each in enumerate(batches(progress)):
            if progress.epoch == stop_at and position == 1 and not reached:
                reached["stop"] = True
                os.kill(os.getpid(), signal.SIGINT)
            yield each

    kept = {}

    def objective(model, each):
        if each["id"][0] == "20-0":
            kept.update(weights(model))  # as the second epoch left them
        return cross_entropy()(model, each)

    options = {"validate": validate, "given": given, "select": "best", "epochs": 4}
    model, outcome = run(tmp_path, objective=objective, **options)
    if stop_at is not None:
        assert outcome.exit_code == 130
        model, outcome = run(tmp_path, objective=objective, resume=True, **options)
    assert (outcome.progress.best_epoch, outcome.progress.best_top1) == (2, 0.8)
    parameters = dict(model.named_parameters())
    assert all(torch.equal(outcome.weights[name], kept[name]) for name in parameters)
    assert not equal(outcome.weights, weights(model))


def test_the_last_epoch_is_kept_by_default(tmp_path):
    model, outcome = run(tmp_path, validate=lambda _network, p, _: scores(9 - p.epoch))
    assert equal(outcome.weights, weights(model))
    assert outcome.progress.best_epoch == 1


def test_resuming_a_complete_run_changes_nothing(tmp_path):
    done, _ = run(tmp_path)
    state = (tmp_path / "state.safetensors").read_bytes()
    again, outcome = run(tmp_path, resume=True, given=lambda _: pytest.fail("trained again"))
    assert outcome.exit_code == 0
    assert equal(weights(again), weights(done))
    assert (tmp_path / "state.safetensors").read_bytes() == state


def test_resuming_nothing_begins(tmp_path):
    begun, _ = run(tmp_path, resume=True)
    undisturbed, _ = run(tmp_path / "other")
    assert equal(weights(begun), weights(undisturbed))


def test_rates_follow_the_position_and_rows_the_epoch(tmp_path):
    seen = []

    def objective(model, each):
        seen.append(optimizers[0].param_groups[0]["lr"])
        return cross_entropy()(model, each)

    model = network()
    optimizers = [optimiser(model)]
    fit(
        model,
        objective,
        optimizers[0],
        batches=batches,
        validate=None,
        observe=lambda _: None,
        plan=plan(tmp_path, rate=lambda progress: progress, epochs=2, clip_norm=None),
        resume=False,
    )
    assert seen == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]
    rows = read_rows(tmp_path / "log.jsonl")
    assert [(row["epoch"], row["split"], row["clips"], row["lr"]) for row in rows] == [
        (1, "train", 24, 0.75),
        (2, "train", 24, 1.75),
    ]


def test_an_epoch_of_nothing_readable_is_no_division_by_zero(tmp_path):
    def none(progress):
        progress.step = 4
        return iter(())

    _, outcome = run(tmp_path, given=none)
    assert outcome.progress.epoch == 3
    row = read_rows(tmp_path / "log.jsonl")[0]
    assert (row["clips"], row["loss"], row["top1"]) == (0, 0, 0)


def test_bf16_trains_in_bf16(tmp_path):
    kinds = set()

    def objective(model, each):
        losses = cross_entropy()(model, each)
        kinds.add(losses.logits.dtype)
        return losses

    run(tmp_path, objective=objective, amp=True, epochs=1)
    assert kinds == {torch.bfloat16}


def test_progress_starts_at_nothing():
    assert Progress() == Progress(0, 0, {}, -1.0, 0, {})
