"""Read a robustness card back from its JSON, for a report that shows it."""

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from poselens.errors import InputError
from poselens.evaluation.robustness import Curve, Point, RobustnessCard, Trial

CARD_LIMIT = 64 * 1024 * 1024
"""Largest file that is read, in bytes."""

_POINT = TypeAdapter(Point)
_CARD = TypeAdapter(RobustnessCard)


def read_card(path: Path) -> RobustnessCard:
    """Read the JSON that ``poselens robustness`` writes beside its page.

    Raises:
        InputError: ``EVAL-065`` missing, too large, no JSON, or not such a card.
    """
    try:
        if path.stat().st_size > CARD_LIMIT:
            raise _refused(f"larger than {CARD_LIMIT} bytes", path)
        text = path.read_text(encoding="utf-8")
        facts = json.loads(text, parse_constant=_finite, parse_float=_finite)
        return _CARD.validate_python(
            {
                **{name: facts[name] for name in ("dataset", "protocol", "part", "clips", "of")},
                **{name: facts[name] for name in ("chance", "notes", "facts", "command")},
                "undisturbed": _points(facts["undisturbed"]),
                "without": _points(facts["without"]),
                "trials": [_trial(name, trial) for name, trial in facts["kinds"].items()],
            }
        )
    except OSError as fault:
        raise _refused(f"cannot be read: {fault.strerror}", path) from fault
    except KeyError as fault:
        raise _refused(f"{fault.args[0]} is missing", path) from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _refused(f"{place}: {first['msg']}", path) from fault
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as fault:
        raise _refused(f"not a card: {fault}", path) from fault


def _points(found: Mapping[str, Any]) -> list[tuple[str, Point]]:
    return [(str(name), _POINT.validate_python(point)) for name, point in found.items()]


def _trial(name: str, found: Mapping[str, Any]) -> Trial:
    curves = [
        Curve(str(stream), [_POINT.validate_python(point) for point in curve["points"]])
        for stream, curve in found["streams"].items()
    ]
    if not all(curve.points and curve.points[0].change is None for curve in curves):
        raise ValueError(f"{name} has a stream that does not begin undisturbed")
    title, unit, phrase = (str(found[key]) for key in ("title", "unit", "phrase"))
    return Trial(str(name), title, unit, phrase, curves)


def _finite(text: str) -> float:
    if not isfinite(float(text)):
        raise ValueError(f"{text} is no number")
    return float(text)


def _refused(message: str, path: Path) -> InputError:
    return InputError(
        "EVAL-065", message, file=path, mend="give the .json that poselens robustness wrote"
    )
