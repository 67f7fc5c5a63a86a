import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from poselens.training.config import Recipe, RgbSection, SkeletonSection
from poselens.training.run import Request

TINY = {
    "name": "tiny-test",
    "rgb": {
        "network": {"backbone": "resnet18", "width": 0.125, "staa_blocks": "once", "dropout": 0.2},
        "input": {"segments": 2, "snippet_length": 3, "snippet": "random", "scale": 36, "size": 32},
        "augment": {"scales": [1.0, 0.9], "brightness": 0.2},
        "training": {"epochs": 2, "batch_size": 3, "lr": 0.02, "workers": 0, "milestones": [1]},
    },
    "skeleton": {
        "network": {"width": 8, "blocks": [1, 1], "dropout": 0.2},
        "input": {"window": 8, "footing": "body"},
        "augment": {"noise": 0.01, "flip": 0.5},
        "training": {
            "epochs": 2,
            "batch_size": 3,
            "lr": 0.05,
            "nesterov": True,
            "workers": 0,
            "schedule": "cosine",
            "warmup_epochs": 1,
            "clip_norm": None,
        },
    },
}


def section(branch: str, **training: object) -> RgbSection | SkeletonSection:
    recipe = Recipe.model_validate(TINY)
    chosen = recipe.rgb if branch == "rgb" else recipe.skeleton
    return chosen.model_copy(update={"training": chosen.training.model_copy(update=training)})


@pytest.fixture(scope="session")
def tiny_section() -> Callable[..., RgbSection | SkeletonSection]:
    """Return the tiny recipe's section of a branch, with settings of the loop changed."""
    return section


@pytest.fixture
def tiny_request(tiny_folder: Path, tmp_path: Path) -> Callable[..., Request]:
    """Return a request on the tiny data set."""

    def make(**changes: object) -> Request:
        facts = {
            "root": tiny_folder,
            "protocol": "p",
            "recipe": "tiny-test",
            "out": tmp_path / "run",
            "device": "cpu",
            "resume": False,
        }
        return Request(**{**facts, **changes})

    return make


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny-test.yaml"
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    return path


@pytest.fixture
def spoiled(tiny_folder: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a copy of the tiny data set in which the videos of some clips are cut short."""

    def spoil(*clips: str) -> Path:
        root = tmp_path / "spoiled"
        shutil.copytree(tiny_folder, root, ignore=shutil.ignore_patterns(".cache"))
        for clip in clips:
            (root / "videos" / f"{clip}.mp4").write_bytes(b"not a video at all" * 20)
        return root

    return spoil


SLOWED = """
import time
from poselens.cli import main
from poselens.training.stepping import EagerStep
quick = EagerStep.__call__
def slow(*arguments):
    time.sleep(0.1)
    return quick(*arguments)
EagerStep.__call__ = slow
main()
"""


class Command:
    """The command line in a process of its own, slow enough for a test to signal it."""

    def __init__(self, *arguments: str) -> None:
        source = str(Path(__file__).parents[2] / "src")
        self.process = subprocess.Popen(
            [sys.executable, "-c", SLOWED, *arguments],
            env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self, timeout: float = 60) -> tuple[int, str]:
        _, told = self.process.communicate(timeout=timeout)
        return self.process.returncode, told


@pytest.fixture
def command():
    """Start commands; what still runs at the end of the test is killed."""
    started: list[Command] = []

    def start(*arguments: str | Path) -> Command:
        started.append(Command(*map(str, arguments)))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.process.pid, signal.SIGKILL)
            each.process.communicate()
