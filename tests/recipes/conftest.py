from pathlib import Path

import pytest
from drawn import Drawn, make_once


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return make_once(tmp_path_factory)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No weights at hand, whatever this machine has."""
    monkeypatch.setenv("POSELENS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
