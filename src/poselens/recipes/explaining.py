"""Explain what a bundle or run says of some clips: strips, videos, a page, and checks of them.

This is where the streams' own attributions meet on the same frames. Each stream adds rows to the
strip of a clip (`_rows_of`); nothing else knows which kind of network was asked.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

import poselens
from poselens.checkpoint import make_folder, write_bytes, write_json
from poselens.clips.device import choose_device
from poselens.clips.stream import RgbStream
from poselens.data.folder import ClipFolder
from poselens.errors import InputError, UsageError
from poselens.evaluation.explain_page import ExplainedClip, ExplainPage, write_explain_page
from poselens.explain.cam import PIXEL_METHODS, Method, attribute_frames, find_layer, require_plain
from poselens.explain.overlay import draw_cut, draw_heat, in_frame
from poselens.explain.sanity import FEWEST
from poselens.explain.strips import Curve, Section, StripRow, render, strip_figure, time_curve
from poselens.recipes.choosing import Chosen, classes_asked
from poselens.recipes.explained_sanity import RgbSanity, check_rgb
from poselens.recipes.heat_video import write_heat_video
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


@dataclass(frozen=True, eq=False)
class RgbExplanation:
    """Where an RGB stream looked in one clip.

    Attributes:
        stream: Name of the stream.
        seen: The clip as the stream saw it: frames, times, and joints in the input's pixels.
        maps: ``(s, h, w)`` in pixels of the stream's input, 1 at the largest of the clip.
        curve: How much falls on each moment.
    """

    stream: str
    seen: SeenClip
    maps: Float[np.ndarray, "s h w"]
    curve: Curve

    def in_whole_frames(self) -> Float[np.ndarray, "s fh fw"]:
        """Return the maps in pixels of the whole frames that are shown, 0 where nobody looked."""
        corner, extent = cut_in_shown(self.seen)
        return in_frame(self.maps, corner=corner, extent=extent, frame_size=self.seen.shown_size)

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        where, box = self.seen.placement, self.seen.source.region.box
        return {
            "frames": self.seen.frames.tolist(),
            "times_s": [round(float(time), 4) for time in self.seen.times],
            "share_of_strongest_moment": [round(float(v), 4) for v in self.curve.values],
            "region": [box.left, box.top, box.right, box.bottom],
            "seen": [where.left, where.top, where.left + where.width, where.top + where.height],
            "nothing_found": not bool(self.maps.any()),
        }


def explain_rgb(
    trained: TrainedStream,
    seen: SeenClip,
    wanted: int,
    against: int | None = None,
    *,
    method: Method = "gradcam",
    layer: str | None = None,
) -> RgbExplanation:
    """Ask an RGB stream where it sees a class in one clip; raises as ``attribute_frames``."""
    maps = attribute_frames(
        trained.network,
        seen.inputs[None].to(trained.device),
        np.array([wanted]),
        against=None if against is None else np.array([against]),
        method=method,
        layer=layer,
    )[0]
    return RgbExplanation(trained.stream.name, seen, maps, time_curve(maps, seen.times))


def cut_in_shown(seen: SeenClip) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return corner (x, y) and (height, width) of what the network sees, in the shown frames."""
    where, (height, width) = seen.placement, seen.shown_size
    down, across = height / seen.frame_size[0], width / seen.frame_size[1]
    return (where.left * across, where.top * down), (where.height * down, where.width * across)


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
    """What is gathered while clips are explained one after another."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    shown: list[ExplainedClip] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    # (stream, clip seen, class): what the checks look at again
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
            not known, ``EXP-006`` where not one clip can be read.
        EnvironmentFault: ``ENV-001`` to ``ENV-003``.
    """
    wanted, against = classes_asked(asking.about, chosen, bundle.classes)
    for trained in bundle.streams:
        if isinstance(trained.stream, RgbStream):
            find_layer(require_plain(trained.network), asking.layer)
    make_folder(out / "clips")
    work, parts = _Work(skipped=dict(chosen.skipped)), folder.parts(protocol)
    for row, clip in enumerate(chosen.clips.tolist()):
        other = None if against is None else int(against[row])
        try:
            _explain_clip(
                bundle, folder, chosen, row, out, asking, int(wanted[row]), other,
                str(parts[clip]), work,
            )  # fmt: skip
        except InputError as fault:
            work.skipped[str(folder.ids[clip])] = f"{fault.code} {fault}"
        if told is not None:
            told(1)
    if not work.entries:
        raise UsageError(
            "EXP-006",
            f"not one of {len(chosen.clips)} clips can be read, the first because: "
            f"{next(iter(work.skipped.values()), 'none given')}",
            file=folder.root,
        )
    checks = _checks(work, folder, asking) if asking.sanity else []
    facts = {
        "dataset": folder.info.name,
        "data_fingerprint": folder.fingerprint(),
        "protocol": protocol,
        "poselens": poselens.__version__,
        "method": asking.method,
        "layers": _layers(bundle, asking),
        "about": asking.about,
        "clips": work.entries,
        "skipped": work.skipped,
        "sanity": {check.stream: check.as_dict() for check in checks},
    }
    write_json(out / FACTS_FILE, facts)
    _write_page(out, facts, work, checks, bundle, commands)
    return {**facts, "page": str(out / PAGE_FILE)}


def _explain_clip(
    bundle: Bundle,
    folder: ClipFolder,
    chosen: Chosen,
    row: int,
    out: Path,
    asking: Asking,
    wanted: int,
    against: int | None,
    part: str,
    work: _Work,
) -> None:
    """Explain one clip with every stream, and write its pictures."""
    name = str(folder.ids[chosen.clips[row]])
    file = f"clips/{len(work.entries) + 1:03d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:60]}"
    rows: list[StripRow] = []
    streams: dict[str, Any] = {}
    entry = _said(bundle, chosen, row, wanted, against) | {"id": name, "part": part or None}
    times = np.zeros(0)
    for trained in bundle.streams:
        if not isinstance(trained.stream, RgbStream):
            continue
        seen = see_clip(folder, int(chosen.clips[row]), trained.stream.input)
        found = explain_rgb(
            trained, seen, wanted, against, method=asking.method, layer=asking.layer
        )
        times = seen.times
        rows += rgb_rows(found, _surest(chosen.streams[trained.stream.name][row], bundle.classes))
        streams[found.stream] = found.as_dict()
        work.seen.append((trained, seen, wanted))
        if asking.video:
            entry["video"] = f"{file}.mp4"
            write_heat_video(
                out / entry["video"], found.seen, found.in_whole_frames(),
                caption=f"{name}\n{entry['told']}",
                scores=list(zip(bundle.classes, chosen.probabilities[row], strict=True)),
            )  # fmt: skip
    figure = strip_figure([Section(rows, times)], title=name, subtitle=entry["told"])
    write_bytes(out / f"{file}.png", render(figure, "png"))
    work.entries.append(entry | {"strip": f"{file}.png", "streams": streams})
    work.shown.append(
        ExplainedClip(
            title=name,
            told=entry["told"],
            right=entry["right"],
            strip=f"{file}.png",
            video=entry.get("video"),
        )
    )


def rgb_rows(found: RgbExplanation, note: str) -> list[StripRow]:
    """Return the rows of an RGB stream: what it sees, its map over that, and in whole frames."""
    seen, (corner, extent) = found.seen, cut_in_shown(found.seen)
    whole = draw_heat(seen.whole_frames(), found.in_whole_frames())
    heat = draw_heat(seen.pictures, found.maps)
    return [
        StripRow("clip", seen.pictures, f"as {found.stream} sees it"),
        StripRow(found.stream, heat, note, found.curve),
        StripRow("whole frame", draw_cut(whole, corner, extent), "framed: what it sees"),
    ]


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


def _checks(work: _Work, folder: ClipFolder, asking: Asking) -> list[RgbSanity]:
    """Check each RGB stream's attributions over all clips that were explained."""
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
    out: Path,
    facts: Mapping[str, Any],
    work: _Work,
    checks: Sequence[RgbSanity],
    bundle: Bundle,
    commands: Sequence[str],
) -> None:
    layers = [f"{name}: {layer}" for name, layer in facts["layers"].items() if layer]
    page = ExplainPage(
        dataset=facts["dataset"],
        facts={
            "Method": facts["method"],
            "Layer": ", ".join(layers) or "none, pixels",
            "Question": facts["about"],
            "Protocol": facts["protocol"],
            "Streams": ", ".join(trained.stream.name for trained in bundle.streams),
            "Data": facts["data_fingerprint"][:16],
            "poselens": facts["poselens"],
        },
        clips=work.shown,
        checks=[check.shown() for check in checks],
        skipped=[f"{clip}: {reason}" for clip, reason in work.skipped.items()],
        commands=commands,
    )
    write_explain_page(out / PAGE_FILE, page)
