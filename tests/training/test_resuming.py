import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from poselens.checkpoint import read_tensors_and_facts, write_tensors
from poselens.data.folder import open_folder
from poselens.errors import CheckpointError
from poselens.training.config import Recipe, Training
from poselens.training.resuming import FREE, find_run, flat, read_config, update_format_1
from poselens.training.run import Request, train
from poselens.training.state import Progress
from poselens.training.states import state_file, state_files

FORMAT_1 = Path(__file__).parent / "format_1"


def resolved(**training):
    section = Recipe.model_validate({"name": "r", "skeleton": {"training": training}}).skeleton
    about = {"recipe": "r", "branch": "skeleton", "protocol": "p"}
    return {**about, **section.model_dump(mode="json")}, section


def stopped(out, config, *, epoch=1, step=2):
    """What a run that was stopped leaves for the next one to compare."""
    path = state_file(out, Progress(epoch, step))
    path.parent.mkdir(parents=True, exist_ok=True)
    progress = {"epoch": epoch, "step": step}
    facts = {"format": 2, "progress": progress, "fingerprint": "d", "settings": config}
    write_tensors(path, {"a": torch.ones(1)}, facts=facts)


def finished(out, config, *, epochs):
    out.mkdir(exist_ok=True)
    (out / "config.yaml").write_text(yaml.safe_dump(config))
    facts = {"complete": True, "epochs": epochs, "data": {"fingerprint": "d"}}
    (out / "run.json").write_text(json.dumps(facts))


def find(out, data="d", **training):
    return find_run(out, *resolved(**training), data)


def refused(code, told, call):
    with pytest.raises(CheckpointError, match=told) as caught:
        call()
    assert caught.value.code == code
    assert caught.value.mend


def test_a_folder_without_a_run_holds_nothing(tmp_path):
    assert find(tmp_path) == find(tmp_path / "none")
    assert (find(tmp_path).complete, find(tmp_path).changed) == (None, ())


def test_the_same_settings_are_no_change(tmp_path):
    stopped(tmp_path, resolved()[0])
    assert find(tmp_path).changed == ()


def test_how_a_run_is_carried_out_is_free_and_told(tmp_path):
    stopped(tmp_path, resolved()[0])
    others = {
        "workers": 7,
        "max_bad": 0.5,
        "max_nan": 9,
        "replay": "off",
        "compile": "off",
        "keep_states": 5,
        "save_every": 10,
        "save_minutes": None,
        "share_gpu": True,
        "tensorboard": True,
        "deterministic": True,
    }
    assert {f"training.{name}" for name in others} == FREE
    found = find(tmp_path, **others)
    assert len(found.changed) == len(others)
    assert "goes on with training.keep_states 2 -> 5" in found.changed


def test_anything_else_is_refused_and_named(tmp_path):
    stopped(tmp_path, resolved()[0])
    others = {"lr": 0.5, "seed": 3, "workers": 7}
    told = r"other settings or data \(training.lr 0.01 -> 0.5, training.seed 0 -> 3\)"
    refused("CKPT-011", told, lambda: find(tmp_path, **others))
    refused("CKPT-011", "data or its protocol differ", lambda: find(tmp_path, data="other"))


OTHERS = {
    "repeats": 3, "batch_size": 7, "scale_lr_from": 5, "lr": 0.5, "momentum": 0.1, "nesterov": True,
    "weight_decay": 0.3, "decay_all": False, "head_lr_factor": 2.0, "schedule": "cosine",
    "milestones": (1, 2), "gamma": 0.7, "warmup_epochs": 4, "clip_norm": 1.5,
    "label_smoothing": 0.2, "amp": "off", "accumulate": 2, "micro_batch": "auto", "ema": 0.9,
    "validation": "none", "select": "best", "patience": 3, "sampling": "balanced",
    "class_weights": "inverse", "class_beta": 0.5, "logit_adjustment": 1.0, "freeze": "stages:1",
    "seed": 9, "sync_batchnorm": True, "cache": "disk", "precheck": True,
}  # fmt: skip
"""Every setting that changes what is trained, at another value than its default."""


def test_each_setting_either_is_free_or_is_refused():
    known = {f"training.{name}" for name in Training.model_fields}
    assert {f"training.{name}" for name in OTHERS} == known - FREE - {"training.epochs"}


@pytest.mark.parametrize("name", OTHERS)
def test_what_changes_what_is_trained_is_refused_by_name(tmp_path, name):
    stopped(tmp_path, resolved()[0])
    value = OTHERS[name]
    now = list(value) if isinstance(value, tuple) else value
    told = re.escape(f"training.{name} ") + ".* -> " + re.escape(repr(now))
    refused("CKPT-011", told, lambda: find(tmp_path, **{name: value}))


def test_other_classes_or_another_layout_are_named(tmp_path):
    config, section = resolved()
    stopped(tmp_path, {**config, "classes": 60, "layout": "kinect-25"})
    other = {**config, "classes": 99, "layout": "coco-17"}
    told = r"\(classes 60 -> 99, layout 'kinect-25' -> 'coco-17'\)"
    refused("CKPT-011", told, lambda: find_run(tmp_path, other, section, "d2"))
    section = section.model_copy(
        update={"network": section.network.model_copy(update={"width": 48})}
    )
    wider = {**other, **section.model_dump(mode="json")}
    refused("CKPT-011", "network.width", lambda: find_run(tmp_path, wider, section, "d"))


def test_a_key_that_came_later_had_its_default(tmp_path):
    config = resolved()[0]
    del config["training"]["label_smoothing"]
    stopped(tmp_path, config)
    assert find(tmp_path).changed == ()
    told = r"training.label_smoothing 0.0 -> 0.1"
    refused("CKPT-011", told, lambda: find(tmp_path, label_smoothing=0.1))


def test_a_key_that_is_no_longer_known_is_named(tmp_path):
    config = resolved()[0]
    config["training"]["lookahead"] = 5
    stopped(tmp_path, config)
    refused("CKPT-011", r"training.lookahead 5 -> None", lambda: find(tmp_path))


@pytest.mark.parametrize("place", [stopped, finished])
def test_epochs_may_be_added_where_rates_do_not_depend_on_them(tmp_path, place):
    where = {"epoch": 4} if place is stopped else {"epochs": 4}
    place(tmp_path, resolved(epochs=4)[0], **where)
    stopped(tmp_path, resolved(epochs=4)[0], epoch=4, step=0)
    found = find(tmp_path, epochs=9)
    assert (found.complete, found.changed) == (None, ("goes on with training.epochs 4 -> 9",))
    told = r"cannot change so \(training.epochs 4 -> 3\): 4 epochs are done"
    refused("CKPT-021", told, lambda: find(tmp_path, epochs=3))


def test_epochs_stay_where_rates_depend_on_them(tmp_path):
    stopped(tmp_path, resolved(epochs=4, schedule="cosine")[0])
    told = "the cosine schedule spreads over all epochs.*would have had other rates"
    refused("CKPT-021", told, lambda: find(tmp_path, epochs=5, schedule="cosine"))


def test_a_finished_run_is_complete_or_has_a_state_to_go_on_from(tmp_path):
    finished(tmp_path, resolved(epochs=4)[0], epochs=4)
    assert find(tmp_path, epochs=4).complete["epochs"] == 4
    refused("CKPT-020", "no state of this run is left", lambda: find(tmp_path, epochs=5))
    refused("CKPT-011", "training.lr", lambda: find(tmp_path, epochs=4, lr=0.5))
    refused("CKPT-011", "data or its protocol", lambda: find(tmp_path, epochs=4, data="other"))


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff\xfe\x00", None])
def test_settings_that_cannot_be_read_are_told(tmp_path, content):
    finished(tmp_path, resolved()[0], epochs=60)
    (tmp_path / "config.yaml").unlink()
    if content is not None:
        (tmp_path / "config.yaml").write_bytes(content)
    refused("CKPT-024", "config.yaml: the settings of this run", lambda: find(tmp_path))


@pytest.fixture
def old(tmp_path, tiny_folder):
    """A run that the code of format 1 stopped after step 4 of 6, and what goes on with it."""
    out = tmp_path / "old"
    shutil.copytree(FORMAT_1, out, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    content = yaml.safe_load((out / "config.yaml").read_text())
    rest = {k: v for k, v in content.items() if k not in ("recipe", "branch", "protocol")}
    section = Recipe.model_validate({"name": "format-1", "skeleton": rest}).skeleton

    def go(out, resume):
        request = Request(tiny_folder, "p", "format-1", out, "cpu", resume)
        return train(open_folder(tiny_folder), section, request)

    return out, go


def test_a_run_of_format_1_goes_on_and_ends_as_the_undisturbed_one(old, tmp_path):
    out, go = old
    kept, facts = read_tensors_and_facts(out / "state.safetensors")
    assert facts["format"] == 1
    assert go(out, resume=True).exit_code == 0
    assert not (out / "state.safetensors").exists()
    go(tmp_path / "whole", resume=False)
    (one, about), (other, _) = (
        read_tensors_and_facts(state_files(run)[0]) for run in (out, tmp_path / "whole")
    )
    assert about["format"] == 2
    assert one.keys() == other.keys() >= kept.keys()
    for name, value in one.items():
        # another machine's arithmetic made the first four steps
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-4)


def test_a_state_of_format_1_is_moved_once_and_whole(old, tiny_folder):
    out, _ = old
    data = open_folder(tiny_folder).fingerprint()
    before, facts = read_tensors_and_facts(out / "state.safetensors")
    update_format_1(out, data)
    (moved,) = state_files(out)
    assert moved.stem == "000001-00000001"
    after, about = read_tensors_and_facts(moved)
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert about["settings"] == read_config(out)
    assert about["progress"] == facts["progress"]
    update_format_1(out, data)
    assert state_files(out) == [moved]


def test_a_state_of_format_1_of_other_data_or_settings_is_refused(old, tiny_folder):
    out, _ = old
    refused("CKPT-011", "config.yaml changed since", lambda: update_format_1(out, "other"))
    data = open_folder(tiny_folder).fingerprint()
    config = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(config.replace("lr: 0.05", "lr: 0.5"))
    refused("CKPT-011", "config.yaml changed since", lambda: update_format_1(out, data))
    (out / "config.yaml").write_text(config)
    content = (out / "state.safetensors").read_bytes()
    (out / "state.safetensors").write_bytes(content[:-3])
    refused("CKPT-003", "damaged", lambda: update_format_1(out, data))
    write_tensors(out / "state.safetensors", {"a": torch.ones(1)}, facts={"format": 7})
    refused("CKPT-010", "state format 7, this is 2", lambda: update_format_1(out, data))
    assert not state_files(out)


def test_names_of_settings_are_those_of_set():
    assert "training.keep_states" in flat(resolved()[0])
