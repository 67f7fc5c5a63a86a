"""Trained streams read back from run folders and bundles, ready to score clips."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from poselens.checkpoint import load_weights, read_json, read_tensors
from poselens.clips.device import use_bf16
from poselens.clips.stream import RgbStream, SkeletonStream, build_network, read_stream
from poselens.errors import CheckpointError
from poselens.rgb.folded import fold
from poselens.rgb.network import RgbNetwork

RUN_FORMAT = 1
"""Format of ``run.json`` that can be read, as training writes it."""


@dataclass(frozen=True, eq=False)
class TrainedStream:
    """A network in evaluation mode, and what it was made from.

    Attributes:
        stream: Its description: classes, input, network.
        network: On ``device``, in evaluation mode; an RGB network is folded, unless it was loaded
            to be explained.
        device: Where it runs.
        facts: ``run.json``: data, selection, seed, hardware.
        weights: File the weights came from.
    """

    stream: RgbStream | SkeletonStream
    network: nn.Module
    device: torch.device
    facts: dict[str, Any]
    weights: Path


def load_run(folder: Path, *, device: torch.device, folded: bool = True) -> TrainedStream:
    """Read the stream of a finished run; ``folded`` as in :func:`load_stream`.

    Raises:
        CheckpointError: As :func:`read_facts` and :func:`load_stream`.
    """
    facts = read_facts(folder)
    return load_stream(
        facts,
        folder / "weights.safetensors",
        device=device,
        file=folder / "run.json",
        folded=folded,
    )


def read_facts(folder: Path) -> dict[str, Any]:
    """Read the ``run.json`` of a finished run.

    Raises:
        CheckpointError: ``CKPT-001`` no such folder, ``CKPT-014`` a folder that is no finished
            run, ``CKPT-002`` damaged.
    """
    if not folder.is_dir():
        raise CheckpointError(
            "CKPT-001", "no such folder", file=folder, mend="give a folder made by train or fuse"
        )
    if not (folder / "run.json").is_file():
        state = (folder / "states").is_dir() or (folder / "state.safetensors").is_file()
        raise CheckpointError(
            "CKPT-014",
            "the run is not finished" if state else "not a run or bundle: run.json is missing",
            file=folder,
            mend="finish it with --resume" if state else "give a folder made by train or fuse",
        )
    return read_json(folder / "run.json")


def load_stream(
    facts: dict[str, Any],
    weights: Path,
    *,
    device: torch.device,
    file: Path,
    folded: bool = True,
) -> TrainedStream:
    """Build a stream from its description and read its weights.

    Args:
        facts: ``run.json``, or an entry of ``bundle.json``.
        weights: File of the weights.
        device: Where it shall run.
        file: What the description was read from.
        folded: Fold an RGB network, which is faster; gradients want it as it was trained.

    Raises:
        CheckpointError: ``CKPT-010`` for another format, ``CKPT-012`` for a description that is
            not valid, ``CKPT-003`` for damaged weights, ``CKPT-004`` for those of another network.
    """
    if facts.get("format") != RUN_FORMAT:
        raise CheckpointError(
            "CKPT-010",
            f"run format {facts.get('format')}, this is {RUN_FORMAT}",
            file=file,
            mend="use the version of poselens that wrote it",
        )
    stream = read_stream(facts.get("stream", {}), file=str(file))
    network = build_network(stream)
    load_weights(network, read_tensors(weights), file=weights)
    network = network.to(device).eval()
    if folded and isinstance(network, RgbNetwork):
        # bfloat16 on a GPU, as in training there and in its validation
        network = fold(network, dtype=torch.bfloat16 if use_bf16("auto", device) else torch.float32)
    return TrainedStream(stream, network, device, facts, weights)
