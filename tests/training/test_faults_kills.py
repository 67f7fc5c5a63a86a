"""Trainings of both branches, killed at random moments: every one resumes, to the same bits."""

import os
import time

import mutate
import numpy as np
import pytest
from fork_server import ForkServer

from poselens.training.config import Recipe
from poselens.training.states import state_files

KILLS = int(os.environ.get("POSELENS_KILLS", 6))
CONTRAST = {"dimensions": 8, "positives": 4, "negatives": 4}
BRANCHES = ("rgb", "skeleton")


def section(tiny, branch, **training):
    """The tiny recipe of a branch, six epochs of three steps; skeletons with contrast."""
    made = tiny(branch, epochs=6, **training).model_dump(mode="json")
    if branch == "skeleton":
        made["contrast"] = CONTRAST
    return Recipe.model_validate({"name": "r", branch: made}).model_dump(mode="json")[branch]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ForkServer(tmp_path_factory.mktemp("server") / "log") as server:
        yield server


def end(out):
    """All that a finished run leaves of what it learned: the last state, weights and scores."""
    files = [state_files(out)[0], out / "weights.safetensors", out / "scores_val.npz"]
    files += sorted((out / "contrast").glob("*.npz"))
    return {file.name: file.read_bytes() for file in files}


def undisturbed(server, task):
    """Run twice from beginning to end; returns the seconds of the quicker one."""
    begun = time.monotonic()
    assert server.run(**task) == 0
    first = time.monotonic() - begun
    begun = time.monotonic()
    again = {"out": f"{task['out']}-again", "steps": f"{task['steps']}-again"}
    assert server.run(**{**task, **again}) == 0
    return min(first, time.monotonic() - begun)


@pytest.mark.parametrize("branch", BRANCHES)
def test_killed_at_random_moments_a_run_ends_as_the_undisturbed_one(
    server, tmp_path, tiny_folder, tiny_section, branch
):
    task = {
        "task": "train",
        "branch": branch,
        "root": tiny_folder,
        "section": section(tiny_section, branch, save_every=1, select="best"),
        "steps": tmp_path / "steps",
    }
    seconds = undisturbed(server, {**task, "out": tmp_path / "whole"})
    whole = end(tmp_path / "whole")
    draw = np.random.default_rng((3, BRANCHES.index(branch)))
    counted = ("kills", "after_new_steps", "runs", "finished_before_the_kill", "broken_states")
    tally = dict.fromkeys(counted, 0)
    wanted = KILLS // len(BRANCHES)
    while tally["kills"] < wanted:
        out = tmp_path / f"run-{tally['runs']}"
        tally["runs"] += 1
        code = -9
        while code == -9 and tally["kills"] < wanted:
            before = state_files(out)[:1]
            code = server.disturb(draw.uniform(0, seconds), 9, **task, out=out)
            tally["kills"] += code == -9
            tally["after_new_steps"] += code == -9 and state_files(out)[:1] != before
        if code == -9:
            code = server.run(**task, out=out)
        else:
            tally["finished_before_the_kill"] += 1
        assert code == 0
        assert end(out) == whole
        tally["broken_states"] += len(list(out.rglob("*.broken")))
        assert not list(out.rglob(".poselens-*"))
    mutate.note({"branch": branch, "cores": os.cpu_count(), **tally})
    assert tally["broken_states"] == 0
    assert tally["kills"] == wanted > 0


@pytest.mark.parametrize("branch", BRANCHES)
def test_stopped_at_random_moments_no_step_is_done_twice(
    server, tmp_path, tiny_folder, tiny_section, branch
):
    """SIGTERM: 143 each time, and every step of the run is taken once."""
    task = {
        "task": "train",
        "branch": branch,
        "root": tiny_folder,
        "section": section(tiny_section, branch, save_minutes=None),
        "out": tmp_path / "run",
        "steps": tmp_path / "steps",
    }
    other = {"out": tmp_path / "whole", "steps": tmp_path / "other"}
    seconds = undisturbed(server, {**task, **other})
    whole = end(tmp_path / "whole")
    assert (tmp_path / "other").read_text().count("step") == 18
    draw = np.random.default_rng((4, BRANCHES.index(branch)))
    tally = dict.fromkeys(("stops", "runs", "finished_before_the_stop", "in_mid_epoch"), 0)
    slowest = 0.0
    wanted = max(KILLS // 8, 2)
    while tally["stops"] < wanted:
        run = tmp_path / f"run-{tally['runs']}"
        task |= {"out": run, "steps": tmp_path / f"steps-{tally['runs']}"}
        tally["runs"] += 1
        code = 143
        while code == 143 and tally["stops"] < wanted:
            delay = draw.uniform(0, seconds)
            begun = time.monotonic()
            code = server.disturb(delay, 15, **task)
            slowest = max(slowest, time.monotonic() - begun - delay)
            tally["stops"] += code == 143
            taken = len((task["steps"]).read_text().split()) if task["steps"].exists() else 0
            saved = [path.stem.split("-") for path in state_files(run)[:1]]
            # the next step is the one after the last
            assert [3 * int(epoch) + int(step) for epoch, step in saved] in ([taken], [])
            assert saved or not taken
            tally["in_mid_epoch"] += any(0 < int(step) < 3 for _, step in saved)
        if code == 143:
            code = server.run(**task)
        else:
            tally["finished_before_the_stop"] += 1
        assert code == 0
        assert len(task["steps"].read_text().split()) == 18
        assert end(run) == whole
    mutate.note({"branch": branch, **tally, "steps_lost": 0, "slowest_s": round(slowest, 2)})
    assert slowest < 30
