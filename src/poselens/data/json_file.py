"""Reading JSON files that nobody has vouched for."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from poselens.data.arrays import Refuse
from poselens.errors import PoselensError

LIST_LIMIT = 4_000_000
"""Most lists and objects of a file: an empty one is three bytes there and sixty in memory."""


def read_json(path: Path, refuse: Refuse) -> Any:
    """Read a JSON file whose objects name every key once.

    Raises:
        refuse: When it is not JSON, is nested too deeply, repeats a key, or has more than four
            million lists and objects.
        OSError: When it is missing or not permitted.
    """

    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
            raise _at(refuse("a key is there twice"), f"key {twice[:80]!r}")
        return dict(pairs)

    text = path.read_bytes()
    lists = text.count(b"[") + text.count(b"{")
    if lists > LIST_LIMIT:
        raise refuse(f"{lists:,} lists and objects, the limit is {LIST_LIMIT:,}")
    try:
        return json.loads(text, object_pairs_hook=without_repeats)
    except json.JSONDecodeError as fault:
        place = f"line {fault.lineno} column {fault.colno}"
        raise _at(refuse("not valid JSON (JSONDecodeError)"), place) from fault
    except UnicodeDecodeError as fault:
        raise _at(refuse("not valid JSON (UnicodeDecodeError)"), f"byte {fault.start}") from fault
    except (RecursionError, ValueError) as fault:
        raise refuse(f"not valid JSON ({type(fault).__name__})") from fault


def _at(fault: PoselensError, place: str) -> PoselensError:
    """Return an error with the place in the file."""
    fault.where = place
    return fault
