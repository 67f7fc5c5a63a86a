import os
import signal

import pytest
import torch
from tiny_loop import batch, batches, equal, network, optimiser, plan, run, scores, weights

from poselens.checkpoint import read_tensors, read_tensors_and_facts
from poselens.errors import NumericFault
from poselens.training.journal import read_rows
from poselens.training.loop import STATE_FILE, fit
from poselens.training.objectives import Losses, cross_entropy
from poselens.training.state import Progress


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
    assert Progress() == Progress(0, 0, {}, -1.0, 0, {})
