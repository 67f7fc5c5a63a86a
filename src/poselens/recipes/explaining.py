"""Explain what a bundle or run says of some clips: strips, videos, a page, and checks of them.

This is where the streams' own attributions meet on the same frames. Each stream adds rows to the
strip of a clip (`_explain_clip`); nothing else knows which kind of network was asked.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import poselens
from poselens.checkpoint import make_folder, write_bytes, write_json
from poselens.clips.device import choose_device
from poselens.clips.stream import RgbStream
from poselens.data.folder import ClipFolder
from poselens.errors import InputError, UsageError
from poselens.evaluation.explain_page import ExplainedClip, ExplainPage, write_explain_page
from poselens.explain.cam import PIXEL_METHODS, Method, find_layer, require_plain
from poselens.explain.sanity import FEWEST
from poselens.explain.strips import Section, StripRow, render, strip_figure
from poselens.recipes.choosing import Chosen, classes_asked
from poselens.recipes.explained_sanity import RgbSanity, check_rgb
from poselens.recipes.heat_video import write_heat_video
from poselens.recipes.rgb_explaining import explain_rgb, rgb_rows
from poselens.recipes.seen_clip import SeenClip, see_clip
from poselens.recognition.bundle import Bundle, load_bundle
from poselens.recognition.streams import TrainedStream

FACTS_FILE, PAGE_FILE = "explanations.json", "index.html"


@dataclass(frozen=True)
class Asking:
    """How clips are explained.

    Attributes:
        method: One of ``explain.cam.METHODS``.
        layer: Layer of the RGB network; None for its last.
        about: ``predicted``, ``label``, ``pair``, or a class's name.
        video: Whether to write a video of each clip.
        sanity: Whether to check the attributions.
    """

    method: Method = "gradcam"
    layer: str | None = None
    about: str = "predicted"
    video: bool = False
    sanity: bool = False


def load_plain(model: Path, device: str) -> Bundle:
    """Read a bundle or run with networks as they were trained, and find what can be explained.

    Raises:
        UsageError: ``EXP-006`` for a model without an RGB stream.
        CheckpointError: As ``recognition.bundle``.
    """
    bundle = load_bundle(model, device=choose_device(device), folded=False)
    if not any(isinstance(trained.stream, RgbStream) for trained in bundle.streams):
        names = ", ".join(trained.stream.name for trained in bundle.streams)
        raise UsageError(
            "EXP-006",
            f"no stream of {names} sees pictures",
            file=model,
            mend="give a run or bundle with an RGB stream",
        )
    return bundle


@dataclass(eq=False)
class _Work:
    """What is asked about which clips, and what is gathered while they are explained."""

    bundle: Bundle
    folder: ClipFolder
    chosen: Chosen
    out: Path
    asking: Asking
    wanted: NDArray[np.int64]
    against: NDArray[np.int64] | None
    entries: list[dict[str, Any]] = field(default_factory=list)
    shown: list[ExplainedClip] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    # what the checks look at again: the stream, the clip as it saw it, the class
    seen: list[tuple[TrainedStream, SeenClip, int]] = field(default_factory=list)


def explain_clips(
    bundle: Bundle,
    folder: ClipFolder,
    protocol: str,
    chosen: Chosen,
    out: Path,
    asking: Asking,
    *,
    commands: Sequence[str] = (),
    told: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write strips, ``index.html`` and ``explanations.json`` of some clips; returns the facts.

    A clip that cannot be read is left out, and named with its reason.

    Args:
        bundle: Of `load_plain`.
        folder: The data set.
        protocol: Name of the split, to say which part each clip is in.
        chosen: The clips, and what the model says of them.
        out: Folder to write into.
        asking: What is asked, and how.
        commands: What was typed.
        told: Called with 1 after each clip.

    Raises:
        UsageError: ``EXP-002``, ``EXP-003`` as ``explain.cam``, ``EXP-010`` for a class that is
            not known.
        InputError: ``EVAL-011`` where not one clip can be read.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    wanted, against = classes_asked(asking.about, chosen, bundle.classes)
    layers = _layers(bundle, asking)
    make_folder(out / "clips")
    work = _Work(bundle, folder, chosen, out, asking, wanted, against, skipped={**chosen.skipped})
    for row, clip in enumerate(chosen.clips.tolist()):
        try:
            _explain_clip(work, row, str(folder.parts(protocol)[clip]))
        except InputError as fault:
            work.skipped[str(folder.ids[clip])] = f"{fault.code} {fault}"
        if told is not None:
            told(1)
    _require_some(work)
    checks = _checks(work) if asking.sanity else []
    facts = {
        "dataset": folder.info.name,
        "data_fingerprint": folder.fingerprint(),
        "protocol": protocol,
        "poselens": poselens.__version__,
        "method": asking.method,
        "layers": layers,
        "about": asking.about,
        "clips": work.entries,
        "skipped": work.skipped,
        "sanity": {check.stream: check.as_dict() for check in checks},
    }
    write_json(out / FACTS_FILE, facts)
    _write_page(facts, work, checks, commands)
    return {**facts, "page": str(out / PAGE_FILE)}


def _require_some(work: _Work) -> None:
    if not work.entries:
        raise InputError(
            "EVAL-011",
            f"not one of {len(work.chosen.clips)} clips can be read, the first because: "
            f"{next(iter(work.skipped.values()), 'none given')}",
            file=work.folder.root,
            mend="name other clips, or mend these",
        )


def _explain_clip(work: _Work, row: int, part: str) -> None:
    """Explain one clip with every stream that sees pictures, and write its pictures."""
    clip, chosen = int(work.chosen.clips[row]), work.chosen
    name, asking = str(work.folder.ids[clip]), work.asking
    wanted = int(work.wanted[row])
    against = None if work.against is None else int(work.against[row])
    entry = _said(work.bundle, chosen, row, wanted, against) | {"id": name, "part": part or None}
    file = f"clips/{len(work.entries) + 1:03d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:60]}"
    rows: list[StripRow] = []
    streams: dict[str, Any] = {}
    asked: list[tuple[TrainedStream, SeenClip, int]] = []
    times = np.zeros(0)
    for trained in work.bundle.streams:
        if not isinstance(trained.stream, RgbStream):
            continue
        seen = see_clip(work.folder, clip, trained.stream.input)
        found = explain_rgb(
            trained, seen, wanted, against, method=asking.method, layer=asking.layer
        )
        own = chosen.streams[trained.stream.name][row]
        rows, times = [*rows, *rgb_rows(found, _surest(own, work.bundle.classes))], seen.times
        streams[found.stream] = found.as_dict()
        asked.append((trained, seen, wanted))
        if asking.video:
            entry["video"] = f"{file}.mp4"
            write_heat_video(
                work.out / entry["video"],
                seen,
                found.in_whole_frames(),
                caption="\n".join([name, *entry["told"].split("; ")]),
                scores=list(zip(work.bundle.classes, chosen.probabilities[row], strict=True)),
            )
    figure = strip_figure([Section(rows, times)], title=name, subtitle=entry["told"])
    write_bytes(work.out / f"{file}.png", render(figure, "png"))
    work.entries.append(entry | {"strip": f"{file}.png", "streams": streams})
    work.seen += asked
    work.shown.append(
        ExplainedClip(name, entry["told"], entry["right"], f"{file}.png", entry.get("video"))
    )


def _surest(probabilities: NDArray[np.float64], classes: Sequence[str]) -> str:
    if not np.isfinite(probabilities).all():
        return "could not read it"
    best = int(probabilities.argmax())
    return f"says {classes[best]}\n{100 * probabilities[best]:.0f} %"


def _said(
    bundle: Bundle, chosen: Chosen, row: int, wanted: int, against: int | None
) -> dict[str, Any]:
    """Return what is asked about a clip and what the model says of it, and a line of both."""
    classes, label, best = bundle.classes, int(chosen.labels[row]), int(chosen.predicted[row])
    asked = f"what speaks for {classes[wanted]}"
    if against is not None:
        asked += f" rather than {classes[against]}"
    probability = float(chosen.probabilities[row, best]) if best >= 0 else None
    told = "could not be read by the model"
    if best >= 0:
        told = f"taken for {classes[best]} ({100 * (probability or 0):.0f} %)"
    if label >= 0:
        told = f"{classes[label]}, {told}" if best != label else f"{told}, rightly"
    return {
        "label": classes[label] if label >= 0 else None,
        "predicted": classes[best] if best >= 0 else None,
        "probability": probability,
        "right": best == label if label >= 0 and best >= 0 else None,
        "explained": classes[wanted],
        "against": None if against is None else classes[against],
        "told": f"{asked}; {told}",
    }


def _layers(bundle: Bundle, asking: Asking) -> dict[str, str | None]:
    """Return the layer of each RGB stream that was asked; None for methods that read pixels."""
    return {
        trained.stream.name: None
        if asking.method in PIXEL_METHODS
        else find_layer(require_plain(trained.network), asking.layer)
        for trained in bundle.streams
        if isinstance(trained.stream, RgbStream)
    }


def _checks(work: _Work) -> list[RgbSanity]:
    """Check each RGB stream's attributions over all clips that were explained."""
    folder, asking = work.folder, work.asking
    subjects = folder.column("subject")
    by_stream: dict[str, list[tuple[TrainedStream, SeenClip, int]]] = {}
    for trained, seen, wanted in work.seen:
        by_stream.setdefault(trained.stream.name, []).append((trained, seen, wanted))
    checks = []
    for those in by_stream.values():
        people = [str(subjects[folder.index_of(seen.id)]) for _, seen, _ in those]
        checks.append(
            check_rgb(
                those[0][0],
                torch.stack([seen.inputs for _, seen, _ in those]),
                np.array([wanted for *_, wanted in those]),
                method=asking.method,
                layer=asking.layer,
                groups=people if all(people) and len(set(people)) >= FEWEST else None,
            )
        )
    return checks


def _write_page(
    facts: Mapping[str, Any], work: _Work, checks: Sequence[RgbSanity], commands: Sequence[str]
) -> None:
    layers = [f"{name}: {layer}" for name, layer in facts["layers"].items() if layer]
    page = ExplainPage(
        dataset=facts["dataset"],
        facts={
            "Method": facts["method"],
            "Layer": ", ".join(layers) or "none, pixels",
            "Question": facts["about"],
            "Protocol": facts["protocol"],
            "Streams": ", ".join(trained.stream.name for trained in work.bundle.streams),
            "Data": facts["data_fingerprint"][:16],
            "poselens": facts["poselens"],
        },
        clips=work.shown,
        checks=[check.shown() for check in checks],
        skipped=[f"{clip}: {reason}" for clip, reason in work.skipped.items()],
        commands=commands,
    )
    write_explain_page(work.out / PAGE_FILE, page)
