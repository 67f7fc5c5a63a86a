"""A whole run with what joins cross entropy: contrast, averaged weights, weights to start from."""

import os
import signal

import numpy as np
import pytest
import torch
from ctr_gcn_file import published_checkpoint

from poselens.checkpoint import read_tensors, read_tensors_and_facts
from poselens.contrast.record import read_contrasted
from poselens.data.folder import open_folder
from poselens.errors import CheckpointError
from poselens.recognition.streams import load_run
from poselens.training import run as run_module
from poselens.training.config import ContrastSettings
from poselens.training.journal import read_rows
from poselens.training.run import train
from poselens.training.states import state_files

CONTRAST = {"positives": 2, "negatives": 4, "cap": 2, "dimensions": 8, "temperature": 0.2}


@pytest.fixture
def go(tiny_request, tiny_section):
    """Train the tiny skeleton section, with contrast where its settings are given."""

    def go(out, *, resume=False, contrast=None, weights=None, network=None, **training):
        section = tiny_section("skeleton", **training)
        update = {"weights": weights}
        if contrast is not None:
            update["contrast"] = ContrastSettings(**{**CONTRAST, **contrast})
        if network is not None:
            update["network"] = section.network.model_copy(update=network)
        request = tiny_request(out=out, resume=resume)
        return train(open_folder(request.root), section.model_copy(update=update), request)

    return go


def stop_at(monkeypatch, step):
    """Ask the run to stop while the given step, counted from 1, computes its loss."""
    real, done = run_module.objective_of, []

    def objective(*arguments):
        inner = real(*arguments)

        def counted(network, batch):
            done.append(batch["id"])
            if len(done) == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return inner(network, batch)

        return counted

    monkeypatch.setattr(run_module, "objective_of", objective)


@pytest.mark.parametrize("bank", ["per-sample", "fifo"])
def test_contrast_changes_what_is_learned_and_leaves_a_record(go, tmp_path, bank):
    go(tmp_path / "plain")
    finished = go(tmp_path / "run", contrast={"bank": bank, "fifo_length": 3})
    assert finished.exit_code == 0
    plain, own = (
        read_tensors(tmp_path / name / "weights.safetensors") for name in ("plain", "run")
    )
    assert plain.keys() == own.keys()
    assert not any(name.startswith(("projection", "bank", "beside")) for name in own)
    assert not torch.equal(plain["blocks.1.space.refine"], own["blocks.1.space.refine"])
    assert load_run(tmp_path / "run", device=torch.device("cpu")).stream.name == "joint"
    assert not (tmp_path / "plain" / "contrast").exists()
    found = read_contrasted(tmp_path / "run")
    assert list(found) == [1, 2]
    for contrasted in found.values():
        assert set(contrasted.taken) == {"random", "class-aware"}
        for counts in contrasted.taken.values():
            assert counts.shape == (4, 4)
            assert not counts.diagonal().any()
    # 8 anchors an epoch; by the second every class is in the bank
    assert found[2].taken["class-aware"].sum() > 8
    assert (found[2].compared.max(axis=1) > 0).any()


@pytest.mark.parametrize("step", [2, 5])
@pytest.mark.parametrize("bank", ["per-sample", "fifo"])
def test_a_contrast_stopped_in_mid_epoch_ends_as_the_undisturbed_one(
    go, tmp_path, monkeypatch, bank, step
):
    contrast = {"bank": bank, "fifo_length": 3, "samplers": ("hard", "random", "class-aware")}
    go(tmp_path / "whole", contrast=contrast)
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        stop_at(patched, step)
        assert go(out, contrast=contrast).exit_code == 143
    state, facts = read_tensors_and_facts(state_files(out)[0])
    assert (facts["progress"]["epoch"], facts["progress"]["step"]) == divmod(step, 3)
    assert state["beside.step"] == step
    assert (state["beside.bank.clips"] >= 0).any()
    assert state["beside.projection.enter.weight"].shape == (8, 3 * 17 * 17)
    assert state["beside.tally.sums"].any()
    assert go(out, contrast=contrast, resume=True).exit_code == 0
    for name in ("weights.safetensors", "scores_val.npz"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    one, other = (read_tensors(state_files(tmp_path / run)[0]) for run in ("whole", "run"))
    assert one.keys() == other.keys()
    assert all(torch.equal(values, other[key]) for key, values in one.items())
    whole, resumed = (read_contrasted(tmp_path / name) for name in ("whole", "run"))
    assert list(whole) == list(resumed) == [1, 2]
    for epoch, contrasted in whole.items():
        np.testing.assert_array_equal(contrasted.similarity, resumed[epoch].similarity)
        np.testing.assert_array_equal(contrasted.compared, resumed[epoch].compared)
        for name, counts in contrasted.taken.items():
            np.testing.assert_array_equal(counts, resumed[epoch].taken[name])


def test_a_contrast_of_other_settings_is_refused(go, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        stop_at(patched, 2)
        go(tmp_path / "run", contrast={})
    told = r"other settings.*\(contrast.temperature 0.2 -> 0.5\)"
    with pytest.raises(CheckpointError, match=told) as caught:
        go(tmp_path / "run", contrast={"temperature": 0.5}, resume=True)
    assert caught.value.code == "CKPT-011"


def test_averaged_weights_are_what_a_run_keeps(go, tmp_path, monkeypatch):
    for name, ema in (("plain", 0.0), ("whole", 0.7)):
        go(tmp_path / name, ema=ema, contrast={})
    plain, whole = (read_tensors(state_files(tmp_path / name)[0]) for name in ("plain", "whole"))
    kept = read_tensors(tmp_path / "whole" / "weights.safetensors")
    for name, values in kept.items():
        assert torch.equal(values, whole[f"average.module.{name}"]), name
        # the weights that learn do not notice
        assert torch.equal(whole[f"network.{name}"], plain[f"network.{name}"]), name
    assert not torch.equal(kept["classify.weight"], plain["network.classify.weight"])
    with monkeypatch.context() as patched:
        stop_at(patched, 4)
        go(tmp_path / "run", ema=0.7, contrast={})
    go(tmp_path / "run", ema=0.7, contrast={}, resume=True)
    for name in ("weights.safetensors", "scores_val.npz"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_last_and_best_are_both_averages(go, tmp_path, monkeypatch):
    given = iter([0.75, 0.25])
    real = run_module.fit.__globals__["judge"]
    monkeypatch.setitem(
        run_module.fit.__globals__, "judge", lambda *facts: (real(*facts), next(given))[1]
    )
    go(tmp_path / "run", ema=0.7, select="best")
    state = read_tensors(state_files(tmp_path / "run")[0])
    best, last = (
        read_tensors(tmp_path / "run" / f"{name}.safetensors") for name in ("weights", "last")
    )
    for name, values in last.items():
        assert torch.equal(values, state[f"average.module.{name}"])
        assert torch.equal(best[name], state[f"best.{name}"])
    assert not torch.equal(best["classify.weight"], last["classify.weight"])


def barely(go, out, weights, **more):
    """Train so slowly that parameters stay; returns the facts and the weights kept."""
    settings = {"lr": 1e-9, "epochs": 1, "warmup_epochs": 0}
    finished = go(out, weights=str(weights), **settings, **more)
    return finished.facts["initial_weights"], read_tensors(out / "weights.safetensors")


def parameters(tensors):
    return {
        name: values
        for name, values in tensors.items()
        if "running" not in name and "num_batches" not in name
    }


def test_a_run_starts_from_the_weights_of_another(go, tmp_path):
    go(tmp_path / "first", epochs=1)
    file = tmp_path / "first" / "weights.safetensors"
    given = read_tensors(file)
    facts, kept = barely(go, tmp_path / "run", file, seed=5)
    assert facts == {"source": str(file), "taken": len(given), "left_out": []}
    for name, values in parameters(given).items():
        torch.testing.assert_close(kept[name], values, rtol=1e-5, atol=1e-6, msg=name)


def test_a_run_starts_from_a_published_checkpoint(go, tmp_path):
    given = published_checkpoint(joints=17, people=1, classes=4, channels=((3, 64), (64, 128)))
    file = tmp_path / "published.pt"
    torch.save(given, file)
    facts, kept = barely(go, tmp_path / "run", file, network={"width": 64})
    assert facts == {"source": str(file), "taken": len(given), "left_out": []}
    torch.testing.assert_close(kept["blocks.1.space.topology"], given["l2.gcn1.PA"])
    torch.testing.assert_close(kept["classify.weight"], given["fc.weight"])
    kernel = given["l1.tcn1.branches.1.3.conv.weight"][..., 0].permute(2, 0, 1)
    torch.testing.assert_close(kept["blocks.0.time.kernels"][1], kernel)


def test_the_log_has_the_parts_of_the_loss_and_they_add_up(go, tmp_path):
    go(tmp_path / "plain")
    go(tmp_path / "run", contrast={"weight": 0.5})
    plain = [row for row in read_rows(tmp_path / "plain" / "log.jsonl") if row["split"] == "train"]
    assert not any({"ce", "contrast"} & row.keys() for row in plain)
    rows = [row for row in read_rows(tmp_path / "run" / "log.jsonl") if row["split"] == "train"]
    assert rows
    for row in rows:
        assert row["loss"] == pytest.approx(row["ce"] + 0.5 * row["contrast"], rel=1e-5)
    assert rows[-1]["contrast"] > 0
    header = (tmp_path / "run" / "log.csv").read_text().splitlines()[0].split(",")
    assert {"loss", "ce", "contrast"} <= set(header)
