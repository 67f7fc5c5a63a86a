"""A bundle: one folder with everything that prediction needs.

``bundle.json`` holds every stream's description and origin, the fusion weights and temperatures;
beside it lies one safetensors file per stream.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import poselens
from poselens.checkpoint import read_json, write_json
from poselens.errors import CheckpointError, UsageError
from poselens.fusion.weights import FusionWeights, fixed_weights, fusion_weights_from
from poselens.recognition.streams import TrainedStream, load_run, load_stream

BUNDLE_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Bundle:
    """Streams and how they are fused.

    Attributes:
        streams: One or more trained streams with the same classes.
        fusion: Their weights and temperatures.
        facts: The content of ``bundle.json``.
    """

    streams: Sequence[TrainedStream]
    fusion: FusionWeights
    facts: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.streams[0].stream.classes

    @property
    def selection(self) -> str:
        """How each stream's epoch and the fusion were chosen."""
        parts = [f"{s.stream.name}: {s.facts.get('selection', 'unknown')}" for s in self.streams]
        if len(self.streams) > 1:
            fitted = f", fitted on {self.fusion.n} validation clips" if self.fusion.n else ""
            parts.append(f"fusion: {self.fusion.method}{fitted}")
        return "; ".join(parts)


def write_bundle(
    out: Path, streams: Sequence[TrainedStream], fusion: FusionWeights
) -> dict[str, Any]:
    """Write a bundle and return the content of its ``bundle.json``.

    Raises:
        UsageError: ``RUN-001`` when ``out`` holds something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            "RUN-001", "the output exists already", file=out, mend="choose another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    for trained in streams:
        shutil.copyfile(trained.weights, out / f"{trained.stream.name}.safetensors")
    facts = {
        "format": BUNDLE_FORMAT,
        "poselens": poselens.__version__,
        "streams": [trained.facts for trained in streams],
        "fusion": fusion.as_dict(),
    }
    write_json(out / "bundle.json", facts)
    return facts


def load_bundle(folder: Path, *, device: torch.device) -> Bundle:
    """Read a bundle, or a run as a bundle of one stream.

    Raises:
        CheckpointError: ``CKPT-001`` nothing there, ``CKPT-010`` another format, else as
            ``poselens.recognition.streams``.
    """
    if not folder.is_dir():
        raise CheckpointError("CKPT-001", "no such folder", file=folder)
    if not (folder / "bundle.json").is_file():
        run = load_run(folder, device=device)
        return Bundle([run], fixed_weights([run.stream.name], "equal"), {"streams": [run.facts]})
    file = folder / "bundle.json"
    facts = read_json(file)
    if facts.get("format") != BUNDLE_FORMAT:
        raise CheckpointError(
            "CKPT-010", f"bundle format {facts.get('format')}, this is {BUNDLE_FORMAT}", file=file
        )
    streams = [
        load_stream(entry, folder / f"{_stream_name(entry)}.safetensors", device=device, file=file)
        for entry in facts["streams"]
    ]
    return Bundle(streams, fusion_weights_from(facts["fusion"], file=str(file)), facts)


def _stream_name(entry: dict[str, Any]) -> str:
    stream = entry.get("stream", {})
    return "rgb" if stream.get("branch") == "rgb" else str(stream.get("input", {}).get("stream"))
