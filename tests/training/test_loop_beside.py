"""What goes along with the network: what is trained beside it, and its average."""

import json
import os
import signal

import pytest
import torch
from tiny_loop import batches, equal, network, plan, run, scores, weights
from torch import nn

from poselens.checkpoint import read_tensors
from poselens.errors import EnvironmentFault
from poselens.training.loop import fit
from poselens.training.objectives import Losses, cross_entropy
from poselens.training.states import state_files


class Memory(nn.Module):
    """Trained beside the network, and remembers how many batches it saw."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))


def remembered(folder, resume=False, given=batches):
    """Train with something beside the network; returns it and what was observed."""
    folder.mkdir(exist_ok=True)
    model, memory, observed = network(), Memory(), []

    def objective(own, each):
        logits = own(*each["inputs"]) * memory.scale
        memory.seen += 1
        loss = nn.functional.cross_entropy(logits, each["label"])
        return Losses(loss, {"ce": loss}, logits)

    def observe(epoch):
        observed.append((epoch, int(memory.seen)))
        memory.seen.zero_()

    optimizer = torch.optim.SGD([*model.parameters(), memory.scale], lr=0.1, momentum=0.9)
    optimizer.param_groups[0]["lr_factor"] = 1.0
    fit(
        model,
        objective,
        optimizer,
        batches=given,
        validate=None,
        observe=observe,
        plan=plan(folder),
        resume=resume,
        beside=memory,
    )
    return memory, observed


def test_what_is_trained_beside_goes_on_as_the_network_does(tmp_path):
    def interrupted(progress):
        for position, each in enumerate(batches(progress), progress.step):
            if (progress.epoch, position) == (1, 1):
                os.kill(os.getpid(), signal.SIGTERM)
            yield each

    undisturbed, observed = remembered(tmp_path / "whole")
    assert observed == [(1, 4), (2, 4), (3, 4)]
    assert not torch.equal(undisturbed.scale, torch.ones(3))
    _, before = remembered(tmp_path / "run", given=interrupted)
    kept = read_tensors(state_files(tmp_path / "run")[0])
    assert kept["beside.seen"] == 2
    resumed, after = remembered(tmp_path / "run", resume=True)
    assert before + after == observed
    assert torch.equal(resumed.scale, undisturbed.scale)


def test_averaged_weights_are_judged_and_kept(tmp_path):
    """0.6 of the average and 0.4 of the weights, after every step; the first is taken whole."""
    after, judged = [], []

    def objective(model, each):
        after.append(weights(model))
        return cross_entropy()(model, each)

    def validate(judge, _progress, _stopped):
        judged.append(weights(judge))
        return scores(5)

    model, outcome = run(tmp_path, objective=objective, validate=validate, ema=0.6)
    # statistics change while a step computes its loss, parameters after it
    steps = [*after[1:], weights(model)]
    for name, _ in model.named_parameters():
        average = steps[0][name]
        for step, values in enumerate(steps[1:], 2):
            average = 0.6 * average + 0.4 * values[name]
            if step % 4 == 0:
                torch.testing.assert_close(judged[step // 4 - 1][name], average)
        torch.testing.assert_close(outcome.weights[name], average)
        torch.testing.assert_close(outcome.last[name], average)
    assert not torch.allclose(outcome.weights["3.weight"], weights(model)["3.weight"])
    mean = steps[0]["1.running_mean"]
    for values in steps[1:]:
        mean = 0.6 * mean + 0.4 * values["1.running_mean"]
    torch.testing.assert_close(outcome.weights["1.running_mean"], mean)


@pytest.mark.parametrize("select", ["last", "best"])
def test_averaged_weights_are_resumed_exactly(tmp_path, select):
    def interrupted(progress):
        for position, each in enumerate(batches(progress), progress.step):
            if (progress.epoch, position) == (1, 2):
                os.kill(os.getpid(), signal.SIGINT)
            yield each

    def validate(_network, progress, _stopped):
        return scores([4, 8, 6][progress.epoch])

    options = {"ema": 0.6, "select": select, "validate": validate}
    _, whole = run(tmp_path / "whole", **options)
    run(tmp_path / "run", given=interrupted, **options)
    resumed, outcome = run(tmp_path / "run", resume=True, **options)
    assert equal(outcome.weights, whole.weights)
    assert equal(outcome.last, whole.last)
    assert equal(outcome.weights, outcome.last) == (select == "last")
    assert not equal(outcome.last, weights(resumed))


def test_a_record_that_cannot_be_written_is_told_once_and_ends_nothing(tmp_path, capsys):
    def observe(_epoch):
        raise EnvironmentFault("ENV-001", "no permission to write")

    _, outcome = run(tmp_path, observe=observe)
    assert outcome.progress.epoch == 3
    told = capsys.readouterr().err
    assert told.count("what was observed is lost: no permission to write") == 1


def test_a_refused_step_leaves_what_is_beside_as_it_was(tmp_path):
    model, memory = network(), Memory()

    def objective(own, each):
        logits = own(*each["inputs"]) * memory.scale
        memory.seen += 1
        loss = nn.functional.cross_entropy(logits, each["label"])
        spoiled = each["id"][0] in ("2-0", "11-0")
        return Losses(loss * float("nan") if spoiled else loss, {"ce": loss}, logits)

    optimizer = torch.optim.SGD([*model.parameters(), memory.scale], lr=0.1)
    optimizer.param_groups[0]["lr_factor"] = 1.0
    fit(
        model,
        objective,
        optimizer,
        batches=batches,
        validate=None,
        observe=lambda _: None,
        plan=plan(tmp_path),
        resume=False,
        beside=memory,
    )
    assert int(memory.seen) == 10
    report = json.loads((tmp_path / "nan_report.json").read_text())["refused"]
    assert [each["first_parameter"] for each in report] == ["beside.scale"] * 2
