"""Every option of training, from settings to a finished run."""

import json
import multiprocessing
import os
import shutil
import signal

import numpy as np
import pytest
import torch

from poselens.checkpoint import read_tensors, read_tensors_and_facts, write_tensors
from poselens.data.folder import open_folder
from poselens.errors import UsageError
from poselens.training import wiring
from poselens.training.config import (
    HOW_NOT_WHAT,
    ContrastSettings,
    SkeletonSection,
    Training,
    identity,
    parse,
)
from poselens.training.journal import read_rows
from poselens.training.run import train
from poselens.training.states import state_files


@pytest.fixture
def go(tiny_request, tiny_section):
    """Train on the tiny data set; ``training`` settings by keyword."""

    def go(branch, out, *, resume=False, root=None, contrast=False, **training):
        section = tiny_section(branch, **training)
        if contrast:
            settings = ContrastSettings(positives=2, negatives=4, dimensions=8)
            section = section.model_copy(update={"contrast": settings})
        request = tiny_request(out=out, resume=resume, **({"root": root} if root else {}))
        return train(open_folder(request.root), section, request)

    return go


def interrupted(monkeypatch, step):
    real, done = wiring.cross_entropy, []

    def objective(**options):
        inner = real(**options)

        def counted(network, batch):
            done.append(batch["id"])
            if len(done) == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return inner(network, batch)

        return counted

    monkeypatch.setattr(wiring, "cross_entropy", objective)


def weights(out):
    return (out / "weights.safetensors").read_bytes()


OPTIONS = [
    {"accumulate": 2},
    {"amp": "fp16"},
    {"micro_batch": "auto"},
    {"sampling": "balanced"},
    {"class_weights": "effective"},
    {"class_weights": "inverse"},
    {"logit_adjustment": 1.0},
    {"freeze": "stages:1"},
    {"freeze": "linear-probe"},
    {"scale_lr_from": 6},
    {"patience": 1},
]


@pytest.fixture
def uneven(tiny_folder, tmp_path):
    """The tiny data set with one class of one clip and another of three."""
    root = shutil.copytree(tiny_folder, tmp_path / "uneven")
    table = (tiny_folder / "clips.csv").read_text().replace("clap", "point", 1)
    (root / "clips.csv").write_text(table)
    return root


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_each_option_trains_and_resumes_bitwise(go, uneven, tmp_path, monkeypatch, options):
    """Stopped in the second step of the first epoch."""
    branch = "rgb" if "freeze" in options or "sampling" in options else "skeleton"
    options = {**options, "root": uneven}
    go(branch, tmp_path / "whole", **options)
    with monkeypatch.context() as patched:
        # a step in two parts asks for its loss twice
        interrupted(patched, 3 if "accumulate" in options else 2)
        assert go(branch, tmp_path / "run", **options).exit_code == 143
    assert go(branch, tmp_path / "run", resume=True, **options).exit_code == 0
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    go(branch, tmp_path / "plain", root=uneven)
    same = weights(tmp_path / "plain") == weights(tmp_path / "whole")
    assert same == ("micro_batch" in options or "patience" in options)


def test_balanced_epochs_train_both_branches_and_the_bank(go, tmp_path, tiny_folder):
    for name, contrast in (("plain", False), ("contrast", True)):
        finished = go("skeleton", tmp_path / name, sampling="balanced", contrast=contrast)
        assert finished.exit_code == 0
        rows = read_rows(tmp_path / name / "log.jsonl")
        assert [row["clips"] for row in rows if row["split"] == "train"] == [8, 8]


def test_a_bank_counts_batches_and_not_parts(go, tmp_path):
    states = []
    for name, parts in (("whole", 1), ("parts", 3)):
        go("skeleton", tmp_path / name, contrast=True, accumulate=parts, batch_size=4)
        states.append(read_tensors(state_files(tmp_path / name)[0]))
    whole, parts = states
    assert int(parts["beside.step"]) == int(whole["beside.step"]) == 4
    assert torch.equal(parts["beside.bank.clips"], whole["beside.bank.clips"])
    assert not torch.equal(parts["beside.bank.features"], whole["beside.bank.features"])


def test_the_run_says_what_was_trained_and_at_which_rate(go, tmp_path, capsys):
    finished = go("rgb", tmp_path / "run", freeze="linear-probe", scale_lr_from=6, epochs=1)
    facts = finished.facts
    assert facts["lr"] == pytest.approx(0.01)
    classifier = read_tensors(tmp_path / "run" / "weights.safetensors")
    assert facts["trained_params"] == sum(
        value.numel() for name, value in classifier.items() if name.startswith("fc.")
    )
    told = capsys.readouterr().err
    assert f"{facts['trained_params']:,} of {facts['params']:,} parameters are trained" in told
    assert "learning rate 0.01: 0.02 at 6 clips a step, of which there are 3" in told
    assert read_rows(tmp_path / "run" / "log.jsonl")[0]["lr"] == pytest.approx(0.01)


def test_a_run_that_ends_early_says_so(go, tmp_path, monkeypatch):
    finished = go("skeleton", tmp_path / "run", patience=1, epochs=40, lr=1e-9)
    assert finished.facts["stopped_early"] is True
    assert 2 <= finished.facts["epochs"] < 40
    before = (tmp_path / "run" / "run.json").read_bytes()
    again = go("skeleton", tmp_path / "run", resume=True, patience=1, epochs=40, lr=1e-9)
    assert again.facts == json.loads(before)
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    assert go("skeleton", tmp_path / "other", epochs=2).facts["stopped_early"] is False


def test_the_folder_explains_itself(go, tmp_path):
    finished = go("skeleton", tmp_path / "run")
    made = json.loads((tmp_path / "run" / "run.json").read_text())["environment"]
    assert made == finished.facts["environment"]
    assert made["started"] <= made["ended"]
    assert 0 <= made["data_wait"] <= 1
    text = (tmp_path / "run" / "RUN.md").read_text()
    assert finished.facts["data"]["fingerprint"] in text
    assert "Not finished" not in text


def test_tensorboard_gets_the_rows_of_the_log(go, tmp_path):
    pytest.importorskip("tensorboard", reason="pip install 'poselens[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    go("skeleton", tmp_path / "run", tensorboard=True)
    read = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    rows = [row for row in read_rows(tmp_path / "run" / "log.jsonl") if row["split"] == "val"]
    found = [(event.step, event.value) for event in read.Scalars("val/top1")]
    assert found == [(row["epoch"], pytest.approx(row["top1"])) for row in rows]
    go("skeleton", tmp_path / "plain")
    assert weights(tmp_path / "run") == weights(tmp_path / "plain")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"accumulate": 65}, "a micro-batch needs a clip"),
        ({"accumulate": 2, "replay": "on"}, "replay=on records one batch in one pass"),
        ({"amp": "fp16", "replay": True}, "replay=on records one batch in one pass"),
        ({"patience": 3, "validation": "none"}, "patience needs validation=hold-out"),
        ({"sampling": "balanced", "class_weights": "inverse"}, "choose one"),
        ({"class_weights": "effective", "logit_adjustment": 1}, "choose one"),
        ({"freeze": "stages:0"}, "freeze: String should match pattern"),
        ({"freeze": "half"}, "freeze: String should match pattern"),
        ({"class_beta": 1.0}, "class_beta: Input should be less than 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, told):
    with pytest.raises(UsageError, match=told) as caught:
        parse(Training, settings, file=None)
    assert caught.value.code == "CFG-002"


def test_contrast_needs_something_to_train():
    content = {"contrast": {}, "training": {"freeze": "backbone"}}
    with pytest.raises(UsageError, match="freeze=backbone leaves nothing for contrast to train"):
        parse(SkeletonSection, content, file=None)
    assert parse(SkeletonSection, {"contrast": {}, "training": {"freeze": "stages:1"}}, file=None)


BEFORE = (
    *("epochs", "repeats", "batch_size", "lr", "momentum", "nesterov", "weight_decay"),
    *("decay_all", "head_lr_factor", "schedule", "milestones", "gamma", "warmup_epochs"),
    *("clip_norm", "label_smoothing", "amp", "ema", "validation", "select", "seed", "cache"),
)
"""What a run had to share with the one it resumed before there were any of these options."""


def test_a_run_made_before_these_options_is_the_same_run():
    kept = identity(Training().model_dump(mode="json"))
    assert set(kept) == set(BEFORE)


def test_every_option_that_is_used_makes_another_run(tiny_section):
    def kept(**training):
        return str(identity(tiny_section("rgb", **training).training.model_dump()))

    plain = kept()
    assert len({plain, *(kept(**options) for options in OPTIONS)}) == len(OPTIONS) + 1
    assert kept(tensorboard=True) == plain
    assert set(HOW_NOT_WHAT) <= set(Training.model_fields)


def test_a_run_made_before_is_resumed_and_named_by_what_differs(go, tmp_path, monkeypatch):
    """A state whose settings know nothing of the options, as an earlier version left it."""
    with monkeypatch.context() as patched:
        interrupted(patched, 2)
        go("skeleton", tmp_path / "run")
    for path in state_files(tmp_path / "run"):
        tensors, facts = read_tensors_and_facts(path)
        settings = facts["settings"]
        settings["training"] = {
            name: value for name, value in settings["training"].items() if name in BEFORE
        }
        write_tensors(path, tensors, facts=facts)
    with pytest.raises(Exception, match=r"\(training.accumulate 1 -> 2\)"):
        go("skeleton", tmp_path / "run", resume=True, accumulate=2)
    with pytest.raises(Exception, match=r"\(training.lr 0.05 -> 0.5\)"):
        go("skeleton", tmp_path / "run", resume=True, lr=0.5)
    assert go("skeleton", tmp_path / "run", resume=True).exit_code == 0


def test_memory_that_ends_in_a_run_is_no_end(go, tmp_path, monkeypatch, capsys):
    """The bank, too, is as in a run that began with the smaller parts."""
    real = wiring.contrastive

    def objective(*arguments, **options):
        inner = real(*arguments, **options)

        def short(network, batch):
            losses = inner(network, batch)
            if len(batch["label"]) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return losses

        return short

    with monkeypatch.context() as patched:
        patched.setattr(wiring, "contrastive", objective)
        go("skeleton", tmp_path / "run", contrast=True, micro_batch="auto", batch_size=4)
    assert "memory does not hold 4 clips at once" in capsys.readouterr().err
    go("skeleton", tmp_path / "two", contrast=True, accumulate=2, batch_size=4)
    one, two = (read_tensors(state_files(tmp_path / name)[0]) for name in ("run", "two"))
    assert all(torch.equal(one[name], value) for name, value in two.items())
    assert np.isfinite(read_rows(tmp_path / "run" / "log.jsonl")[0]["loss"])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_leaves_no_data_process(go, tmp_path, monkeypatch, workers):
    """Also while its traceback is looked at."""

    def objective(**_options):
        def fails(*_arguments):
            assert len(multiprocessing.active_children()) == workers
            raise RuntimeError("in a step")

        return fails

    monkeypatch.setattr(wiring, "cross_entropy", objective)
    with pytest.raises(RuntimeError, match="in a step"):
        go("rgb", tmp_path / "run", workers=workers)
    assert multiprocessing.active_children() == []
