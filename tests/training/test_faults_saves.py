"""A kill, EIO and ENOSPC at every file-system call of one save: the old state or the new loads."""

import os
import shutil

import mutate
import pytest
import torch
from fork_server import ForkServer
from saves import POSITIONS, prepared, restored, save, save_with_fault

from poselens.errors import EnvironmentFault
from poselens.training.claim import claimed

ERRORS = ("EIO", "ENOSPC", "half-ENOSPC")
KILLS = ("kill", "half-kill")


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """A run that has saved twice; to be copied."""
    return prepared(tmp_path_factory.mktemp("twice") / "run")


@pytest.fixture(scope="module")
def calls(tmp_path_factory, twice):
    """What a save calls, in order."""
    run = shutil.copytree(twice, tmp_path_factory.mktemp("calls") / "run")
    return save_with_fault(run, 0, "none")


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """What each position looks like when it is restored."""
    found = {}
    for number, position in enumerate(POSITIONS):
        run = tmp_path_factory.mktemp("known")
        save(run, number)
        progress, content, drawn = restored(run)
        assert progress == position
        found[(position.epoch, position.step)] = (content, drawn)
    return found


def which(run, known) -> str:
    """Restore; the state has to be the old one or the new one, whole."""
    progress, content, drawn = restored(run)
    position = (progress.epoch, progress.step)
    whole, next_drawn = known[position]
    assert content.keys() == whole.keys()
    assert all(torch.equal(value, whole[name]) for name, value in content.items())
    assert torch.equal(drawn, next_drawn)
    old, new = ((each.epoch, each.step) for each in POSITIONS[-2:])
    assert position in (old, new)
    return "new" if position == new else "old"


def test_a_save_calls_what_makes_it_last(calls):
    order = ["write", "fsync", "chmod", "replace", "open", "fsync", "unlink"]
    places = iter(calls)
    assert all(name in places for name in order), calls
    assert 10 <= len(calls) <= 80


def test_a_fault_at_every_call_leaves_the_old_state_or_the_new(tmp_path, twice, calls, known):
    tally = dict.fromkeys(("tried", "old", "new", "refused", "taken"), 0)
    for kind in ERRORS:
        places = {n for n, name in enumerate(calls, 1) if name == "write" or "half" not in kind}
        for call in sorted(places):
            run = shutil.copytree(twice, tmp_path / f"{kind}-{call}")
            tally["tried"] += 1
            told = None
            try:
                save_with_fault(run, call, kind)
            except EnvironmentFault as fault:
                told = (fault.code, fault.exit_code)
            tally["taken" if told is None else "refused"] += 1
            assert told in (None, ("ENV-003" if kind == "EIO" else "ENV-002", 5)), (kind, call)
            tally[which(run, known)] += 1
            assert not list(run.rglob(".poselens-*")), (kind, call)
            # the next save finds nothing in its way
            save(run, 2)
            assert which(run, known) == "new"
            assert len(list((run / "states").iterdir())) == 2
    mutate.note({"calls": len(calls), **tally})
    assert tally["old"] > tally["new"] > 0
    assert tally["refused"] > tally["taken"]


def test_a_kill_at_every_call_leaves_the_old_state_or_the_new(tmp_path, twice, calls, known):
    tally = dict.fromkeys(("tried", "old", "new"), 0)
    with ForkServer(tmp_path / "log") as server:
        for kind in KILLS:
            places = {n for n, name in enumerate(calls, 1) if name == "write" or "half" not in kind}
            for call in sorted(places):
                run = shutil.copytree(twice, tmp_path / f"{kind}-{call}")
                (run / "config.yaml").touch()
                tally["tried"] += 1
                assert server.run(task="save", out=run, call=call, kind=kind) == -9
                tally[which(run, known)] += 1
                # the next start sweeps what was half done
                with claimed(run, resume=True):
                    assert not list(run.rglob(".poselens-*"))
    mutate.note({"calls": len(calls), **tally})
    assert tally["old"] > tally["new"] > 0
    assert os.listdir(tmp_path)
