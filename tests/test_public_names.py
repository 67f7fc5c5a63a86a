"""The public surface is what ``__all__`` says, and touching it costs nothing before it is used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import poselens

SRC = str(Path(__file__).parents[1] / "src")
HEAVY = ("torch", "av", "scipy", "sklearn", "matplotlib", "numpy")


def loaded_after(code: str) -> set[str]:
    """Return which heavy packages a fresh interpreter holds after running ``code``."""
    shown = f"{code}\nimport sys; print('loaded', *(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run(
        [sys.executable, "-c", shown],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": SRC},
    )
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("name", poselens.__all__)
def test_a_public_name_is_there_and_documented(name):
    assert getattr(poselens, name).__doc__
    assert name in dir(poselens)


def test_the_names_are_those_that_types_are_checked_with():
    assert len(set(poselens.__all__)) == len(poselens.__all__)
    assert set(poselens._HOMES) == set(poselens.__all__)


def test_a_name_that_does_not_exist():
    with pytest.raises(AttributeError, match="has no attribute 'recognise'"):
        _ = poselens.recognise


def test_importing_poselens_imports_nothing_heavy():
    assert loaded_after("import poselens") == set()


@pytest.mark.parametrize(
    "words", [["--help"], ["predict", "--help"], ["train", "rgb", "--help"], ["nonsense"]]
)
def test_help_imports_nothing_heavy(words):
    assert loaded_after(f"from poselens.cli import _run; _run({words!r})") == set()


def test_the_nouns_need_no_network_library():
    assert "torch" not in loaded_after("from poselens import Skeleton, Box, Scores, open_folder")
