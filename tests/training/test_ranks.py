"""Several ranks through the command line, beside one process with the same batches."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mutate import note
from several import Agent, Ranks
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from poselens.checkpoint import read_tensors
from poselens.cli.output import tell_error
from poselens.data.folder import ClipFolder
from poselens.errors import EnvironmentFault, UsageError
from poselens.fusion.scores import read_scores
from poselens.training import gradients, wiring
from poselens.training import ranks as ranks_module
from poselens.training.gradients import FIRST_SCALE, Gradients
from poselens.training.journal import read_rows
from poselens.training.rank_rules import require_apart
from poselens.training.ranks import ALONE, joined, place, require_alone
from poselens.training.ranks import Ranks as Several
from poselens.training.refused import RefusedStep, of_all
from poselens.training.states import newest_facts, state_files
from poselens.training.stepping import EagerStep

BRANCHES = ["rgb", "skeleton"]
SETTINGS = {
    # no draws of single ranks, and batches whose statistics do not blow a rounding up
    "rgb": {
        "network": {"dropout": 0.0},
        "input": {"segments": 4, "size": 64, "scale": 72},
        "training": {"batch_size": 4, "lr": 0.005},
    },
    "skeleton": {
        "network": {"dropout": 0.0},
        "training": {"batch_size": 3, "lr": 0.02},
        "contrast": {"samplers": ["random", "class-aware"], "positives": 4, "negatives": 8},
    },
}


def merged(base: dict, changes: dict) -> dict:
    return {
        key: merged(base.get(key) or {}, changes[key])
        if isinstance(changes.get(key), dict)
        else changes.get(key, base.get(key))
        for key in {**base, **changes}
    }


@pytest.fixture(scope="module")
def recipe(tiny_recipe, tmp_path_factory):
    content = merged(yaml.safe_load(tiny_recipe.read_text()), SETTINGS)
    path = tmp_path_factory.mktemp("ranks") / "ranks.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture
def words(tiny_folder, recipe):
    """The command of a run; settings of the loop by keyword."""

    def words(branch, out, *, root=tiny_folder, resume=False, **training):
        settings = {"epochs": 2, "sync_batchnorm": True, **training}
        return [
            *("train", branch, root, "--recipe", recipe, "--protocol", "p", "--out", out),
            *("--device", "cpu", *(["--resume"] if resume else [])),
            *(w for key, value in settings.items() for w in ("--set", f"training.{key}={value}")),
        ]

    return words


@pytest.fixture
def go(words, tmp_path):
    """Train with so many ranks, to the end."""

    def go(size, branch, out, **changes):
        started = Ranks(tmp_path / "told", size, words(branch, out, **changes))
        assert started.end() == [0] * size, started.told()
        return out

    return go


def steps_slowed(_rank: int) -> None:
    quick = EagerStep.__call__

    def slow(*arguments):
        time.sleep(0.1)
        return quick(*arguments)

    EagerStep.__call__ = slow


def at_step(rank: int, step: int, act: Callable[[], None]) -> Callable[[int], None]:
    """Let one rank do something as it is about to take a step, counted from 1."""

    def before(own: int) -> None:
        if own != rank or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
            return
        quick, taken = EagerStep.__call__, []

        def counted(*arguments):
            taken.append(1)
            if len(taken) == step:
                act()
            return quick(*arguments)

        EagerStep.__call__ = counted

    return before


def losses(out: Path) -> np.ndarray:
    """Losses, rates of recognition and numbers of clips, in the order of the log."""
    rows = read_rows(out / "log.jsonl")
    return np.array([[row["loss"], row["top1"], row["clips"]] for row in rows])


def position(out: Path) -> tuple[int, int]:
    facts = newest_facts(out)["progress"]
    return facts["epoch"], facts["step"]


def furthest(one: Path, other: Path, name: str = "weights.safetensors") -> float:
    first, second = read_tensors(one / name), read_tensors(other / name)
    assert first.keys() == second.keys()
    return max(float((first[key].double() - second[key].double()).abs().max()) for key in first)


@pytest.mark.parametrize(
    ("branch", "size", "epochs", "batch"),
    # 20 steps; 21 with a last batch of one clip, for two or three ranks
    [("rgb", 2, 10, 4), ("skeleton", 2, 7, 3), ("rgb", 3, 2, 7), ("skeleton", 3, 4, 7)],
)
def test_ranks_are_as_good_as_one_process(go, tmp_path, branch, size, epochs, batch):
    """Losses of both parts, the bank, statistics and validation, whoever has how many clips."""
    alone, shared = (
        go(ranks, branch, tmp_path / f"run-{ranks}", epochs=epochs, batch_size=batch)
        for ranks in (1, size)
    )
    np.testing.assert_allclose(losses(shared), losses(alone), rtol=0, atol=1e-5)
    assert furthest(alone, shared) < 1e-3
    bank = {
        run: {
            name: value
            for name, value in read_tensors(state_files(run)[0]).items()
            if name.startswith("beside.bank") or name.endswith(("clips", "tally.sums"))
        }
        for run in (alone, shared)
    }
    for name, value in bank[alone].items():
        torch.testing.assert_close(bank[shared][name], value, rtol=0, atol=1e-4)
    assert bool(bank[alone]) == (branch == "skeleton")
    one, other = (read_scores(run / "scores_val.npz") for run in (alone, shared))
    assert list(one.ids) == list(other.ids)
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_allclose(one.logits, other.logits, rtol=0, atol=1e-4)
    told = json.loads((shared / "run.json").read_text())["ranks"]
    assert told == {
        "size": size,
        "clips_per_rank": batch / size,
        "backend": "gloo",
        "batch_statistics": "of all ranks",
    }


@pytest.mark.parametrize("branch", BRANCHES)
def test_statistics_of_each_rank_are_averaged_by_default(go, tmp_path, branch):
    """Without sync_batchnorm the numbers differ, and every repetition has the same ones."""
    alone = go(1, branch, tmp_path / "alone")
    own, again = (
        go(2, branch, tmp_path / name, sync_batchnorm=False, batch_size=5)
        for name in ("own", "again")
    )
    assert losses(own)[:, 2].tolist() == losses(alone)[:, 2].tolist() == [8, 4, 8, 4]
    assert furthest(own, again) == 0
    told = json.loads((own / "run.json").read_text())["ranks"]
    assert told["batch_statistics"] == "of each rank"


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_run_goes_on_with_any_number_of_ranks(go, words, tmp_path, branch):
    """Two ranks, stopped by a signal to one of them; one rank, stopped; two ranks to the end."""
    whole = go(1, branch, tmp_path / "whole", epochs=4)
    out = tmp_path / "run"
    stop = at_step(1, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    started = Ranks(tmp_path / "a", 2, words(branch, out, epochs=4), before=stop)
    assert started.end() == [143, 143], started.told()
    per_epoch = 2 if branch == "rgb" else 3
    # the signal came before the third step, which is taken and saved; nothing is lost
    assert np.dot(position(out), (per_epoch, 1)) == 3
    told = "".join(started.told())
    assert told.count("stopped and saved; go on with --resume") == 1
    stop = at_step(0, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    started = Ranks(tmp_path / "b", 1, words(branch, out, epochs=4, resume=True), before=stop)
    assert started.end() == [130], started.told()
    assert np.dot(position(out), (per_epoch, 1)) == 6
    go(2, branch, out, epochs=4, resume=True)
    np.testing.assert_allclose(losses(out), losses(whole), rtol=0, atol=1e-5)
    assert furthest(out, whole) < 1e-3


def test_a_signal_to_one_rank_saves_for_all(words, tmp_path):
    save = at_step(1, 2, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    started = Ranks(tmp_path / "a", 2, words("skeleton", tmp_path / "run"), before=save)
    assert started.end() == [0, 0], started.told()
    assert "".join(started.told()).count("saved at epoch 1, step 2, training goes on") == 1


def kills(default: int) -> int:
    """How often to kill a rank: of the kills of a full run, which are cheaper elsewhere, twenty."""
    return min(int(os.environ.get("POSELENS_KILLS", default)), 20)


def test_faults_a_killed_rank_is_started_anew_and_nothing_is_lost(words, tmp_path):
    """kill -9 of one of two ranks at a random step; the agent restarts both, which resume."""
    facts = {"epochs": 4, "sync_batchnorm": False}
    draw = np.random.default_rng(6)
    wholes = {}
    outcomes = []
    for number in range(kills(2)):
        branch = BRANCHES[number % 2]
        if branch not in wholes:
            wholes[branch] = tmp_path / f"whole-{branch}"
            agent = Agent(tmp_path / "w", 2, words(branch, wholes[branch], **facts))
            assert agent.end()[0] == 0
        rank, step = int(draw.integers(2)), int(draw.integers(1, 9))
        out = tmp_path / f"killed-{number}"
        kill = at_step(rank, step, lambda: os.kill(os.getpid(), signal.SIGKILL))
        command = words(branch, out, **facts)
        agent = Agent(tmp_path / f"k{number}", 2, command, before=kill, restarts=1)
        code, told = agent.end()
        assert code == 0, told
        same = furthest(out, wholes[branch]) == 0
        outcomes.append({"branch": branch, "rank": rank, "step": step, "equal": same})
        assert same
        assert losses(out).tolist() == losses(wholes[branch]).tolist()
        shutil.rmtree(out)
    equal = sum(outcome["equal"] for outcome in outcomes)
    note({"kills": len(outcomes), "equal": equal, "outcomes": outcomes})


def test_the_first_error_ends_all_ranks_and_is_told_first(words, tmp_path):
    def fail():
        raise EnvironmentFault("ENV-002", "the disk is full", mend="free space")

    started = time.monotonic()
    agent = Agent(
        tmp_path / "a", 2, words("skeleton", tmp_path / "run"), before=at_step(1, 2, fail)
    )
    code, told = agent.end(60)
    assert time.monotonic() - started < 60
    assert code == 1
    lines = [line for line in told.splitlines() if "error[" in line]
    assert lines[0] == "rank 1 of 2: error[ENV-002]: the disk is full. Mend: free space"
    assert all("rank 0 of 2: error[DIST-003]: another rank ended" in line for line in lines[1:])


def test_torchrun_hears_the_first_error_as_the_first(monkeypatch, tmp_path):
    """What it shows at the end is the failure with the earliest time, in whole seconds."""
    heard = []
    for rank, code in ((0, "DIST-003"), (1, "ENV-002")):
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / code))
        tell_error(EnvironmentFault(code, "told", mend="mend it"), as_json=False)
        heard.append(ProcessFailure(rank, 1, 5, str(tmp_path / code)))
    assert min(heard, key=lambda failure: failure.timestamp).message["message"] == (
        "error[ENV-002]: told. Mend: mend it"
    )
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "none" / "there"))
    tell_error(EnvironmentFault("ENV-002", "told"), as_json=False)


def test_the_others_name_a_rank_that_is_gone_or_hangs(words, tmp_path):
    for name, number in (("gone", signal.SIGKILL), ("hangs", signal.SIGSTOP)):
        act = at_step(1, 2, lambda number=number: os.kill(os.getpid(), number))
        started = Ranks(
            tmp_path / name,
            2,
            words("skeleton", tmp_path / f"run-{name}"),
            before=act,
            environment={ranks_module.TIMEOUT_VARIABLE: "3"},
        )
        pid = started.pids.pop()
        try:
            assert started.end(40) == [5], started.told()
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        told = started.told()[0]
        assert "rank 0 of 2: error[DIST-003]: another rank ended or does not answer" in told
        assert "go on with --resume" in told


def test_a_clip_that_one_rank_cannot_read_is_told_by_all(go, words, spoiled, tmp_path):
    root = spoiled("c03", "c09")
    alone, shared = (
        go(size, "rgb", tmp_path / f"run-{size}", root=root, max_bad=0.5) for size in (1, 2)
    )
    listed = (shared / "skipped.jsonl").read_text()
    assert [json.loads(line)["id"] for line in listed.splitlines()] == ["c03", "c09"]
    assert listed == (alone / "skipped.jsonl").read_text()
    np.testing.assert_allclose(losses(shared), losses(alone), rtol=0, atol=1e-5)
    assert list(read_scores(shared / "scores_val.npz").ids) == ["c08", "c10", "c11"]
    started = Ranks(
        tmp_path / "told", 2, words("rgb", tmp_path / "refused", root=root, max_bad=0.01)
    )
    assert started.end() == [3, 3]
    for rank, told in enumerate(started.told()):
        assert f"rank {rank} of 2: error[DATA-024]" in told


def test_torchrun_itself_starts_and_stops_the_command(words, tmp_path):
    """Its own processes; SIGTERM to it reaches all ranks, which save once and end with 143."""
    out = tmp_path / "run"
    source = str(Path(__file__).parents[2] / "src")
    running = subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "poselens"),
            *map(str, words("skeleton", out, epochs=100_000)),
        ],
        env={**os.environ, "PYTHONPATH": source},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until = time.monotonic() + 90
        while not read_rows(out / "log.jsonl"):
            assert running.poll() is None, running.communicate()[0]
            assert time.monotonic() < until
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        told, _ = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode != 0
    assert told.count("stopped and saved; go on with --resume") == 1
    assert "error[" not in told
    assert position(out) > (0, 0)


def test_ranks_that_do_not_find_the_same_are_refused(words, tmp_path):
    command = words("skeleton", tmp_path / "run")
    started = Ranks(tmp_path / "told", 2, command, before=_other_data)
    assert started.end() == [5, 5], started.told()
    for told in started.told():
        assert "error[DIST-004]: rank 0 and rank 1 do not find the same settings or data" in told


def _other_data(rank: int) -> None:
    if rank == 1:
        ClipFolder.fingerprint = lambda _folder: "other"


def test_more_ranks_than_clips_a_step_are_refused(words, tmp_path):
    command = words("skeleton", tmp_path / "run", batch_size=1)
    started = Ranks(tmp_path / "told", 2, command)
    assert started.end() == [2, 2]
    assert (
        "error[DIST-005]: training.batch_size is 1, for all 2 ranks together" in (started.told()[0])
    )


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("size", [1, 2])
def test_halving_is_not_for_ranks_that_wait_within_a_pass(size, halves, together):
    asked = {"halves": halves, "together": together}
    if size == 1 or not (halves and together):
        require_apart(Several(0, size), **asked)
        return
    with pytest.raises(UsageError, match="is for one process, and 2 were started") as caught:
        require_apart(Several(0, size), **asked)
    assert caught.value.code == "DIST-008"


def test_it_is_refused_where_it_is_asked_for(words, tmp_path):
    told = "error[DIST-008]: training.micro_batch=auto with contrast or training.sync_batchnorm"
    for branch, sync in (("skeleton", False), ("rgb", True)):
        command = words(branch, tmp_path / branch, sync_batchnorm=sync, micro_batch="auto")
        started = Ranks(tmp_path / f"told-{branch}", 2, command)
        assert started.end() == [2, 2]
        assert told in started.told()[0]


@pytest.mark.parametrize(
    ("branch", "size", "epochs", "batch", "parts"),
    # 20 steps; 21, where the last batch of one clip is one part, and ranks have parts without any
    [
        ("rgb", 2, 10, 4, 2),
        ("skeleton", 2, 10, 6, 3),
        ("rgb", 3, 2, 7, 3),
        ("skeleton", 3, 4, 7, 4),
    ],
)
def test_ranks_compute_in_parts_what_one_process_does(
    go, tmp_path, branch, size, epochs, batch, parts
):
    """Normalisations see the clips of a part, and the bank every clip once, in the same order."""
    alone, shared = (
        go(
            ranks, branch, tmp_path / f"run-{ranks}",
            epochs=epochs, batch_size=batch, accumulate=parts,
        )
        for ranks in (1, size)
    )  # fmt: skip
    np.testing.assert_allclose(losses(shared), losses(alone), rtol=0, atol=1e-5)
    assert furthest(alone, shared) < 1e-3
    assert position(shared) == position(alone)
    states = [read_tensors(state_files(run)[0]) for run in (alone, shared)]
    banks = [name for name in states[0] if name.startswith("beside.bank")]
    assert bool(banks) == (branch == "skeleton")
    for name in banks:
        torch.testing.assert_close(*(state[name] for state in states), rtol=0, atol=1e-4)


def test_parts_are_others_than_the_whole_batch(go, tmp_path):
    """What the test above would not see: that nothing is done in parts at all."""
    whole, parts = (
        go(2, "skeleton", tmp_path / str(parts), accumulate=parts, epochs=1) for parts in (1, 2)
    )
    assert furthest(whole, parts) > 1e-6


def test_statistics_of_a_rank_forget_parts_without_its_clips(go, tmp_path):
    """A batch of three clips in three parts leaves each of two ranks at least one without any."""
    options = {"sync_batchnorm": False, "batch_size": 3, "accumulate": 3, "epochs": 1}
    run = go(2, "rgb", tmp_path / "run", **options)
    weights = read_tensors(run / "weights.safetensors")
    alone = read_tensors(go(1, "rgb", tmp_path / "alone", **options) / "weights.safetensors")
    name = next(name for name in weights if name.endswith("running_var"))
    # both look at single clips; a blank one would have pulled the variances towards zero
    one, other = weights[name].mean(), alone[name].mean()
    assert other * 0.8 < one < 1.5 * other + 0.5


def short_of_memory(rank: int, limit: int) -> Callable[[int], None]:
    """Let the memory of one rank, or of every rank (-1), hold no more than so many clips."""

    def before(own: int) -> None:
        real = wiring.cross_entropy

        def objective(**options):
            inner = real(**options)

            def limited(network, batch):
                losses = inner(network, batch)
                if rank in (own, -1) and len(batch["label"]) > limit:
                    raise torch.OutOfMemoryError("CUDA out of memory")
                return losses

            return limited

        wiring.cross_entropy = objective

    return before


def test_ranks_halve_when_the_memory_of_one_ends(words, tmp_path):
    """Whoever it is: all take the same step again, in halves of its parts, from the same bits."""
    facts = {"sync_batchnorm": False, "micro_batch": "auto", "batch_size": 8, "epochs": 1}
    runs = []
    for rank in (1, -1):
        out = tmp_path / f"run-{rank}"
        memory = short_of_memory(rank, 1)
        started = Ranks(tmp_path / f"told{rank}", 2, words("rgb", out, **facts), before=memory)
        assert started.end() == [0, 0], started.told()
        told = "".join(started.told())
        assert told.count("memory does not hold 8 clips at once") == 1
        assert told.count("memory does not hold 4 clips at once") == 1
        assert "micro-batches of 2 from here on" in told
        assert int(read_tensors(state_files(out)[0])["pace.size"]) == 2
        runs.append(out)
    assert furthest(*runs) == 0
    assert losses(runs[0]).tolist() == losses(runs[1]).tolist()


def test_a_rank_whose_memory_holds_no_clip_ends_all(words, tmp_path):
    command = words("rgb", tmp_path / "run", sync_batchnorm=False, micro_batch="auto")
    started = Ranks(tmp_path / "told", 2, command, before=short_of_memory(1, 0))
    assert started.end() == [5, 5], started.told()
    assert "rank 1 of 2: error[ENV-012]" in started.told()[1]
    assert "rank 0 of 2: error[DIST-003]" in started.told()[0]


def overflowing(rank: int, step: int) -> Callable[[int], None]:
    """Let the gradient of one rank be more than fp16 holds, at one step."""

    def before(own: int) -> None:
        real, taken = Gradients._of_part, []

        def of_part(self, *arguments, **options):
            losses = real(self, *arguments, **options)
            taken.append(1)
            if own == rank and len(taken) == step:
                next(iter(self._network.parameters())).grad.fill_(float("inf"))
            return losses

        Gradients._of_part = of_part

    return before


def test_ranks_in_fp16_skip_the_same_step(words, tmp_path):
    """One rank's gradient overflows: all lower the scale, and none takes the step."""
    runs = []
    for rank in (0, 1):
        out = tmp_path / f"run-{rank}"
        command = words("skeleton", out, amp="fp16")
        started = Ranks(tmp_path / f"told{rank}", 2, command, before=overflowing(rank, 2))
        assert started.end() == [0, 0], started.told()
        rows = [row for row in read_rows(out / "log.jsonl") if row["split"] == "train"]
        skipped = [row.get("skipped_steps", 0) for row in rows]
        scale = float(read_tensors(state_files(out)[0])["pace.scale"])
        assert sum(skipped) >= 1
        assert scale == FIRST_SCALE / 2 ** sum(skipped)
        runs.append(out)
    assert furthest(*runs) == 0


def broken(rank: int, step: int, kind: str) -> Callable[[int], None]:
    """Let one rank meet a loss, or a gradient alone, that is not a number."""

    def before(own: int) -> None:
        real, taken = Gradients._of_part, []

        def of_part(self, batch, *arguments, **options):
            losses = real(self, batch, *arguments, **options)
            taken.append(1)
            if own == rank and len(taken) == step:
                next(iter(self._network.parameters())).grad.fill_(float("nan"))
                if kind == "loss":
                    losses = replace(losses, total=losses.total * float("nan"))
                Path(os.environ["SEEN"]).write_text(json.dumps(batch["id"]))
            return losses

        Gradients._of_part = of_part

    return before


@pytest.mark.parametrize(("rank", "kind"), [(1, "loss"), (0, "gradient"), (1, "gradient")])
def test_a_refused_step_names_the_clips_of_the_rank_that_saw_it(words, tmp_path, rank, kind):
    out, seen = tmp_path / "run", tmp_path / "seen.json"
    command = words("skeleton", out, max_nan=1, batch_size=4)
    started = Ranks(
        *(tmp_path / "told", 2, command),
        before=broken(rank, 2, kind),
        environment={"SEEN": str(seen)},
    )
    assert started.end() == [1, 1], started.told()
    clips = json.loads(seen.read_text())
    (report,) = json.loads((out / "nan_report.json").read_text())["refused"]
    assert (report["clips"], report["ranks"]) == (clips, [rank])
    assert (report["epoch"], report["step"]) == (1, 2)
    for told in started.told():
        assert f"error[NUM-001]: clips {', '.join(clips)}: the loss is " in told


def test_where_no_rank_saw_it_the_clips_of_all_are_named():
    class Others(Several):
        def texts(self, own):
            return [own, json.dumps({"clips": ["b"], "inputs_finite": True, "sound": True})]

    refused = RefusedStep("NUM-001", "the loss is inf")
    refused.facts, refused.sound = {"clips": ["a"], "inputs_finite": True, "lr": 1.0}, True
    whole = of_all(refused, Others(0, 2))
    assert whole.facts == {"clips": ["a", "b"], "inputs_finite": True, "lr": 1.0, "ranks": []}
    assert str(whole) == "clips a, b: the loss is inf"
    assert of_all(refused, ALONE) is refused


def test_ranks_in_fp16_are_near_one_process(words, tmp_path):
    """Not within 1e-5: a sum over other shares is rounded to half precision elsewhere."""

    def scaled_little(_rank):
        # one rank's part of the loss is larger than its part of the batch, and overflows earlier
        gradients.FIRST_SCALE = 256.0

    for size in (1, 2):
        command = words("skeleton", tmp_path / str(size), amp="fp16", lr=0.002)
        started = Ranks(tmp_path / f"told{size}", size, command, before=scaled_little)
        assert started.end() == [0] * size, started.told()
    alone, shared = (losses(tmp_path / str(size)) for size in (1, 2))
    np.testing.assert_allclose(shared[:, 0], alone[:, 0], rtol=0, atol=0.01)
    assert shared[:, 2].tolist() == alone[:, 2].tolist()


@pytest.mark.parametrize(
    ("branch", "options"),
    [
        ("rgb", {"freeze": "stages:1", "class_weights": "inverse"}),
        ("skeleton", {"freeze": "stages:1", "sampling": "balanced"}),
        ("skeleton", {"logit_adjustment": 1.0, "patience": 1, "lr": 1e-9, "epochs": 6}),
    ],
)
def test_options_are_those_of_one_process(go, tmp_path, branch, options):
    """Weights of classes, balanced epochs, frozen statistics and the end by patience."""
    one, two = (go(size, branch, tmp_path / str(size), **options) for size in (1, 2))
    assert position(one) == position(two)
    np.testing.assert_allclose(losses(two), losses(one), rtol=2e-3)
    assert furthest(one, two) < 2e-3
    facts = json.loads((two / "run.json").read_text())
    assert facts["stopped_early"] == ("patience" in options)
    assert "Not finished" not in (two / "RUN.md").read_text()


def test_ranks_that_cannot_meet_say_where(words, tmp_path):
    def elsewhere(_rank):
        os.environ |= {"MASTER_PORT": "1", "RANK": "1"}

    command = words("skeleton", tmp_path / "run")
    environment = {ranks_module.TIMEOUT_VARIABLE: "1"}
    started = Ranks(
        tmp_path / "told", 1, command, before=elsewhere,
        environment={**environment, "WORLD_SIZE": "2"},
    )  # fmt: skip
    assert started.end() == [5]
    assert "error[DIST-007]: the 2 ranks did not meet at 127.0.0.1:1" in started.told()[0]


def test_alone_nothing_is_told():
    assert (ALONE.leads, ALONE.share, ALONE.highest(3)) == (True, (0, 1), 3)
    assert ALONE.counts(4, 5) == [(4, 5)]
    assert ALONE.texts("a") == ["a"]
    state = torch.get_rng_state()
    ALONE.draw_anew(1, 2)
    assert torch.equal(torch.get_rng_state(), state)
    with joined(torch.device("cpu"), share_gpu=False) as ranks:
        assert ranks is ALONE


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({"WORLD_SIZE": "2"}, "RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT cannot"),
        ({"WORLD_SIZE": "2", "RANK": "2", "LOCAL_RANK": "0"}, "MASTER_ADDR"),
        ({"WORLD_SIZE": "x", "RANK": "0", "LOCAL_RANK": "0"}, "WORLD_SIZE cannot|WORLD_SIZE,"),
        (
            {"WORLD_SIZE": "2", "RANK": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "a",
             "MASTER_PORT": "1"},
            "RANK '2', but RANK cannot be used",
        ),
    ],
)  # fmt: skip
def test_an_environment_that_contradicts_itself(monkeypatch, environment, found):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=found) as fault:
        place()
    assert fault.value.code == "DIST-001"
    assert "torchrun --standalone" in str(fault.value)


@pytest.mark.parametrize("word", ["soon", "-1", "inf", "nan"])
def test_a_patience_that_is_no_number(monkeypatch, word):
    monkeypatch.setenv(ranks_module.TIMEOUT_VARIABLE, word)
    with pytest.raises(UsageError, match="expected seconds above 0") as fault:
        ranks_module.patience()
    assert fault.value.code == "DIST-001"


def test_a_rank_without_a_gpu_of_its_own(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    with pytest.raises(EnvironmentFault, match=r"rank 3 of this machine.*there are 2.*node 2") as e:
        ranks_module._take_gpu(3, share_gpu=False)
    assert e.value.code == "DIST-002"
    ranks_module._take_gpu(3, share_gpu=True)
    ranks_module._take_gpu(1, share_gpu=False)
    assert taken == [1, 1]


def test_a_sweep_is_no_work_for_ranks(monkeypatch):
    require_alone("--sweep")
    for name, value in {
        "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="--sweep trains every run in one process, and 2") as e:
        require_alone("--sweep")
    assert e.value.code == "DIST-006"
