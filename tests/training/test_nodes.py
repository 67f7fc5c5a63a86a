"""Two machines, here two agents of ``torchrun`` on one: the same numbers, and one that is lost."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from several import Ranks, free_port
from torch.distributed.run import get_args_parser

from poselens.checkpoint import read_tensors
from poselens.training.journal import read_rows
from poselens.training.states import state_files

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
OPTIONS = {
    "network": {"dropout": 0.0},
    "training": {"batch_size": 3, "lr": 0.02, "sync_batchnorm": True},
    "contrast": {"samplers": ["random", "class-aware"], "positives": 4, "negatives": 8},
}
SLOWED = """
import os, sys, time
from poselens.cli import main
from poselens.training.stepping import EagerStep
quick = EagerStep.__call__
def slow(*arguments):
    time.sleep(float(os.environ.get("STEP_S", "0")))
    return quick(*arguments)
EagerStep.__call__ = slow
main()
"""


@pytest.fixture(scope="module")
def words(tiny_folder, tiny_recipe, tmp_path_factory):
    recipe = yaml.safe_load(tiny_recipe.read_text())
    for part, changes in OPTIONS.items():
        recipe["skeleton"][part] = {**recipe["skeleton"].get(part, {}), **changes}
    folder = tmp_path_factory.mktemp("nodes")
    path, script = folder / "nodes.yaml", folder / "command.py"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    script.write_text(SLOWED)

    def words(out, **training):
        settings = {"epochs": 4, **training}
        return [
            *(str(script), "train", "skeleton", str(tiny_folder), "--recipe", str(path)),
            *("--protocol", "p", "--out", str(out), "--device", "cpu"),
            *(w for key, value in settings.items() for w in ("--set", f"training.{key}={value}")),
        ]

    return words


@pytest.fixture
def start():
    """Start a command in a session of its own; what still runs at the end is killed."""
    started = []

    def start(*arguments, **environment):
        running = subprocess.Popen(
            [sys.executable, *arguments],
            env={
                **os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )  # fmt: skip
        started.append(running)
        return running

    yield start
    for running in started:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()


def agents(start, words, **environment):
    """What is typed on each of two machines."""
    place = f"localhost:{free_port()}"
    agent = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    agent += ["--rdzv-id", "42", "--rdzv-backend", "c10d", "--rdzv-endpoint", place]
    first = start(*agent, *words, **environment)
    # the store of all lies with the one that takes the port
    until(lambda: not closed(int(place.partition(":")[2])), first)
    return [first, start(*agent, *words, **environment)]


def closed(port: int) -> bool:
    with socket.socket() as held:
        return held.connect_ex(("127.0.0.1", port)) != 0


def end(*running, timeout=120):
    told = [each.communicate(timeout=timeout)[0] for each in running]
    return [each.returncode for each in running], told


def losses(out):
    rows = read_rows(out / "log.jsonl")
    return np.array([[row["loss"], row["top1"], row["clips"]] for row in rows])


def test_two_machines_are_as_good_as_one(start, words, tmp_path):
    """As two processes of one machine, and as one process."""
    machines = tmp_path / "machines"
    codes, told = end(*agents(start, words(machines, epochs=2)))
    assert codes == [0, 0], told
    assert json.loads((machines / "run.json").read_text())["ranks"]["size"] == 2
    for size in (2, 1):
        out = tmp_path / f"processes-{size}"
        started = Ranks(tmp_path / f"told-{size}", size, words(out, epochs=2)[1:])
        assert started.end() == [0] * size, started.told()
        np.testing.assert_allclose(losses(machines), losses(out), rtol=0, atol=1e-5)
        one, other = (read_tensors(run / "weights.safetensors") for run in (machines, out))
        for name, value in one.items():
            np.testing.assert_allclose(value, other[name], rtol=0, atol=1e-3)


def until(condition, *running, seconds=90):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, [each.poll() for each in running]
        time.sleep(0.05)


def lose(agent) -> None:
    """Cut the power of a machine: its agent, and what that has started."""
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    for pid in (agent.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    agent.communicate()


def test_a_machine_that_is_lost_ends_the_other(start, words, tmp_path):
    """The other one says that a rank is gone, and how to go on, before anything else."""
    out = tmp_path / "run"
    command = words(out, epochs=1000, save_every=1)
    running = agents(start, command, STEP_S="0.05")
    until(lambda: len(read_rows(out / "log.jsonl")) > 1, *running)
    left, lost = running
    lose(lost)
    (code,), (told,) = end(left)
    assert code != 0
    errors = [line for line in told.splitlines() if "error[" in line]
    assert re.match(r"rank [01] of 2: error\[DIST-003\]: another rank ended", errors[0])
    assert "go on with --resume" in errors[0]
    assert state_files(out)


def script_of(guide: str) -> str:
    blocks = re.findall(r"```(?:bash)?\n(.*?)```", (GUIDES / guide).read_text(), re.S)
    (script,) = [block for block in blocks if "#SBATCH" in block]
    return script


@pytest.fixture
def slurm(tmp_path):
    """Run a script as SLURM would, with a scheduler that only notes what it is asked."""
    tools = tmp_path / "tools"
    tools.mkdir()
    scontrol = (
        'if [ "$1" = show ]; then printf "node7\\nnode8\\n"; else echo "$@" >> "$ASKED"; fi\n'
    )
    srun = 'echo "srun $@" >> "$ASKED"; exit "$SRUN_CODE"\n'
    for name, content in (("scontrol", scontrol), ("srun", srun)):
        (tools / name).write_text("#!/bin/bash\n" + content)
        (tools / name).chmod(0o755)

    def run(guide, *, code=0):
        file, asked = tmp_path / "job.sh", tmp_path / "asked"
        file.write_text(script_of(guide))
        subprocess.run(["bash", "-n", file], check=True)
        asked.write_text("")
        job = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_NNODES": "2"}
        path = {"PATH": f"{tools}:{os.environ['PATH']}", "ASKED": str(asked)}
        subprocess.run(["bash", file], env={**os.environ, **job, **path, "SRUN_CODE": str(code)})
        return asked.read_text().splitlines()

    return run


def test_the_script_for_several_machines_hands_torchrun_what_slurm_says(slurm):
    (asked,) = slurm("many-gpus.md")
    words = asked.split()
    told = get_args_parser().parse_args(words[words.index("torchrun") + 1 :])
    assert (told.nnodes, told.nproc_per_node, told.rdzv_id) == ("2", "4", "4711")
    assert (told.rdzv_backend, told.rdzv_endpoint) == ("c10d", "node7:29500")
    assert (told.module, told.training_script) == (True, "poselens")
    assert told.training_script_args[:2] == ["train", "rgb"]
    assert told.training_script_args[-1] == "--resume"


@pytest.mark.parametrize(("code", "queued"), [(143, ["requeue 4711"]), (0, []), (2, [])])
def test_the_script_for_one_machine_queues_a_stopped_job_again(slurm, code, queued):
    first, *others = slurm("training.md", code=code)
    assert first.startswith("srun poselens train rgb")
    assert others == queued
