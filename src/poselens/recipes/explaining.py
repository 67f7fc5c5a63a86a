"""Explain what a bundle or run says of some clips: strips, videos, a page, and checks of them.

This is where the streams' own attributions meet on the same frames. Each stream adds rows to the
strip of a clip (``recipes.explained_clip``).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import poselens
from poselens.checkpoint import make_folder, write_bytes, write_json
from poselens.clips.device import choose_device
from poselens.clips.stream import RgbStream, SkeletonStream
from poselens.data.folder import ClipFolder
from poselens.errors import InputError
from poselens.evaluation.explain_page import ExplainedClip, ExplainPage, write_explain_page
from poselens.explain.cam import PIXEL_METHODS, Method, find_layer, require_plain
from poselens.explain.joints import Method as JointMethod
from poselens.explain.sanity import FEWEST
from poselens.explain.strips import Section, render, strip_figure
from poselens.recipes.checked import Checked
from poselens.recipes.choosing import Chosen, classes_asked
from poselens.recipes.explained_clip import Question, explain_streams
from poselens.recipes.explained_joints import check_joints
from poselens.recipes.explained_sanity import check_rgb
from poselens.recipes.heat_video import write_heat_video
from poselens.recognition.bundle import Bundle, load_bundle

MOST_CHECKED = 50
"""Clips that the checks look at, the first ones: they cost hundreds of passes each."""

FACTS_FILE, PAGE_FILE = "explanations.json", "index.html"


@dataclass(frozen=True)
class Asking:
    """How clips are explained.

    Attributes:
        method: One of ``explain.cam.METHODS``.
        layer: Layer of the RGB network; None for its last.
        about: ``predicted``, ``label``, ``pair``, or a class's name.
        joint_method: One of ``explain.joints.METHODS``, for skeleton streams.
        video: Whether to write a video of each clip.
        sanity: Whether to check the attributions.
    """

    method: Method = "gradcam"
    layer: str | None = None
    about: str = "predicted"
    joint_method: JointMethod = "integrated-gradients"
    video: bool = False
    sanity: bool = False


def load_plain(model: Path, device: str) -> Bundle:
    """Read a bundle or run with networks as they were trained; raises as ``load_bundle``."""
    return load_bundle(model, device=choose_device(device), folded=False)


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
    # what the checks look at again, by stream: the network's input, the class, the subject
    asked: dict[str, list[tuple[Tensor, int, str]]] = field(default_factory=dict)


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
        UsageError: As ``explain.cam`` and ``explain.joints``; ``EXP-010`` for an unknown class.
        InputError: ``EVAL-011`` where not one clip can be read.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    chosen = chosen.read()
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
        "joint_method": asking.joint_method,
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
    """Explain one clip with every stream, and write its pictures."""
    clip, chosen, asking = int(work.chosen.clips[row]), work.chosen, work.asking
    name, classes = str(work.folder.ids[clip]), work.bundle.classes
    wanted = int(work.wanted[row])
    against = None if work.against is None else int(work.against[row])
    entry = _said(work.bundle, chosen, row, wanted, against) | {"id": name, "part": part or None}
    file = f"clips/{len(work.entries) + 1:03d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:60]}"
    question = Question(wanted, against, asking.method, asking.layer, asking.joint_method)
    says = {stream: _surest(each[row], classes) for stream, each in chosen.streams.items()}
    found = explain_streams(work.bundle, work.folder, clip, question, says)
    work.skipped |= {f"{name} ({k})": f"{v.code} {v}" for k, v in found.faults.items()}
    if asking.video and found.rgb is not None:
        entry["video"] = f"{file}.mp4"
        write_heat_video(
            work.out / entry["video"],
            found.rgb.seen,
            found.rgb.in_whole_frames(),
            caption="\n".join([name, *entry["told"].split("; ")]),
            scores=list(zip(classes, chosen.probabilities[row], strict=True)),
        )
    section = Section(found.rows, found.times)
    figure = strip_figure([section], title=name, subtitle=entry["told"])
    write_bytes(work.out / f"{file}.png", render(figure, "png"))
    work.entries.append(entry | {"strip": f"{file}.png", "streams": found.facts})
    if asking.sanity and len(work.entries) <= MOST_CHECKED:
        subject = work.folder.record(clip).subject
        for stream, inputs in found.inputs.items():
            work.asked.setdefault(stream, []).append((inputs, wanted, subject))
    work.shown.append(
        ExplainedClip(
            name,
            entry["told"],
            entry["right"],
            f"{file}.png",
            entry.get("video"),
            list(found.figures.values()),
        )
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


def _checks(work: _Work) -> list[Checked]:
    """Check each stream's attributions over the clips that were explained."""
    checks: list[Checked] = []
    asking = work.asking
    for trained in work.bundle.streams:
        asked = work.asked.get(trained.stream.name, [])
        if not asked:
            continue
        clips, wanted, people = zip(*asked, strict=True)
        known = all(people) and len(set(people)) >= FEWEST
        groups = list(people) if known else None
        inputs, classes = torch.stack(clips), np.array(wanted, np.int64)
        if isinstance(trained.stream, RgbStream):
            ask = partial(check_rgb, method=asking.method, layer=asking.layer)
            checks.append(ask(trained, inputs, classes, groups=groups))
        else:
            joints = partial(check_joints, method=asking.joint_method)
            checks.append(joints(trained, inputs, classes, groups=groups))
    return checks


def _write_page(
    facts: Mapping[str, Any],
    work: _Work,
    checks: Sequence[Checked],
    commands: Sequence[str],
) -> None:
    layers = [f"{name}: {layer}" for name, layer in facts["layers"].items() if layer]
    joints = any(isinstance(each.stream, SkeletonStream) for each in work.bundle.streams)
    page = ExplainPage(
        dataset=facts["dataset"],
        facts={
            **({"RGB": facts["method"]} if facts["layers"] else {}),
            **({"RGB layer": ", ".join(layers) or "none, pixels"} if facts["layers"] else {}),
            **({"Joints": facts["joint_method"]} if joints else {}),
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
