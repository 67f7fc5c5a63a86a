import dataclasses
import errno
import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from poselens.checkpoint import read_tensors, read_tensors_and_facts
from poselens.cli import _run
from poselens.data.folder import open_folder
from poselens.errors import (
    AnnotationError,
    CheckpointError,
    EnvironmentFault,
    InputError,
    NumericFault,
    UsageError,
)
from poselens.fusion.scores import read_scores
from poselens.recognition.streams import load_run
from poselens.training import run as run_module
from poselens.training import sums, wiring
from poselens.training.journal import read_rows
from poselens.training.run import train
from poselens.training.states import state_files
from poselens.training.wiring import describe

BRANCHES = ["rgb", "skeleton"]


@pytest.fixture
def go(tiny_request, tiny_section):
    """Train on the tiny data set; ``training`` settings and request fields by keyword."""

    def go(branch, out, *, resume=False, root=None, protocol="p", device="cpu", **training):
        facts = {"out": out, "resume": resume, "protocol": protocol, "device": device}
        request = tiny_request(**facts, **({"root": root} if root else {}))
        return train(open_folder(request.root), tiny_section(branch, **training), request)

    return go


def signal_at(monkeypatch, step, number):
    """Send a signal while the given step of the run, counted from 1, computes its loss."""
    real, done = wiring.cross_entropy, []

    def objective(**options):
        inner = real(**options)

        def counted(network, batch):
            done.append(batch["id"])
            if len(done) == step:
                os.kill(os.getpid(), number)
            return inner(network, batch)

        return counted

    monkeypatch.setattr(wiring, "cross_entropy", objective)
    return done


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_run_leaves_what_the_others_need(go, tmp_path, branch):
    out = tmp_path / "run"
    finished = go(branch, out)
    assert finished.exit_code == 0
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        "RUN.md",
        "config.yaml",
        "log.csv",
        "log.jsonl",
        "run.json",
        "scores_val.npz",
        "skipped.jsonl",
        "states",
        "weights.safetensors",
    }
    facts = json.loads((out / "run.json").read_text())
    assert facts == finished.facts
    assert facts["data"]["train"] == 8
    assert facts["data"]["val"] == 4
    assert facts["data"]["skipped"] == 0
    assert facts["selection"] == "last of 2 epochs, trained on train"
    assert facts["torch"] == torch.__version__
    assert (out / "skipped.jsonl").read_text() == ""
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert (config["branch"], config["protocol"]) == (branch, "p")
    scores = read_scores(out / "scores_val.npz")
    assert list(scores.ids) == ["c08", "c09", "c10", "c11"]
    loaded = load_run(out, device=torch.device("cpu"))
    assert loaded.stream.name == ("rgb" if branch == "rgb" else "joint")
    rows = read_rows(out / "log.jsonl")
    last = next(row for row in rows if (row["epoch"], row["split"]) == (2, "val"))
    assert last["top1"] == pytest.approx((scores.logits.argmax(1) == scores.labels).mean())


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(go, tmp_path, branch):
    for name, workers, seed in (("one", 0, 0), ("same", 2, 0), ("other", 0, 1)):
        go(branch, tmp_path / name, workers=workers, seed=seed, epochs=1)
    one, same, other = (
        (tmp_path / name / "weights.safetensors").read_bytes() for name in ("one", "same", "other")
    )
    assert one == same
    assert one != other


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("select", ["last", "best"])
def test_a_run_stopped_in_mid_epoch_ends_as_the_undisturbed_one(
    go, tmp_path, monkeypatch, branch, select
):
    """Dropout, augmentation, order, momenta, statistics and the best epoch all go on."""
    go(branch, tmp_path / "whole", select=select)
    for number, step, code in ((signal.SIGINT, 2, 130), (signal.SIGTERM, 5, 143)):
        out = tmp_path / f"stopped-{step}"
        with monkeypatch.context() as patched:
            signal_at(patched, step, number)
            finished = go(branch, out, select=select)
        assert (finished.exit_code, finished.facts) == (code, {})
        assert not (out / "weights.safetensors").exists()
        position = read_tensors_and_facts(state_files(out)[0])[1]["progress"]
        assert (position["epoch"], position["step"]) == divmod(step, 3)
        # the number of workers is free to change
        finished = go(branch, out, select=select, resume=True, workers=1)
        assert finished.exit_code == 0
        for name in ("weights.safetensors", "scores_val.npz"):
            assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("branch", "number", "workers"),
    [("rgb", signal.SIGTERM, 2), ("skeleton", signal.SIGINT, 0)],
)
def test_the_command_stops_on_a_signal_and_resumes_bitwise(
    go, command, tiny_folder, tiny_recipe, tmp_path, branch, number, workers
):
    """A process of its own, signalled with all its workers as a scheduler or Ctrl-C would."""
    settings = {"epochs": 3, "repeats": 2}
    out = tmp_path / "run"
    running = command(
        *("train", branch, tiny_folder, "--recipe", tiny_recipe, "--protocol", "p", "--out", out),
        *("--device", "cpu", "--set", f"training.workers={workers}"),
        *(part for key, value in settings.items() for part in ("--set", f"training.{key}={value}")),
    )
    until = time.monotonic() + 60
    while not read_rows(out / "log.jsonl"):
        assert running.process.poll() is None, running.end()
        assert time.monotonic() < until
        time.sleep(0.01)
    os.killpg(running.process.pid, number)
    code, told = running.end()
    assert code == 128 + number, told
    assert "stopped and saved; go on with --resume" in told
    assert "Traceback" not in told
    position = read_tensors_and_facts(state_files(out)[0])[1]["progress"]
    assert position["epoch"] < 3
    go(branch, tmp_path / "whole", **settings)
    go(branch, out, resume=True, **settings)
    assert (out / "weights.safetensors").read_bytes() == (
        tmp_path / "whole" / "weights.safetensors"
    ).read_bytes()


def test_best_keeps_both_epochs_weights_and_says_so(go, tmp_path, monkeypatch):
    out = tmp_path / "run"
    given = iter([0.75, 0.25, 0.5])
    real = sums.evaluate

    def evaluate(scores, **options):
        return dataclasses.replace(real(scores, **options), top1=next(given))

    monkeypatch.setattr(sums, "evaluate", evaluate)
    finished = go("skeleton", out, select="best", epochs=3)
    assert finished.facts["selection"] == "best of 3 epochs on 4 validation clips"
    best, last = (read_tensors(out / f"{name}.safetensors") for name in ("weights", "last"))
    state = read_tensors(state_files(out)[0])
    assert all(torch.equal(value, state[f"best.{name}"]) for name, value in best.items())
    assert all(torch.equal(value, state[f"network.{name}"]) for name, value in last.items())
    assert not torch.equal(best["classify.weight"], last["classify.weight"])
    assert int(best["data_norm.num_batches_tracked"]) == 3


def test_last_writes_one_file_of_weights(go, tmp_path):
    go("skeleton", tmp_path / "run", epochs=3)
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_without_validation_all_clips_train(go, tmp_path):
    out = tmp_path / "run"
    finished = go("skeleton", out, validation="none", select="best", epochs=1)
    assert finished.facts["data"]["train"] == 12
    assert finished.facts["data"]["val"] == 0
    assert finished.facts["selection"] == "last of 1 epochs, trained on train and validation"
    assert not (out / "scores_val.npz").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_clips_are_counted_and_listed(go, spoiled, tmp_path, workers):
    """c03 and c07 train, c09 validates; with one clip a batch, some batches have no clip at all."""
    root = spoiled("c03", "c07", "c09")
    out = tmp_path / "run"
    finished = go("rgb", out, root=root, max_bad=0.5, batch_size=1, epochs=1, workers=workers)
    assert finished.facts["data"]["skipped"] == 3
    listed = [json.loads(line) for line in (out / "skipped.jsonl").read_text().splitlines()]
    assert [entry["id"] for entry in listed] == ["c03", "c07", "c09"]
    assert all(entry["reason"].startswith("VID-003") for entry in listed)
    rows = read_rows(out / "log.jsonl")
    assert [(row["split"], row["clips"]) for row in rows] == [("train", 6), ("val", 3)]


def test_batches_without_a_readable_clip_do_not_shift_a_resumed_run(
    go, spoiled, tmp_path, monkeypatch
):
    root = spoiled("c00", "c01", "c02", "c03")
    options = {"root": root, "max_bad": 0.5, "batch_size": 1}
    go("rgb", tmp_path / "whole", **options)
    with monkeypatch.context() as patched:
        signal_at(patched, 3, signal.SIGINT)
        assert go("rgb", tmp_path / "run", **options).exit_code == 130
    go("rgb", tmp_path / "run", resume=True, **options)
    names = ("weights.safetensors", "skipped.jsonl")
    for name in names:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(("cache", "seen"), [("none", 2), ("disk", 5), ("packed", 5)])
def test_too_many_unreadable_clips_stop_the_run_at_once(
    go, spoiled, tmp_path, monkeypatch, cache, seen
):
    root = spoiled("c00", "c01", "c02", "c03", "c04")
    done = signal_at(monkeypatch, 0, signal.SIGINT)
    told = rf"{seen} of 12 clips cannot be read so far \(c0\d: VID-003.*raise training.max_bad"
    with pytest.raises(InputError, match=told) as caught:
        go("rgb", tmp_path / "run", root=root, max_bad=0.1, batch_size=1, epochs=50, cache=cache)
    assert caught.value.code == "DATA-024"
    assert len(done) < 8
    assert len((tmp_path / "run" / "skipped.jsonl").read_text().splitlines()) == seen
    assert not (tmp_path / "run" / "weights.safetensors").exists()


def test_unreadable_clips_of_the_validation_slice_count_too(go, spoiled, tmp_path):
    root = spoiled("c08", "c09", "c10", "c11")
    with pytest.raises(InputError, match="of 12 clips cannot be read") as caught:
        go("rgb", tmp_path / "run", root=root, max_bad=0.2, epochs=1)
    assert caught.value.code == "DATA-024"


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_used_output_is_refused_and_left_alone(go, tmp_path):
    go("skeleton", tmp_path / "run", epochs=1)
    before = contents(tmp_path / "run")
    with pytest.raises(UsageError, match="output exists already") as caught:
        go("skeleton", tmp_path / "run", epochs=1)
    assert caught.value.code == "RUN-001"
    assert contents(tmp_path / "run") == before


def test_a_finished_run_goes_on_for_more_epochs(go, tmp_path, capsys):
    options = {"schedule": "step", "milestones": (1,), "warmup_epochs": 0}
    go("skeleton", tmp_path / "whole", epochs=3, **options)
    go("skeleton", tmp_path / "run", epochs=1, **options)
    capsys.readouterr()
    assert go("skeleton", tmp_path / "run", epochs=3, resume=True, **options).facts["epochs"] == 3
    assert "goes on with training.epochs 1 -> 3" in capsys.readouterr().err
    for name in ("weights.safetensors", "scores_val.npz", "config.yaml"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("name", ["newest", "both"])
def test_a_damaged_state_falls_back_to_the_one_before(go, tmp_path, monkeypatch, capsys, name):
    """Steps 4 and 5 are saved; what is lost is done again, to the same bits."""
    out = tmp_path / "run"
    go("skeleton", tmp_path / "whole")
    with monkeypatch.context() as patched:
        signal_at(patched, 5, signal.SIGTERM)
        go("skeleton", out, save_every=1, keep_states=3)
    newest, *others = state_files(out)
    assert [path.stem for path in (newest, *others)] == [
        "000001-00000002",
        "000001-00000001",
        "000001-00000000",
    ]
    content = bytearray(newest.read_bytes())
    content[-9] ^= 4
    newest.write_bytes(content)
    if name == "both":
        others[0].write_bytes(others[0].read_bytes()[:1000])
    capsys.readouterr()
    go("skeleton", out, resume=True)
    told = capsys.readouterr().err
    assert f"{newest.name} is set aside: damaged: the checksum differs" in told
    good, lost = (others[1], 2) if name == "both" else (others[0], 1)
    assert f"going on from {good.name}: {lost} steps are lost" in told
    assert newest.with_name(f"{newest.name}.broken").exists()
    assert (out / "weights.safetensors").read_bytes() == (
        tmp_path / "whole" / "weights.safetensors"
    ).read_bytes()


def test_a_finished_run_is_not_done_again(go, tmp_path):
    first = go("skeleton", tmp_path / "run", epochs=1)
    before = (tmp_path / "run" / "weights.safetensors").stat().st_mtime_ns
    again = go("skeleton", tmp_path / "run", epochs=1, resume=True, workers=1)
    assert (again.exit_code, again.facts) == (0, first.facts)
    assert (tmp_path / "run" / "weights.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_of_another_recipe_is_refused_and_left_alone(go, tmp_path, monkeypatch, finished):
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        if not finished:
            signal_at(patched, 2, signal.SIGINT)
        go("skeleton", out)
    config = (out / "config.yaml").read_bytes()
    with pytest.raises(CheckpointError, match=r"other settings.*\(training.lr 0.05 -> 0.5\)") as e:
        go("skeleton", out, resume=True, lr=0.5)
    assert e.value.code == "CKPT-011"
    assert (out / "config.yaml").read_bytes() == config
    assert go("skeleton", out, resume=True).exit_code == 0


def test_a_run_on_other_data_is_refused(go, tmp_path, tiny_folder, monkeypatch):
    out = tmp_path / "run"
    root = Path(shutil.copytree(tiny_folder, tmp_path / "data"))
    with monkeypatch.context() as patched:
        signal_at(patched, 2, signal.SIGINT)
        go("skeleton", out, root=root)
    table = root / "clips.csv"
    table.write_text(table.read_text().replace("clap", "point", 1))
    with pytest.raises(CheckpointError, match=r"the data or its protocol differ.*undo the change"):
        go("skeleton", out, root=root, resume=True)


def test_a_damaged_state_is_refused(go, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        signal_at(patched, 2, signal.SIGINT)
        go("skeleton", out)
    for state in state_files(out):
        state.write_bytes(state.read_bytes()[:-7])
    told = r"states: none of the 2 states .*000000-00000002.safetensors: damaged, cut short.*000000"
    with pytest.raises(CheckpointError, match=told) as caught:
        go("skeleton", out, resume=True)
    assert caught.value.code == "CKPT-020"


def test_resuming_an_empty_folder_begins(go, tmp_path):
    (tmp_path / "run").mkdir()
    assert go("skeleton", tmp_path / "run", epochs=1, resume=True).exit_code == 0


@pytest.mark.parametrize(
    ("options", "kind", "code"),
    [
        ({"protocol": "q"}, UsageError, "CFG-004"),
        ({"device": "tpu"}, UsageError, "CFG-007"),
        ({"device": "cuda"}, EnvironmentFault, "ENV-010"),
    ],
)
def test_what_is_refused_at_the_door_may_be_tried_again(
    go, tmp_path, monkeypatch, options, kind, code
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(kind, match=r"found device|no usable GPU|unknown protocol") as caught:
        go("skeleton", tmp_path / "run", epochs=1, **options)
    assert caught.value.code == code
    assert go("skeleton", tmp_path / "run", epochs=1).exit_code == 0


def test_a_data_set_without_the_joints_is_refused(
    tiny_request, tiny_section, tmp_path, tiny_folder
):
    root = Path(shutil.copytree(tiny_folder, tmp_path / "data"))
    info = yaml.safe_load((root / "dataset.yaml").read_text())
    del info["skeletons"]["metres"]
    (root / "dataset.yaml").write_text(yaml.safe_dump(info))
    told = "no skeletons in metres.*--set input.space=pixels"
    with pytest.raises(AnnotationError, match=told) as caught:
        train(open_folder(root), tiny_section("skeleton"), tiny_request(root=root))
    assert caught.value.code == "DATA-023"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_wrong_stream_is_a_usage_error_whatever_the_workers(tiny_request, tiny_section, workers):
    section = tiny_section("skeleton", workers=workers)
    section = section.model_copy(
        update={"input": section.input.model_copy(update={"stream": "bnoe"})}
    )
    request = tiny_request()
    with pytest.raises(UsageError, match="unknown stream 'bnoe'; did you mean 'bone'"):
        train(open_folder(request.root), section, request)


def test_a_loss_that_is_not_finite_leaves_the_last_good_state(go, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(NumericFault, match=r"NUM-001|the loss is|not finite"):
        go("skeleton", out, lr=1e30, epochs=4, warmup_epochs=0)
    assert not (out / "weights.safetensors").exists()
    for path in state_files(out):
        kept = read_tensors(path)
        assert all(np.isfinite(value.numpy()).all() for value in kept.values())


def test_regions_cached_on_disk_train_to_the_same_weights(go, tiny_folder, tmp_path):
    root = Path(shutil.copytree(tiny_folder, tmp_path / "data"))
    go("rgb", tmp_path / "plain", root=root, epochs=1)
    go("rgb", tmp_path / "cached", root=root, epochs=1, cache="disk")
    assert (tmp_path / "plain" / "weights.safetensors").read_bytes() == (
        tmp_path / "cached" / "weights.safetensors"
    ).read_bytes()


def test_pretrained_weights_are_taken_and_told(tiny_request, tiny_section, tmp_path):
    section = tiny_section("rgb", epochs=1)
    given = run_module.build_network(describe(open_folder(tiny_request().root), section))
    tensors = {
        name.removeprefix("backbone."): value
        for name, value in given.state_dict().items()
        if ".staa." not in name
    }
    torch.save(tensors, tmp_path / "w.pth")
    section = section.model_copy(update={"weights": str(tmp_path / "w.pth")})
    request = tiny_request()
    finished = train(open_folder(request.root), section, request)
    assert finished.facts["initial_weights"]["taken"] == len(tensors)


@pytest.mark.parametrize(
    ("branch", "told"),
    [
        ("rgb", r"full with 3 clips of 2 frames of 32x32 a step.*micro_batch=auto.*batch_size=1"),
        ("skeleton", r"full with 3 clips of 8 frames of 1 people a step.*batch_size=1"),
    ],
)
def test_running_out_of_memory_is_named(go, tmp_path, monkeypatch, branch, told):
    def full(*_args, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(run_module, "fit", full)
    with pytest.raises(EnvironmentFault, match=told) as e:
        go(branch, tmp_path / "run")
    assert e.value.code == "ENV-012"
    with pytest.raises(EnvironmentFault, match=r"use --set training.batch_size=1"):
        go(branch, tmp_path / "auto", micro_batch="auto")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_before_the_first_step_ends_the_command_and_loses_nothing(
    tiny_folder, tiny_recipe, tmp_path, monkeypatch, capsys, number, code
):
    words = ["train", "skeleton", tiny_folder, "--recipe", tiny_recipe, "--protocol", "p"]
    words += ["--out", tmp_path / "run", "--device", "cpu"]
    real = run_module.Samples

    def samples(*arguments):
        os.kill(os.getpid(), number)
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "Samples", samples)
        assert _run([str(word) for word in words]) == code
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "terminated\n" if code == 143 else "interrupted\n")
    assert not state_files(tmp_path / "run")
    assert not list((tmp_path / "run").glob(".poselens-*"))
    assert _run([*(str(word) for word in words), "--resume"]) == 0


def test_the_command_saves_at_sigusr1_and_goes_on(command, tiny_folder, tiny_recipe, tmp_path):
    """Signalled with its data processes, as a scheduler does."""
    out = tmp_path / "run"
    running = command(
        *("train", "rgb", tiny_folder, "--recipe", tiny_recipe, "--protocol", "p", "--out", out),
        *("--device", "cpu", "--set", "training.workers=1", "--set", "training.epochs=3"),
    )
    until = time.monotonic() + 60
    while not read_rows(out / "log.jsonl"):
        assert running.process.poll() is None, running.end()
        assert time.monotonic() < until
        time.sleep(0.01)
    os.killpg(running.process.pid, signal.SIGUSR1)
    code, told = running.end()
    assert code == 0, told
    assert "training goes on; the same command with --resume goes on from here" in told
    assert json.loads((out / "run.json").read_text())["epochs"] == 3


def test_clips_that_can_be_read_again_are_no_silent_change_of_the_order(
    go, spoiled, tmp_path, tiny_folder, monkeypatch
):
    root, out = spoiled("c03"), tmp_path / "run"
    options = {"root": root, "cache": "disk", "max_bad": 0.5}
    with monkeypatch.context() as patched:
        signal_at(patched, 2, signal.SIGTERM)
        assert go("rgb", out, **options).exit_code == 143
    broken = (root / "videos" / "c03.mp4").read_bytes()
    shutil.copyfile(tiny_folder / "videos" / "c03.mp4", root / "videos" / "c03.mp4")
    with pytest.raises(CheckpointError, match="1 clips can be read now and could not .*c03") as e:
        go("rgb", out, resume=True, **options)
    assert e.value.code == "CKPT-022"
    (root / "videos" / "c03.mp4").write_bytes(broken)
    assert go("rgb", out, resume=True, **options).exit_code == 0


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_disk_that_fills_up_ends_the_run_and_leaves_what_was_saved(
    go, tmp_path, monkeypatch, branch
):
    go(branch, tmp_path / "whole")
    out, real, states = tmp_path / "run", os.replace, []

    def full(source, target):
        if Path(target).parent.name == "states":
            states.append(target)
            if len(states) == 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(EnvironmentFault, match=r"states.*the disk is full.*intact") as caught:
            go(branch, out, save_every=1)
    assert (caught.value.code, caught.value.exit_code) == ("ENV-002", 5)
    assert [path.stem[-1] for path in state_files(out)] == ["2", "1"]
    assert not list(out.rglob(".poselens-*"))
    go(branch, out, resume=True)
    assert (out / "weights.safetensors").read_bytes() == (
        tmp_path / "whole" / "weights.safetensors"
    ).read_bytes()


def test_a_run_whose_log_is_gone_trains_on(go, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"

    class Vanishing(run_module.Samples):
        def train_batches(self, progress, device):
            for name in ("log.jsonl", "log.csv"):
                (out / name).unlink()
                (out / name).mkdir()
            return super().train_batches(progress, device)

    monkeypatch.setattr(run_module, "Samples", Vanishing)
    finished = go("skeleton", out, epochs=1)
    assert (finished.exit_code, finished.facts["complete"]) == (0, True)
    assert capsys.readouterr().err.count("rows of the log are lost") == 1
