import copy
import json
import os
import signal

import pytest
import torch
from tiny_loop import batch, batches, equal, network, optimiser, plan, run, scores, weights
from torch import nn

from poselens.checkpoint import read_tensors_and_facts
from poselens.errors import NumericFault
from poselens.training.journal import read_rows
from poselens.training.loop import fit
from poselens.training.objectives import Losses, cross_entropy
from poselens.training.state import Progress
from poselens.training.states import state_files


def turned_nan(losses):
    return Losses(losses.total * float("nan"), losses.parts, losses.logits)


def spoiled_at(*steps):
    """An objective whose loss is NaN at some steps, counted from 1."""
    seen = []

    def objective(model, given):
        seen.append(given["id"][0])
        losses = cross_entropy()(model, given)
        return turned_nan(losses) if len(seen) in steps else losses

    return objective


def test_a_run_whose_loss_becomes_nan_goes_on_and_says_what_it_saw(tmp_path, capsys):
    model, outcome = run(tmp_path, objective=spoiled_at(2, 3, 7), ema=0.5)
    assert outcome.exit_code == 0
    assert all(bool(torch.isfinite(value).all()) for value in weights(model).values())
    assert int(model[1].num_batches_tracked) == 9
    rows = read_rows(tmp_path / "log.jsonl")
    assert [row["clips"] for row in rows] == [12, 18, 24]
    report = json.loads((tmp_path / "nan_report.json").read_text())["refused"]
    assert [(each["epoch"], each["step"]) for each in report] == [(1, 2), (1, 3), (2, 3)]
    assert report[0]["clips"] == [f"1-{row}" for row in range(6)]
    assert report[0] | {"clips": [], "gradient_norm": ""} == {
        "epoch": 1,
        "step": 2,
        "clips": [],
        "lr": 0.1 / 1.25,
        "loss": "nan",
        "parts": report[0]["parts"],
        "gradient_norm": "",
        "inputs_finite": True,
        "first_parameter": "3.bias",
        "parameters": "6 of 6",
    }
    assert float(report[0]["parts"]["ce"]) > 0
    assert "epoch 2, step 3: clips 12-0" in capsys.readouterr().err


def test_a_refused_step_is_as_if_its_batch_had_not_come(tmp_path):
    """Weights, statistics, momenta and what is beside, as without it: dropout's draws apart."""
    quiet = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    trained = []
    for spoiled in (True, False):
        (tmp_path / str(spoiled)).mkdir()
        model = copy.deepcopy(quiet)
        objective = spoiled_at(2) if spoiled else cross_entropy()

        def given(progress, spoiled=spoiled):
            for position, each in enumerate(batches(progress), progress.step):
                if spoiled or position != 1:
                    yield each
                else:
                    progress.step += 1

        fit(
            model,
            objective,
            optimiser(model),
            batches=given,
            validate=None,
            observe=lambda _: None,
            plan=plan(tmp_path / str(spoiled), epochs=1),
            resume=False,
        )
        trained.append(weights(model))
    assert equal(*trained)


@pytest.mark.parametrize(("limit", "at"), [(1, 3), (2, 7), (3, 8)])
def test_too_many_refused_steps_in_a_row_end_the_run_and_the_state_is_good(tmp_path, limit, at):
    with pytest.raises(NumericFault, match=r"the loss is nan.*nan_report.json") as caught:
        run(tmp_path, objective=spoiled_at(3, 6, 7, 8), max_nan=limit)
    assert (caught.value.code, caught.value.exit_code) == ("NUM-001", 1)
    kept, facts = read_tensors_and_facts(state_files(tmp_path)[0])
    assert all(bool(torch.isfinite(value).all()) for value in kept.values())
    assert 4 * facts["progress"]["epoch"] + facts["progress"]["step"] == at
    assert facts["progress"]["refused"] == 0
    given = []

    def objective(model, each):
        given.append(each["id"][0])
        return cross_entropy()(model, each)

    _, outcome = run(tmp_path, objective=objective, resume=True, max_nan=limit)
    assert (outcome.exit_code, outcome.progress.epoch, len(given)) == (0, 3, 12 - at)


def test_refused_steps_are_counted_across_a_stop(tmp_path):
    """Two before it and one after it are three in a row."""
    real = spoiled_at(2, 3, 4)

    def objective(model, given):
        if given["id"][0] == "2-0":
            os.kill(os.getpid(), signal.SIGTERM)
        return real(model, given)

    assert run(tmp_path, objective=objective)[1].exit_code == 143
    with pytest.raises(NumericFault, match="clips 3-0"):
        run(tmp_path, objective=objective, resume=True)


def test_a_report_that_cannot_be_written_does_not_end_the_run(tmp_path, capsys):
    (tmp_path / "nan_report.json").mkdir()
    _, outcome = run(tmp_path, objective=spoiled_at(2, 5))
    assert outcome.progress.epoch == 3
    assert "the report of a refused step is not kept" in capsys.readouterr().err


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
    position = read_tensors_and_facts(state_files(tmp_path / "stopped")[0])[1]["progress"]
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
    state = state_files(tmp_path)[0].read_bytes()
    again, outcome = run(tmp_path, resume=True, given=lambda _: pytest.fail("trained again"))
    assert outcome.exit_code == 0
    assert equal(weights(again), weights(done))
    assert state_files(tmp_path)[0].read_bytes() == state


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


def test_the_next_batch_is_made_while_a_step_is_under_way(tmp_path):
    told = []

    def made(progress):
        for each in batches(progress):
            told.append(f"made {each['id'][0]}")
            yield each

    def objective(model, each):
        told.append(f"step {each['id'][0]}")
        return cross_entropy()(model, each)

    run(tmp_path, given=made, objective=objective, epochs=1)
    assert told == [
        *("made 0-0", "step 0-0", "made 1-0", "step 1-0", "made 2-0", "step 2-0", "made 3-0"),
        "step 3-0",
    ]


@pytest.mark.parametrize("moment", ["made", "step"])
def test_a_stop_between_steps_loses_no_batch(tmp_path, moment):
    """Also one whose next batch is made already: it is taken before the run stops."""
    undisturbed, _ = run(tmp_path / "whole", epochs=1)
    seen = {"made": [], "step": []}

    def note(kind, each):
        seen[kind].append(each["id"][0])
        if kind == moment and len(seen[kind]) == 2 and "stopped" not in seen:
            seen["stopped"] = True
            os.kill(os.getpid(), signal.SIGTERM)

    def made(progress):
        for each in batches(progress):
            note("made", each)
            yield each

    def objective(model, each):
        note("step", each)
        return cross_entropy()(model, each)

    options = {"given": made, "objective": objective, "epochs": 1}
    _, outcome = run(tmp_path / "run", **options)
    assert (outcome.progress.epoch, outcome.progress.step) == (0, 2)
    assert outcome.progress.sums["clips"] == 12
    resumed, _ = run(tmp_path / "run", resume=True, **options)
    assert seen["made"] == seen["step"] == ["0-0", "1-0", "2-0", "3-0"]
    assert equal(weights(resumed), weights(undisturbed))


def test_steps_without_a_batch_keep_their_place_when_stopped(tmp_path):
    """A batch of which nothing can be read is a step without effect, found while looking ahead."""

    def readable(progress):
        for position in range(progress.step, 4):
            if position in (1, 3):
                progress.step += 1
            else:
                yield batch(10 * progress.epoch + position)

    rates = []
    undisturbed, _ = run(tmp_path / "whole", given=readable, rate=lambda p: rates.append(p) or 0.1)
    assert sorted(set(rates)) == [0, 0.5, 0.75, 1, 1.5, 1.75, 2, 2.5, 2.75]  # .75: of the log
    steps = []

    def objective(model, each):
        steps.append(each["id"][0])
        if len(steps) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return cross_entropy()(model, each)

    options = {"given": readable, "objective": objective, "rate": lambda _: 0.1}
    _, outcome = run(tmp_path / "run", **options)
    assert outcome.progress.step == 1
    resumed, _ = run(tmp_path / "run", resume=True, **options)
    assert equal(weights(resumed), weights(undisturbed))


def test_bf16_trains_in_bf16(tmp_path):
    kinds = set()

    def objective(model, each):
        losses = cross_entropy()(model, each)
        kinds.add(losses.logits.dtype)
        return losses

    run(tmp_path, objective=objective, amp=True, epochs=1)
    assert kinds == {torch.bfloat16}


def test_progress_starts_at_nothing():
    assert Progress() == Progress(0, 0, {}, -1.0, 0, {}, 0, None)
