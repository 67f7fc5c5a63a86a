from pathlib import Path

import pytest
from drawn import Drawn, make_once

from poselens.recognition.recognizer import Recognizer


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return make_once(tmp_path_factory)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights at hand, whatever this machine has."""
    monkeypatch.setenv("POSELENS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def recognizer(drawn: Drawn) -> Recognizer:
    """RGB and joints in metres, without an estimator."""
    return Recognizer.load(drawn.bundle, device="cpu", pose=None)


@pytest.fixture(scope="session")
def rgb_only(drawn: Drawn) -> Recognizer:
    return Recognizer.load(drawn.rgb, device="cpu", pose=None)


@pytest.fixture(scope="session")
def skeleton_only(drawn: Drawn) -> Recognizer:
    return Recognizer.load(drawn.joint, device="cpu", pose=None)
