import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from poselens.data.children import Limits, in_children
from poselens.errors import EnvironmentFault, PoselensError, SkeletonError, VideoError


def double(number: int) -> int:
    return 2 * number


def misbehave(name: str) -> str:
    """Do what the name says; a function of a module, as children need."""
    if name == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "leave":
        os._exit(7)
    if name == "hang":
        time.sleep(60)
    if name == "swell":
        np.ones(10**9)
    if name == "memory":
        raise EnvironmentFault("ENV-007", "not enough memory to decode")
    if name == "refuse":
        raise SkeletonError("SKEL-001", "the skeleton file is missing", file=name)
    if name == "fault":
        raise ZeroDivisionError("ours")
    return name.upper()


def run(*names: str, workers: int = 2, seconds: float = 60.0):
    limits = Limits(seconds=seconds, memory=2**30)
    return dict(in_children(misbehave, names, file_of=Path, workers=workers, limits=limits))


def test_every_item_has_its_outcome():
    outcomes = list(in_children(double, range(50), file_of=lambda n: Path(str(n)), workers=3))
    assert sorted(outcomes) == [(number, 2 * number) for number in range(50)]


def test_no_items_start_no_child():
    assert list(in_children(double, [], file_of=lambda n: Path(str(n)))) == []


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("crash", "VID-090", "crash: the decoder crashed (signal 11)"),
        ("killed", "VID-090", "killed: the process that decoded it was killed"),
        ("leave", "VID-090", "leave: the decoder crashed (exit code 7)"),
        ("hang", "VID-091", "hang: not decoded within 2 s"),
        ("swell", "VID-092", "swell: takes more than 1.0 GiB of memory to decode"),
        ("memory", "VID-092", "memory: takes more than 1.0 GiB"),
    ],
)
def test_a_file_that_ends_its_child_is_named_and_the_others_go_on(name, code, words):
    outcomes = run("a", name, "b", "c", workers=1, seconds=2)
    fault = outcomes.pop(name)
    assert outcomes == {"a": "A", "b": "B", "c": "C"}
    assert isinstance(fault, VideoError)
    assert fault.code == code
    assert words in str(fault)
    assert fault.file == name
    assert fault.mend


def test_an_error_of_ours_is_an_outcome():
    fault = run("refuse", "a")["refuse"]
    assert isinstance(fault, SkeletonError)
    assert str(fault) == "refuse: the skeleton file is missing"


def test_a_fault_of_ours_is_raised_with_its_traceback():
    with pytest.raises(RuntimeError, match=r"fault: a fault in a child(?s:.*)ZeroDivisionError"):
        run("fault")


def test_children_end_with_the_iterator():
    outcomes = in_children(misbehave, ["a", "hang", "b"], file_of=Path, workers=2)
    assert next(outcomes)[1] == "A"
    start = time.monotonic()
    outcomes.close()
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("place", ["idle", "busy"])
def test_children_end_with_the_process_that_started_them(place, tmp_path):
    """Killed outright, as by a scheduler: nothing is left behind."""
    pids = tmp_path / "pids"
    work = "sleepy" if place == "busy" else "quick"
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from child_work import sleepy, quick\n"
        "from poselens.data.children import in_children\n"
        "if __name__ == '__main__':\n"
        f"    names = [{str(pids)!r}] * 2\n"
        f"    outcomes = in_children({work}, names, file_of=Path, workers=2)\n"
        "    next(outcomes)\n"
        "    time.sleep(60)\n"
    )
    (tmp_path / "child_work.py").write_text(
        "import os, time\n"
        "def quick(path):\n"
        "    with open(path, 'a') as file: file.write(f'{os.getpid()} ')\n"
        "    time.sleep(0.5)\n"
        "def sleepy(path):\n"
        "    quick(path)\n"
        "    time.sleep(600)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    with subprocess.Popen([sys.executable, str(script)], env=env) as parent:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if pids.exists() and len(pids.read_text().split()) == 2:
                break
            time.sleep(0.1)
        parent.kill()
    found = [int(pid) for pid in pids.read_text().split()]
    assert len(found) == 2
    while any(map(alive, found)):
        assert time.monotonic() < deadline, "a child outlived its parent"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with Path(f"/proc/{pid}/stat").open() as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


def test_outcomes_are_made_in_other_processes():
    found = dict(in_children(process_of, range(8), file_of=lambda n: Path(str(n)), workers=2))
    assert os.getpid() not in found.values()
    assert not any(isinstance(value, PoselensError) for value in found.values())


def process_of(_number: int) -> int:
    return os.getpid()
