"""Reading JSON files that nobody has vouched for."""

import json
from pathlib import Path
from typing import Any

from poselens.data.arrays import Refuse


def read_json(path: Path, refuse: Refuse) -> Any:
    """Read a JSON file whose objects name every key once.

    Raises:
        refuse: When it is not JSON, is nested too deeply, or repeats a key.
        OSError: When it is missing or not permitted.
    """

    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise refuse("a key is there twice")
        return dict(pairs)

    try:
        return json.loads(path.read_bytes(), object_pairs_hook=without_repeats)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, ValueError) as fault:
        raise refuse(f"not valid JSON ({type(fault).__name__})") from fault
