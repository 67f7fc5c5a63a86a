import os
import subprocess
import sys

import pytest

from poselens.errors import EnvironmentFault, UsageError
from poselens.training.claim import CONFIG_FILE, LOCK_FILE, claimed


def refused(out, resume, code, told, kind=UsageError):
    with pytest.raises(kind, match=told) as caught, claimed(out, resume=resume):
        pytest.fail("claimed")
    assert caught.value.code == code


def test_a_new_folder_is_made(tmp_path):
    with claimed(tmp_path / "a" / "b", resume=False):
        assert os.listdir(tmp_path / "a" / "b") == [LOCK_FILE]
    # what was refused before it wrote anything may be tried again
    with claimed(tmp_path / "a" / "b", resume=False):
        pass


def test_a_used_output_is_refused(tmp_path):
    (tmp_path / CONFIG_FILE).touch()
    refused(tmp_path, False, "RUN-001", r"output exists already.*add --resume")
    with claimed(tmp_path, resume=True):
        pass


def test_a_folder_of_something_else_is_refused_even_to_resume(tmp_path):
    (tmp_path / "thesis.tex").touch()
    (tmp_path / "data.csv").touch()
    refused(tmp_path, True, "RUN-004", r"no run, but 2 other files \(data.csv\)")
    assert sorted(os.listdir(tmp_path)) == ["data.csv", "thesis.tex"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_in_the_way_is_refused(tmp_path, resume):
    (tmp_path / "file").touch()
    refused(tmp_path / "file", resume, "RUN-002", "a file is in the way")
    refused(tmp_path / "file" / "run", resume, "RUN-002", "a file is in the way")


@pytest.mark.parametrize("call", ["mkdir", "open"])
def test_an_output_that_cannot_be_written_is_refused(tmp_path, monkeypatch, call):
    def forbidden(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, call, forbidden)
    refused(tmp_path / "run", False, "ENV-001", "no permission to write", EnvironmentFault)


def test_one_run_a_folder(tmp_path):
    hold = (
        "import sys, pathlib\n"
        "from poselens.training.claim import claimed\n"
        "with claimed(pathlib.Path(sys.argv[1]), resume=True):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    source = os.path.join(os.path.dirname(__file__), "..", "..", "src")
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source},
    )
    try:
        assert other.stdout.readline() == b"held\n"
        refused(tmp_path, True, "RUN-008", "another process is training in this folder")
    finally:
        other.kill()
        other.communicate()
    with claimed(tmp_path, resume=True):
        pass


def test_remains_of_a_killed_write_are_swept(tmp_path):
    (tmp_path / CONFIG_FILE).touch()
    (tmp_path / ".poselens-abc").touch()
    with claimed(tmp_path, resume=True):
        assert sorted(os.listdir(tmp_path)) == [LOCK_FILE, CONFIG_FILE]


def test_a_file_system_without_locks_is_no_fault(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.lockf", unsupported)
    with claimed(tmp_path / "run", resume=False):
        pass
