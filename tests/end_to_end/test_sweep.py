"""Sweeps as they are typed: killed workers, signals, scores and the table made of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from drawn import SMALL_SKELETON
from swept import make_sweep

SRC = str(Path(__file__).parents[2] / "src")
AXES = ["--sweep", "training.seed=0,1"]


def words(drawn, out, *more):
    settings = [*SMALL_SKELETON[1:], "training.epochs=30"]
    common = ["--recipe", "tiny", "--protocol", "cross-subject", "--device", "cpu", "--out", out]
    chosen = [word for setting in settings for word in ("--set", setting)]
    return ["train", "skeleton", drawn.data, *common, *chosen, *AXES, *more]


def started(*words) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "poselens", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": SRC, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def workers(process: subprocess.Popen) -> list[int]:
    """The processes that train: those of spawn, not multiprocessing's own helper."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    named = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, line in named.items() if b"spawn_main" in line]


def running(pid: int) -> bool:
    """A process that ended, and that nobody has asked about, has no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except FileNotFoundError:
        return False


def wait_for(process: subprocess.Popen, *files: Path) -> None:
    end = time.monotonic() + 60
    while not all(file.exists() for file in files):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_killed_worker_ctrl_c_a_killed_sweep_and_resume(poselens, drawn, tmp_path):
    out = tmp_path / "sweep"
    runs = [out / "seed=0", out / "seed=1"]
    logs = [run / "log.csv" for run in runs]

    process = started(*words(drawn, out, "--jobs", "2", "--json"))
    wait_for(process, *logs)
    victim, _ = sorted(workers(process))
    os.kill(victim, signal.SIGKILL)
    while "failed" not in (out / "sweep.json").read_text():
        assert process.poll() is None
        time.sleep(0.02)
    # a scheduler or Ctrl-C signals every process
    os.killpg(process.pid, signal.SIGINT)
    told, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    facts = json.loads(told)
    outcomes = {run["folder"]: run["outcome"] for run in facts["runs"]}
    assert sorted(outcomes.values()) == ["failed", "stopped"]
    (killed,) = [run for run in facts["runs"] if run["outcome"] == "failed"]
    assert killed["error"]["code"] == "SWP-005"
    assert "died with exit code -9" in killed["error"]["message"]
    assert "go on with --resume" in err
    assert "Traceback" not in err
    assert "Traceback" not in "".join(log.read_text() for log in out.glob("worker-*.log"))

    refused = poselens(*words(drawn, out, "--json"))
    assert (refused.code, refused.facts["error"]["code"]) == (2, "RUN-001")
    assert "2 runs of this sweep are not finished" in refused.err
    process = started(*words(drawn, out, "--resume"))
    logged = out / "worker-1.log"
    before = logged.read_text().count("-- seed")
    while logged.read_text().count("-- seed") == before:
        assert process.poll() is None
        time.sleep(0.02)
    (worker,) = workers(process)
    process.kill()
    process.communicate()
    end = time.monotonic() + 30
    while running(worker):
        assert time.monotonic() < end
        time.sleep(0.05)
    done = poselens(*words(drawn, out, "--resume", "--jobs", "2", "--score", "test", "--json"))
    assert done.code == 0
    assert [run["outcome"] for run in done.facts["runs"]] == ["complete", "complete"]
    for run in runs:
        epochs = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        assert [row["epoch"] for row in epochs if row["split"] == "train"] == list(range(1, 31))

    table = poselens("compare", out, "--out", tmp_path / "table.md", "--json")
    assert table.code == 0
    (row,) = table.facts["rows"]
    assert (row["seeds"], row["n"]) == (["0", "1"], 16)
    for seed, run in enumerate(runs):
        alone = poselens(
            "evaluate", run, drawn.data, "--protocol", "cross-subject", "--json"
        ).facts["top1"]
        assert row["top1"]["each"][str(seed)] == alone
    text = (tmp_path / "table.md").read_text()
    assert "last of 30 epochs, trained on train" in text
    assert table.facts["data"]["fingerprint"] in text
    shown = poselens("compare", out)
    assert shown.out == text


def test_words_that_cannot_be_read(poselens, drawn, tmp_path):
    base = words(drawn, tmp_path / "out", "--json")
    for more, code, message in (
        (["--sweep", "training.lr=[0.1"], "SWP-001", "brackets or quotes that do not close"),
        (["--sweep", "training.lr=0.1,0.1"], "SWP-002", "two combinations are the same settings"),
        (["--sweep", "training.lrr=0.1"], "CFG-001", "did you mean 'lr'"),
        (["--protocol", "cross-subjects"], "CFG-004", "did you mean 'cross-subject'"),
        (["--score", "tests"], "CFG-009", "expected train, val, test"),
    ):
        answer = poselens(*base, *more)
        assert (answer.code, answer.facts["error"]["code"]) == (2, code)
        assert message in answer.err
    plain = [word for word in base if word not in AXES]
    assert poselens(*plain, "--jobs", "2").facts["error"]["code"] == "CFG-011"
    assert poselens(*plain, "--score", "tests").facts["error"]["code"] == "CFG-009"
    assert not (tmp_path / "out").exists()


def test_one_run_may_be_scored_too(poselens, drawn, tmp_path):
    plain = [word for word in words(drawn, tmp_path / "run") if word not in AXES]
    answer = poselens(*plain, "--set", "training.epochs=1", "--score", "test")
    assert answer.code == 0
    assert (tmp_path / "run" / "scores_test.npz").exists()


@pytest.mark.parametrize("more", [["--baseline", "joint"], ["--fuse", "stream"]])
def test_tables(poselens, drawn, tmp_path, more):
    axes = {"input.stream": ["joint", "bone"], "training.seed": [0, 1]}
    out = make_sweep(tmp_path / "sweep", axes)
    shown = poselens("compare", out, *more).out
    assert shown.startswith("**tiny**, protocol `p`, part `test`, recipe `tiny-test`, skeleton")
    lines = [line for line in shown.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    if "--fuse" in more:
        assert "| all | 2 streams: joint+bone |" in shown
    else:
        assert "| joint |" in lines[2]
        assert "baseline" in lines[2]
        assert any(word in lines[3] for word in ("within noise", "better", "worse", "disagree"))


LONG = ("--set", "training.epochs=100000", "--set", "training.save_minutes=null")


@pytest.fixture
def sweep(drawn, tmp_path):
    """Start a sweep of two runs side by side, which both train."""
    out = tmp_path / "sweep"
    process = started(*words(drawn, out, "--jobs", "2", *LONG))
    runs = [out / "seed=0", out / "seed=1"]
    try:
        within(90, lambda: all(trains(run) for run in runs))
        yield process, out, runs
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def trains(run):
    log = run / "log.jsonl"
    return log.exists() and log.read_text()


def states(run):
    return sorted(path.stem for path in (run / "states").glob("*.safetensors"))


def within(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_sigusr1_saves_every_run_and_sigterm_ends_all_of_them_saved(sweep):
    process, out, runs = sweep
    process.send_signal(signal.SIGUSR1)
    logs = [out / f"worker-{number}.log" for number in (1, 2)]
    within(60, lambda: all("training goes on" in log.read_text() for log in logs))
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    told, err = process.communicate(timeout=90)
    assert process.returncode == 143, err
    assert "stopped and saved; go on with --resume" in told + err
    assert "Traceback" not in err + "".join(log.read_text() for log in logs)
    facts = json.loads((out / "sweep.json").read_text())
    assert [run["outcome"] for run in facts["runs"]] == ["stopped", "stopped"]
    for run in runs:
        logged = (run / "log.jsonl").read_text().count('"train"')
        assert states(run)[-1] >= f"{logged:06}-00000000"


def test_a_second_ctrl_c_leaves_at_once_and_leaves_nobody_behind(sweep):
    process, _, runs = sweep
    trained = workers(process)
    assert len(trained) == 2
    # nothing of theirs ends at the first one: they are held
    for pid in trained:
        os.kill(pid, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    within(30, lambda: not any(map(running, trained)))
    # what was saved before is there to go on from
    assert all(states(run) for run in runs)
