"""``sweep.json``: the axes of a sweep, and the folder and outcome of each of its runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import poselens
from poselens.checkpoint import make_folder, read_json, write_json
from poselens.errors import CheckpointError, UsageError
from poselens.recipes.combinations import Axis, Combination, digest
from poselens.recipes.workers import Ended
from poselens.training.claim import CONFIG_FILE, RUN_FILE
from poselens.training.run import Request

SWEEP_FILE = "sweep.json"
SWEEP_FORMAT = 1
_KEYS = {"branch": str, "recipe": str, "data": str, "protocol": str, "axes": dict, "runs": list}
_RUN_KEYS = {"folder": str, "values": dict, "outcome": str}


@dataclass(frozen=True, eq=False)
class Sweep:
    """What to train.

    Attributes:
        request: As for one run; ``out`` is the folder of the sweep.
        branch: ``rgb`` or ``skeleton``.
        axes: Settings and their values.
        settings: ``key=value`` for every run.
        jobs: Processes.
        score: Part to score with each finished run's weights, or None.
    """

    request: Request
    branch: str
    axes: Sequence[Axis]
    settings: Sequence[str] = ()
    jobs: int = 1
    score: str | None = None


def read_sweep(path: Path) -> dict[str, Any]:
    """Read ``sweep.json``.

    Raises:
        CheckpointError: ``CKPT-001`` missing, ``CKPT-002`` no JSON object, ``SWP-006`` of another
            format, or a key that is missing or of another kind.
    """

    def refuse(message: str) -> CheckpointError:
        return CheckpointError("SWP-006", message, file=path, mend="sweep again into another --out")

    facts = read_json(path)
    if facts.get("format") != SWEEP_FORMAT:
        raise refuse(f"sweep format {facts.get('format')}, this is {SWEEP_FORMAT}")
    for key, kind in _KEYS.items():
        if not isinstance(facts.get(key), kind):
            raise refuse(f"{key} is missing, or of another kind")
    for run in facts["runs"]:
        for key, kind in _RUN_KEYS.items():
            if not isinstance(run, dict) or not isinstance(run.get(key), kind):
                raise refuse(f"{key} of a run is missing, or of another kind")
        if run["values"].keys() != facts["axes"].keys() or "/" in run["folder"]:
            raise refuse(f"run {run['folder']!r} does not belong to the axes")
    return facts


@dataclass(eq=False)
class Record:
    """The content of ``sweep.json`` while the sweep goes on."""

    path: Path
    about: dict[str, Any]
    runs: dict[str, dict[str, Any]]

    def facts(self) -> dict[str, Any]:
        """Return the content of the file: the axes with every value that a run has."""
        axes: dict[str, list[Any]] = {key: [] for key in self.about["axes"]}
        for run in self.runs.values():
            for key, value in run["values"].items():
                if value not in axes[key]:
                    axes[key].append(value)
        return {**self.about, "axes": axes, "runs": list(self.runs.values())}

    def note(self, name: str, ended: Ended) -> None:
        """Write down what came of a run; one that was complete before keeps its time."""
        run = self.runs[name]
        again = run["outcome"] == ended.outcome == "complete"
        run |= {
            "outcome": ended.outcome,
            "error": None if ended.error is None else dict(ended.error),
            "selection": ended.selection,
            "seconds": run.get("seconds") if again else ended.seconds,
        }
        self.write()

    def write(self) -> None:
        """Write the file.

        Raises:
            EnvironmentFault: ``ENV-001`` to ``ENV-003``.
        """
        write_json(self.path, self.facts())


def kept_order(sweep: Sweep) -> list[Axis]:
    """Return the axes in the order of the sweep that the folder holds; names follow it."""
    path = sweep.request.out / SWEEP_FILE
    order = list(read_sweep(path)["axes"]) if path.exists() else []
    return sorted(
        sweep.axes, key=lambda axis: order.index(axis.key) if axis.key in order else len(order)
    )


def opened(sweep: Sweep, wanted: Sequence[Combination]) -> tuple[Record, list[Combination]]:
    """Make the sweep's folder, or go on with the one that is there.

    A combination whose values a run of the folder has already takes that run's name.

    Raises:
        UsageError: ``SWP-003`` the folder holds another sweep, ``SWP-004`` it holds something else,
            ``RUN-001`` stopped runs and no ``request.resume``.
        CheckpointError: As :func:`read_sweep`.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    request = sweep.request
    about = {
        "format": SWEEP_FORMAT,
        "poselens": poselens.__version__,
        "branch": sweep.branch,
        "recipe": request.recipe,
        "data": str(request.root),
        "protocol": request.protocol,
        "settings": list(sweep.settings),
        "axes": [axis.key for axis in sweep.axes],
    }
    path = request.out / SWEEP_FILE
    runs: dict[str, dict[str, Any]] = {}
    if path.exists():
        kept = read_sweep(path)
        _require_same(kept, about, path)
        runs = {run["folder"]: run for run in kept["runs"]}
        about["axes"] = list(kept["axes"])
    elif request.out.exists() and (not request.out.is_dir() or any(request.out.iterdir())):
        raise UsageError(
            "SWP-004",
            "the output exists already and is no sweep",
            file=request.out,
            mend="choose another --out",
        )
    make_folder(request.out)
    named = [_under_its_name(each, runs) for each in wanted]
    for each in named:
        known = {"folder": each.name, "values": dict(each.values)}
        runs.setdefault(each.name, {**known, "outcome": "waiting", "error": None})
    if not request.resume:
        _require_unstopped(request.out, named)
    return Record(path, about, runs), named


def _under_its_name(wanted: Combination, runs: Mapping[str, Mapping[str, Any]]) -> Combination:
    for name, run in runs.items():
        if run["values"] == wanted.values:
            return replace(wanted, name=name)
    if wanted.name not in runs:
        return wanted
    # other values that the name does not tell apart
    return replace(wanted, name=f"{wanted.name}~{digest(wanted.values)}")


def _require_same(kept: Mapping[str, Any], about: Mapping[str, Any], path: Path) -> None:
    free = ("poselens", "data")
    for key in about:
        before = kept.get(key)
        if key == "axes":
            before = list(kept["axes"])
        same = set(kept["axes"]) == set(about[key]) if key == "axes" else before == about[key]
        if key not in free and not same:
            raise UsageError(
                "SWP-003",
                f"this sweep was made with {key} {before}, not {about[key]}",
                file=path,
                mend="undo the change, or choose another --out",
            )


def _require_unstopped(out: Path, wanted: Sequence[Combination]) -> None:
    stopped = [
        each.name
        for each in wanted
        if (out / each.name / CONFIG_FILE).exists() and not (out / each.name / RUN_FILE).exists()
    ]
    if stopped:
        raise UsageError(
            "RUN-001",
            f"{len(stopped)} runs of this sweep are not finished, the first {stopped[0]}",
            file=out,
            mend="add --resume to go on with them, or choose another --out",
        )
