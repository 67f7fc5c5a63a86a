"""The number for Figure 3: the share of attribution on the moving body, for runs side by side."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

import poselens
from poselens.clips.device import choose_device
from poselens.clips.stream import RgbInput, RgbStream
from poselens.data.folder import ClipFolder
from poselens.data.info import Column, Part
from poselens.errors import InputError, UsageError
from poselens.explain.cam import PIXEL_METHODS, find_layer, require_method, require_plain
from poselens.explain.joints import METHODS
from poselens.explain.moving import MovingShare
from poselens.explain.sanity import MeanInterval, mean_interval, randomise
from poselens.recipes.comparing import FEW_GROUPS
from poselens.recipes.scoring import require_part
from poselens.recipes.seen_clip import SeenClip, see_clip
from poselens.recipes.share_of_clip import ShareQuestion, rgb_share, skeleton_share
from poselens.recognition.score import require_fitting
from poselens.recognition.streams import TrainedStream, load_run

CONTROL = "weights shuffled"
"""Name of the first run's network without what it learned."""
_CLUSTERS = ("subject", "source")


@dataclass(eq=False)
class _Run:
    """A run and what was found with it: clip id to share."""

    name: str
    folder: Path
    trained: TrainedStream
    shares: dict[str, MovingShare] = field(default_factory=dict)


def moving_shares(
    runs: Sequence[Path],
    folder: ClipFolder,
    protocol: str,
    question: ShareQuestion,
    *,
    device: str = "auto",
    told: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Measure how much of each run's attribution falls on the moving body.

    The attribution is that of the clip's own class, whatever the network says. Only clips for which
    every run has a share count, so that all means are over the same clips; the others are named
    with the reason.

    Args:
        runs: Runs of one branch; differences are to the first.
        folder: The data set they were trained on.
        protocol: Name of the split.
        question: What is measured.
        device: ``cpu``, ``cuda`` or ``auto``.
        told: Called with the number of clips done.

    Raises:
        UsageError: ``CFG-009`` unknown part, ``CFG-004`` unknown protocol, ``EXP-038`` runs of both
            branches, no run, or numbers that cannot be; ``EXP-039`` an unknown cluster, or one that
            is not known; ``EXP-002``, ``EXP-003``, ``EXP-030`` an unknown layer or method;
            ``EVAL-010``, ``EVAL-012`` a data set that does not fit.
        InputError: ``EXP-040`` no clip for which every run has a share.
        CheckpointError: As ``recognition.streams``.
    """
    require_part(question.part)
    _require_sensible(runs, question)
    clips = folder.indices(protocol, cast(Part, question.part))
    if question.limit is not None and question.limit < len(clips):
        spread = np.linspace(0, len(clips) - 1, question.limit).round().astype(int)
        clips = clips[spread]
    loaded = _load(runs, folder, device)
    attribution = _attribution(loaded, question)
    shown = [*loaded, _shuffled(loaded[0])] if question.control else loaded
    unit, group = _groups(folder, clips, question.cluster)
    skipped: dict[str, str] = {}
    for clip in clips.tolist():
        _measure(shown, folder, clip, question, skipped)
        if told is not None:
            told(1)
    common = _common(loaded, folder, clips, skipped)
    facts = _facts(shown, loaded, common, group)
    return {
        "dataset": folder.info.name,
        "data_fingerprint": folder.fingerprint(),
        "protocol": protocol,
        "part": question.part,
        "poselens": poselens.__version__,
        "attribution": attribution,
        "moving": question.moving,
        "radius": question.radius if _is_rgb(loaded[0].trained) else None,
        "asked": len(clips),
        "interval_unit": unit,
        "skipped": skipped,
        **facts,
    }


def _common(
    runs: Sequence[_Run], folder: ClipFolder, clips: NDArray[np.int64], skipped: Mapping[str, str]
) -> list[str]:
    """Return the clips for which every run has a share."""
    names = [str(folder.ids[clip]) for clip in clips]
    common = [name for name in names if all(name in run.shares for run in runs)]
    if not common:
        raise InputError(
            "EXP-040",
            f"for none of {len(clips)} clips every run has a share, the first because: "
            f"{next(iter(skipped.values()), 'none given')}",
            file=folder.root,
            mend="look at the joints of the data set, or take another part",
        )
    return common


def _facts(
    shown: Sequence[_Run], runs: Sequence[_Run], common: Sequence[str], group: Mapping[str, str]
) -> dict[str, Any]:
    """Return what was found; ``shown`` are the runs, and the control where there is one."""
    return {
        "branch": runs[0].trained.stream.branch,
        "clips": len(common),
        "units": len({group.get(name, name) for name in common}),
        "runs": [_entry(run, runs[0], common, group) for run in shown],
        "notes": _notes(runs, common, group),
        "per_clip": _per_clip(shown, common),
    }


def _require_sensible(runs: Sequence[Path], question: ShareQuestion) -> None:
    wrong = None
    if not runs:
        wrong = "no run"
    elif len({path.resolve() for path in runs}) < len(runs):
        wrong = "one run twice"
    elif question.limit is not None and question.limit < 1:
        wrong = f"a limit of {question.limit} clips"
    elif not question.radius > 0:
        wrong = f"a radius of {question.radius}"
    elif not 0 < question.moving <= 1:
        wrong = f"moving={question.moving}"
    if wrong is not None:
        raise UsageError(
            "EXP-038",
            f"found {wrong}; expected different runs, a limit and a radius above 0, and a share of "
            "moving joints in (0, 1]",
        )


def _load(runs: Sequence[Path], folder: ClipFolder, device: str) -> list[_Run]:
    loaded = [
        _Run(name, path, load_run(path, device=choose_device(device), folded=False))
        for name, path in zip(_names(runs), runs, strict=True)
    ]
    kinds = {run.trained.stream.branch for run in loaded}
    if len(kinds) > 1:
        raise UsageError(
            "EXP-038",
            "found RGB and skeleton runs; expected runs of one branch: one counts pixels, the "
            "other joints, and their shares cannot be compared",
            mend="ask for each branch by itself",
        )
    for run in loaded:
        require_fitting(run.trained, folder)
    return loaded


def _names(runs: Sequence[Path]) -> list[str]:
    """Return the shortest part of each path that tells the runs apart: their own names if it can.

    Runs of sweeps are called alike (``seed=0``) in folders that are not.
    """
    own = [path.resolve().name for path in runs]
    if len(set(own)) == len(own):
        return own
    parts = [list(path.resolve().parts) for path in runs]
    for end in (0, -1):
        while all(len(each) > 1 for each in parts) and len({each[end] for each in parts}) == 1:
            for each in parts:
                each.pop(end)
    return ["/".join(each) for each in parts]


def _shuffled(run: _Run) -> _Run:
    """Return a run whose network has forgotten all it learned."""
    network = copy.deepcopy(run.trained.network)
    for number, (name, _) in enumerate(network.named_children()):
        randomise(network, name, 10_000 * number)
    return _Run(CONTROL, run.folder, replace(run.trained, network=network))


def _is_rgb(trained: TrainedStream) -> bool:
    return isinstance(trained.stream, RgbStream)


def _attribution(runs: Sequence[_Run], question: ShareQuestion) -> str:
    """Return what is shared out, in words; refuse a method or layer that the runs do not have."""
    if not _is_rgb(runs[0].trained):
        method = question.method or METHODS[0]
        if method not in METHODS or question.layer is not None:
            raise UsageError(
                "EXP-030",
                f"found method {method!r} and layer {question.layer!r} for skeleton runs",
                mend=f"use one of {', '.join(METHODS)}, and no layer",
            )
        return f"{method} of the clip's own class"
    way = require_method(question.method or "gradcam")
    if way in PIXEL_METHODS:
        return f"{way} of the clip's own class"
    layers = {find_layer(require_plain(run.trained.network), question.layer) for run in runs}
    return f"{way} of {', '.join(sorted(layers))}, of the clip's own class"


def _groups(
    folder: ClipFolder, clips: NDArray[np.int64], cluster: str | None
) -> tuple[str, dict[str, str]]:
    """Return what is resampled whole, and the group of each clip."""
    if cluster not in (None, "clip", *_CLUSTERS):
        raise UsageError("EXP-039", f"found cluster {cluster!r}, expected subject, source or clip")
    for name in _CLUSTERS if cluster is None else (cluster,):
        if name == "clip":
            break
        column = folder.column(cast(Column, name))[clips]
        if (column != "").all() and len(set(column.tolist())) > 1:
            ids = [str(each) for each in folder.ids[clips]]
            return name, dict(zip(ids, column.tolist(), strict=True))
        if cluster is not None:
            raise UsageError(
                "EXP-039",
                f"the {name} is not known of every clip, or the same of all",
                file=folder.root,
                mend="use --cluster clip",
            )
    return "clip", {}


def _measure(
    runs: Sequence[_Run],
    folder: ClipFolder,
    clip: int,
    question: ShareQuestion,
    skipped: dict[str, str],
) -> None:
    """Add one clip's share to every run, or the reason why there is none."""
    identity, label = str(folder.ids[clip]), int(folder.labels[clip])
    if label < 0:
        skipped[identity] = "the clip has no label, so no class to explain"
        return
    seen: dict[RgbInput, SeenClip] = {}
    for run in runs:
        try:
            stream_ = run.trained.stream
            if isinstance(stream_, RgbStream):
                if stream_.input not in seen:
                    seen[stream_.input] = see_clip(folder, clip, stream_.input)
                found = rgb_share(run.trained, seen[stream_.input], label, question)
            else:
                found = skeleton_share(run.trained, stream_, folder, clip, label, question)
            run.shares[identity] = found
        except InputError as fault:
            if run.name == CONTROL:
                continue
            skipped[f"{identity} ({run.name})"] = f"{fault.code} {fault}"


def _values(run: _Run, common: Sequence[str], what: str) -> NDArray[np.float64]:
    return np.array([getattr(run.shares[name], what) for name in common], np.float64)


def _entry(
    run: _Run, first: _Run, common: Sequence[str], group: Mapping[str, str]
) -> dict[str, Any]:
    """Return the facts of one run: its share, chance, what is above it, and the difference."""
    # with weights shuffled, nothing may speak for the class where something does without
    names = [name for name in common if name in run.shares]
    if not names:
        return {"run": run.name, "folder": str(run.folder), "share": None}
    groups = [group[name] for name in names] if group else None
    share, chance = _values(run, names, "share"), _values(run, names, "chance")
    difference: MeanInterval | None = None
    if run is not first:
        difference = mean_interval(share - _values(first, names, "share"), groups)
    return {
        "run": run.name,
        "folder": str(run.folder),
        "stream": run.trained.stream.name,
        "share": mean_interval(share, groups).as_dict(),
        "chance": float(chance.mean()),
        "above_chance": mean_interval(share - chance, groups).as_dict(),
        "times_chance": float(share.mean() / chance.mean()),
        "difference": None if difference is None else difference.as_dict(),
    }


def _per_clip(runs: Sequence[_Run], common: Sequence[str]) -> list[Mapping[str, Any]]:
    return [
        {
            "id": name,
            **{
                run.name: [round(run.shares[name].share, 5), round(run.shares[name].chance, 5)]
                for run in runs
                if name in run.shares
            },
        }
        for name in common
    ]


def _notes(runs: Sequence[_Run], common: Sequence[str], group: Mapping[str, str]) -> list[str]:
    """Say what makes the numbers less than they seem."""
    chances = [float(_values(run, common, "chance").mean()) for run in runs]
    notes = []
    if max(chances) > 1.05 * min(chances):
        notes.append(
            "the runs see different parts of the frame, so chance differs between them: compare "
            "times chance, not shares"
        )
    units = len({group[name] for name in common}) if group else FEW_GROUPS
    if units < FEW_GROUPS:
        notes.append(f"intervals over {units} groups, fewer than {FEW_GROUPS}, are too narrow")
    return notes
