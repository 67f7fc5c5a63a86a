import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The real data sets, which are no part of the repository."""
    named = os.environ.get("POSELENS_SHARED")
    path = Path(named) if named else Path(__file__).parents[2] / "shared"
    if not (path / "data").is_dir():
        pytest.skip(f"no real data at {path}; set POSELENS_SHARED to the folder that holds data/")
    return path
