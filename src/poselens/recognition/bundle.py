"""A bundle: one folder with everything that prediction needs.

``bundle.json`` holds every stream's description and origin, the fusion weights and temperatures;
beside it lies one safetensors file per stream.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import poselens
from poselens.checkpoint import make_folder, read_json, write_bytes, write_json
from poselens.clips.stream import read_stream
from poselens.errors import CheckpointError, UsageError
from poselens.evaluation.unknown import Threshold
from poselens.fusion.scores import align
from poselens.fusion.weights import FusionWeights, fixed_weights, fusion_weights_from
from poselens.pose.weights import sha256_of
from poselens.recognition.streams import TrainedStream, load_run, load_stream
from poselens.types import Scores

BUNDLE_FORMAT = 1
BUNDLE_FILE = "bundle.json"


@dataclass(frozen=True, eq=False)
class Bundle:
    """Streams and how they are fused.

    Attributes:
        streams: One or more trained streams with the same classes.
        fusion: Their weights and temperatures.
        facts: The content of ``bundle.json``.
        unknown: Below which confidence no class is named, where that was asked for.
    """

    streams: Sequence[TrainedStream]
    fusion: FusionWeights
    facts: dict[str, Any]
    unknown: Threshold | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.streams[0].stream.classes

    @property
    def selection(self) -> str:
        """How each stream's epoch and the fusion were chosen."""
        parts = [f"{s.stream.name}: {s.facts.get('selection', 'unknown')}" for s in self.streams]
        if len(self.streams) > 1:
            how = f"{self.fusion.method} weights" + (" per class" if self.fusion.per_class else "")
            how += " for accuracy" if self.fusion.objective == "accuracy" else ""
            parts.append(
                f"fusion: {how}, on {self.fusion.n} validation clips"
                if self.fusion.n
                else f"fusion: {how}"
            )
        return "; ".join(parts)


def require_fusible(streams: Sequence[TrainedStream]) -> None:
    """Refuse streams that cannot be fused.

    Raises:
        UsageError: ``FUS-001`` for no stream or one name twice, ``FUS-002`` for other classes.
    """
    align([_without_clips(trained) for trained in streams])


def _without_clips(trained: TrainedStream) -> Scores:
    classes = trained.stream.classes
    nothing = np.zeros((0, len(classes)), np.float32)
    return Scores(nothing, [], np.zeros(0, np.int64), classes, trained.stream.name)


def write_bundle(
    out: Path,
    streams: Sequence[TrainedStream],
    fusion: FusionWeights,
    judged: Mapping[str, Any] | None = None,
    *,
    unknown: Threshold | None = None,
) -> dict[str, Any]:
    """Write a bundle and return the content of its ``bundle.json``, which is written last.

    Args:
        out: Its folder.
        streams: What was trained.
        fusion: Weights and temperatures.
        judged: What the fusion did on validation, told beside its weights.
        unknown: Below which confidence no class is named.

    Raises:
        UsageError: ``RUN-001`` when ``out`` holds something already, ``FUS-001``, ``FUS-002`` as
            :func:`require_fusible`.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    require_fusible(streams)
    require_unused(out)
    make_folder(out)
    entries = []
    for trained in streams:
        target = out / f"{trained.stream.name}.safetensors"
        write_bytes(target, trained.weights.read_bytes())
        # a bundle is passed on; by which command and on whose machine a run was made is not
        kept = {name: fact for name, fact in trained.facts.items() if name != "environment"}
        entries.append({**kept, "sha256": sha256_of(target)})
    facts = {
        "format": BUNDLE_FORMAT,
        "poselens": poselens.__version__,
        "streams": entries,
        "fusion": {**fusion.as_dict(), **(judged or {})},
    }
    if unknown is not None:
        facts["unknown"] = unknown.as_dict()
    write_json(out / BUNDLE_FILE, facts)
    return facts


def require_unused(out: Path) -> None:
    """Refuse an output that holds something already.

    Raises:
        UsageError: ``RUN-001``.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            "RUN-001", "the output exists already", file=out, mend="choose another --out"
        )


def load_bundle(folder: Path, *, device: torch.device, folded: bool = True) -> Bundle:
    """Read a bundle, or a run as a bundle of one stream; ``folded`` as ``streams.load_stream``.

    Raises:
        CheckpointError: ``CKPT-001`` nothing there, ``CKPT-003`` weights that are not those the
            bundle was written with, ``CKPT-010`` another format, ``CKPT-015`` a ``bundle.json``
            that contradicts itself, else as ``poselens.recognition.streams``.
    """
    file = folder / BUNDLE_FILE
    if not file.is_file():
        run = load_run(folder, device=device, folded=folded)
        return Bundle([run], fixed_weights([run.stream.name], "equal"), {"streams": [run.facts]})
    facts = read_json(file)
    if facts.get("format") != BUNDLE_FORMAT:
        raise CheckpointError(
            "CKPT-010",
            f"bundle format {facts.get('format')}, this is {BUNDLE_FORMAT}",
            file=file,
            mend="use the version of poselens that wrote it",
        )
    entries = facts.get("streams")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CheckpointError("CKPT-015", "expected a list of streams", file=file, where="streams")
    streams = [_load_entry(entry, folder, file, device, folded) for entry in entries]
    fusion = fusion_weights_from(facts.get("fusion", {}), file=str(file))
    _require_consistent(streams, fusion, file)
    return Bundle(streams, fusion, facts, _threshold(facts.get("unknown"), file))


def _threshold(entry: Any, file: Path) -> Threshold | None:
    """Read what a bundle says about ``unknown``; bundles of earlier versions say nothing."""
    if entry is None:
        return None
    said = entry if isinstance(entry, dict) else {}
    numbers = [said.get(key) for key in ("threshold", "rate", "n")]
    value, rate, n = (
        float(each) if isinstance(each, int | float) and not isinstance(each, bool) else np.nan
        for each in numbers
    )
    if not (0 <= value <= 1 and 0 < rate < 1 and 1 <= n < np.inf):
        raise CheckpointError(
            "CKPT-015",
            f"expected a threshold and a rate from 0 to 1 and a number of clips, found {entry!r}",
            file=file,
            where="unknown",
        )
    return Threshold(value, rate, int(n))


def _load_entry(
    entry: dict[str, Any], folder: Path, file: Path, device: torch.device, folded: bool
) -> TrainedStream:
    stream = read_stream(entry.get("stream", {}), file=str(file))
    weights = folder / f"{stream.name}.safetensors"
    loaded = load_stream(entry, weights, device=device, file=file, folded=folded)
    found = sha256_of(weights)
    if entry.get("sha256", found) != found:
        raise CheckpointError(
            "CKPT-003",
            "its checksum is not the one in bundle.json: damaged, or exchanged",
            file=weights,
            mend="copy the bundle again",
        )
    return loaded


def _require_consistent(
    streams: Sequence[TrainedStream], fusion: FusionWeights, file: Path
) -> None:
    try:
        require_fusible(streams)
    except UsageError as fault:
        raise CheckpointError("CKPT-015", fault.message, file=file, where="streams") from fault
    names = {trained.stream.name for trained in streams}
    if names != fusion.weights.keys():
        raise CheckpointError(
            "CKPT-015",
            f"the streams are {', '.join(sorted(names))}, "
            f"the fusion's are {', '.join(sorted(fusion.weights))}",
            file=file,
            where="fusion",
        )
    classes = len(streams[0].stream.classes)
    for name, row in (fusion.per_class or {}).items():
        if len(row) != classes:
            raise CheckpointError(
                "CKPT-015",
                f"{name} has weights for {len(row)} classes, the streams have {classes}",
                file=file,
                where="fusion.per_class",
            )


def fusion_of(
    bundle: Bundle, names: Sequence[str]
) -> tuple[Mapping[str, float], Mapping[str, float], Mapping[str, Sequence[float]] | None]:
    """Return weights, temperatures and weights per class of some of a bundle's streams.

    Departure: as ``poselens.fusion.weights.FusionWeights.of``.
    """
    part = bundle.fusion.of(names)
    return part.weights, part.temperatures, part.per_class
