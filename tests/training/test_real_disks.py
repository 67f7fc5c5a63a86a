"""Disks that are read-only or full in earnest, where this process may mount some."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

from poselens.data.folder import open_folder
from poselens.errors import EnvironmentFault
from poselens.training.run import train
from poselens.training.states import state_files


def mounted(point: Path, *words: str) -> None:
    """Mount something, or skip the test with the reason."""
    told = subprocess.run(["mount", *words, str(point)], capture_output=True, text=True)
    if told.returncode:
        pytest.skip(f"this process may not mount: {told.stderr.strip()}")


@pytest.fixture
def disk(tmp_path):
    """Return what mounts a disk of so many KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    points = []

    def make(kilobytes):
        point = tmp_path / f"disk-{len(points)}"
        point.mkdir()
        mounted(point, "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs")
        points.append(point)
        return point

    yield make
    for point in points:
        subprocess.run(["umount", str(point)], check=True)


def turn(point: Path, way: str) -> None:
    mounted(point, "-o", f"remount,{way}")


@pytest.fixture
def go(tiny_folder, tiny_section, tiny_request):
    def go(out, *, resume=False, **training):
        section = tiny_section("skeleton", **training)
        return train(open_folder(tiny_folder), section, tiny_request(out=out, resume=resume))

    return go


def test_a_read_only_disk_is_found_before_the_first_step(disk, go):
    point = disk(4096)
    turn(point, "ro")
    with pytest.raises(EnvironmentFault, match="no permission to write") as caught:
        go(point / "run")
    assert (caught.value.code, caught.value.exit_code) == ("ENV-001", 5)
    assert not list(point.iterdir())


def test_a_disk_that_became_read_only_is_told_at_a_resume(disk, go, monkeypatch):
    """And the run goes on, to the same bits, once it can be written again."""
    point = disk(8192)
    real, steps = torch.optim.SGD.step, []

    def step(self, *arguments, **options):
        steps.append(1)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return real(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(torch.optim.SGD, "step", step)
        with pytest.raises(KeyboardInterrupt):
            go(point / "run", save_every=1)
    before = {path.name: path.read_bytes() for path in state_files(point / "run")}
    turn(point, "ro")
    with pytest.raises(EnvironmentFault, match="no permission to write") as caught:
        go(point / "run", save_every=1, resume=True)
    assert (caught.value.code, caught.value.exit_code) == ("ENV-001", 5)
    turn(point, "rw")
    assert before == {path.name: path.read_bytes() for path in state_files(point / "run")}
    go(point / "run", save_every=1, resume=True)
    go(point.parent / "whole", save_every=1)
    one, other = (
        (run / "weights.safetensors").read_bytes()
        for run in (point / "run", point.parent / "whole")
    )
    assert one == other


def test_a_disk_without_room_for_the_states_is_found_before_the_first_step(disk, go):
    with pytest.raises(EnvironmentFault, match="free") as caught:
        go(disk(64) / "run")
    assert (caught.value.code, caught.value.exit_code) == ("ENV-002", 5)


def test_a_disk_that_fills_up_keeps_what_was_saved(disk, go, monkeypatch):
    point = disk(8192)
    real, steps = torch.optim.SGD.step, []

    def step(self, *arguments, **options):
        steps.append(1)
        if len(steps) == 3:
            room = os.statvfs(point)
            (point / "other").write_bytes(bytes(room.f_bavail * room.f_bsize))
        return real(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(torch.optim.SGD, "step", step)
        with pytest.raises(EnvironmentFault, match="the disk is full") as caught:
            go(point / "run", save_every=1)
    assert (caught.value.code, caught.value.exit_code) == ("ENV-002", 5)
    kept = state_files(point / "run")
    assert [path.stem for path in kept] == ["000000-00000002", "000000-00000001"]
    (point / "other").unlink()
    go(point / "run", save_every=1, resume=True)
    assert (point / "run" / "weights.safetensors").exists()
