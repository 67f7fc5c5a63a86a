"""Exit codes, one line per error, and one JSON object on stdout whatever happens."""

import errno
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from poselens.errors import (
    CheckpointError,
    EnvironmentFault,
    InputError,
    NumericFault,
    PoselensError,
    SkeletonError,
    UsageError,
)

SRC = str(Path(__file__).parents[2] / "src")
COMMANDS = (
    "data", "train", "fuse", "evaluate", "compare", "report", "predict", "run", "cost", "weights",
    "doctor", "demo", "contrast", "pose", "protocols", "table", "crossval", "pool", "robustness",
    "explain",
)  # fmt: skip


def start(*words, **options):
    environment = {**os.environ, "PYTHONPATH": SRC, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "poselens", *map(str, words)],
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


@pytest.fixture
def failing(monkeypatch):
    """Let ``poselens doctor`` raise."""

    def with_fault(fault):
        def look():
            raise fault

        # the name poselens.cli.doctor is the command's function
        monkeypatch.setattr(import_module("poselens.cli.doctor"), "_python", look)

    return with_fault


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (UsageError, 2),
        (InputError, 3),
        (SkeletonError, 3),
        (CheckpointError, 4),
        (EnvironmentFault, 5),
        (NumericFault, 1),
        (PoselensError, 70),
    ],
)
def test_each_kind_of_error_has_its_exit_code(poselens, failing, kind, code):
    failing(kind("XYZ-001", "found 3, expected 4", file="a.mp4", where="line 2", mend="mend it"))
    answer = poselens("doctor")
    assert answer.code == code
    assert answer.out == ""
    assert answer.err == ("error[XYZ-001]: a.mp4:line 2: found 3, expected 4. Mend: mend it\n")


def test_an_error_is_one_json_object_where_that_was_asked_for(poselens, failing):
    failing(UsageError("XYZ-001", "found 3", file="é.mp4"))
    answer = poselens("doctor", "--json")
    assert answer.facts == {
        "error": {
            "code": "XYZ-001",
            "message": "found 3",
            "file": "é.mp4",
            "where": None,
            "mend": None,
        }
    }
    assert answer.err.startswith("error[XYZ-001]")


@pytest.mark.parametrize(
    ("words", "text", "mend"),
    [
        (["doctor", "--jsn"], "No such option: --jsn", "poselens doctor --help"),
        (["doctr"], "No such command 'doctr'", "poselens --help"),
        (["train", "rgbb"], "No such command 'rgbb'", "poselens train --help"),
        (["cost"], "Missing option '--recipe'", "poselens cost --help"),
        (["predict"], "Missing argument", "poselens predict --help"),
        (["cost", "--recipe", "tiny", "--classes", "two"], "'--classes'", "poselens cost --help"),
        (["cost", "--recipe", "tiny", "--classes", "1"], "'--classes'", "poselens cost --help"),
        (["data", "import", "zip", "a", "--out", "b"], "'zip' is not one of", "data import --help"),
        (["data", "synth", "--out", "b", "--clips", "3"], "'--clips'", "data synth --help"),
    ],
)
def test_a_command_line_that_cannot_be_read(poselens, words, text, mend):
    for more in ([], ["--json"]):
        answer = poselens(*words, *more)
        assert answer.code == 2
        assert answer.err.startswith("error[CFG-011]: ")
        assert text in answer.err
        assert f"{mend}\n" in answer.err
    assert answer.facts["error"]["code"] == "CFG-011"


@pytest.mark.parametrize("words", [[], ["data"], ["train"], ["weights"]])
def test_nothing_asked_gives_help_and_exit_2(poselens, words):
    answer = poselens(*words)
    assert answer.code == 2
    assert "Usage: poselens" in answer.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(poselens, command):
    answer = poselens(command, "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"Usage: poselens {command}")
    assert answer.err == ""


def test_the_list_of_commands_is_told_in_whole_sentences(poselens):
    listed = poselens("--help").out.split("Commands:")[1].strip().splitlines()
    assert {line.split()[0] for line in listed} == set(COMMANDS)
    for line in listed:
        assert line.endswith(".")
        assert "..." not in line


def test_a_bug_keeps_its_traceback_in_a_file(poselens, failing, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing(ZeroDivisionError("oops"))
    answer = poselens("doctor", "--json")
    assert answer.code == 70
    assert answer.facts["error"]["code"] == "BUG-001"
    (file,) = tmp_path.glob("poselens-error-*.txt")
    assert str(file) in answer.err
    assert "ZeroDivisionError: oops" in file.read_text()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "ENV-001"),
        (OSError(errno.ENOSPC, "No space left on device"), "ENV-002"),
        (MemoryError(), "ENV-007"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), "ENV-012"),
        (RuntimeError("CUDA error: out of memory"), "ENV-012"),
    ],
)
def test_the_machines_faults_are_no_bugs(poselens, failing, fault, code):
    failing(fault)
    answer = poselens("doctor", "--json")
    assert answer.code == 5
    assert answer.facts["error"]["code"] == code


def test_an_interruption_is_one_line(poselens, failing):
    failing(KeyboardInterrupt())
    answer = poselens("doctor")
    assert (answer.code, answer.out, answer.err) == (130, "", "interrupted\n")


@pytest.mark.parametrize("words", [["weights", "list"], ["weights", "--help"]])
def test_a_reader_that_has_gone(words):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = start(*words, stdout=writing)
    finally:
        os.close(writing)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 141
    assert err == ""


def test_a_full_disk_under_stdout():
    with open("/dev/full", "w") as full:
        process = start("weights", "list", "--json", stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "No space left on device" in err
    assert "Traceback" not in err


def test_ctrl_c_while_a_command_works(tmp_path):
    process = start("data", "synth", "--out", tmp_path / "data", "--clips", 5000, "--workers", 1)
    while not list(tmp_path.glob(".poselens-data-*/videos/*.mp4")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    # nothing half-written stays behind
    assert list(tmp_path.iterdir()) == []
