import subprocess
import sys

import pytest

import poselens

HEAVY = ("torch", "numpy", "scipy", "sklearn", "av", "matplotlib", "pydantic")


@pytest.mark.parametrize("module", ["poselens", "poselens.cli"])
def test_importing_is_light(module):
    asked = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    ended = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize("name", poselens.__all__)
def test_public_names_are_there_when_asked_for(name):
    assert name in dir(poselens)
    assert getattr(poselens, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'poselens' has no attribute 'Detector'"):
        _ = poselens.Detector
