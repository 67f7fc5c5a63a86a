"""The number for Figure 3: the share of attribution on the moving body, for runs side by side."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

import poselens
from poselens.clips.device import choose_device
from poselens.clips.placing import joints_at
from poselens.clips.stream import RgbInput, RgbStream, SkeletonStream
from poselens.data.folder import ClipFolder
from poselens.data.info import Column, Part
from poselens.errors import InputError, SkeletonError, UsageError
from poselens.explain.cam import attribute_frames
from poselens.explain.joints import attribute_joints, baseline_of
from poselens.explain.moving import (
    MOVING,
    MovingShare,
    joint_speeds,
    moving_body_share,
    moving_joint_share,
)
from poselens.explain.sanity import MeanInterval, mean_interval, randomise
from poselens.pose.layouts import get_layout
from poselens.recipes.scoring import require_part
from poselens.recipes.seen_clip import SeenClip, see_clip
from poselens.recognition.score import require_fitting
from poselens.recognition.streams import TrainedStream, load_run
from poselens.skeleton.prepare import prepare
from poselens.skeleton.ready import bone_length
from poselens.skeleton.streams import stream

RADIUS = 0.5
"""Of discs and bones in mean bone lengths: about 10 cm on a body."""
CONTROL = "weights shuffled"
"""Name of the first run's network without what it learned."""
_CLUSTERS = ("subject", "source")


@dataclass(frozen=True)
class ShareQuestion:
    """What is measured.

    Attributes:
        part: ``train``, ``val`` or ``test``.
        limit: Clips looked at, evenly spread over the part; None for all.
        moving: Share of a clip's joints that count as moving (``explain.moving``).
        radius: Of discs and bones in mean bone lengths of the first person; RGB only.
        cluster: ``subject``, ``source`` or ``clip``: what intervals draw whole. None takes the
            first of these that is known for every clip and has two values or more.
        control: Whether to measure the first run's network with its weights shuffled, too: what the
            method and the clips give by themselves, whatever was learned.
    """

    part: str = "test"
    limit: int | None = None
    moving: float = MOVING
    radius: float = RADIUS
    cluster: str | None = None
    control: bool = False


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

    The attribution is that of the clip's own class, right or wrong: Grad-CAM of the last layer for
    RGB runs, integrated gradients for skeleton runs. Only clips for which every run has a share
    count, so that all means are over the same clips; the others are named with the reason.

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
            is not known; ``EVAL-010``, ``EVAL-012`` a data set that does not fit.
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
    if question.control:
        loaded.append(_shuffled(loaded[0]))
    unit, group = _groups(folder, clips, question.cluster)
    skipped: dict[str, str] = {}
    for clip in clips.tolist():
        _measure(loaded, folder, clip, question, skipped)
        if told is not None:
            told(1)
    common = [
        str(folder.ids[clip])
        for clip in clips
        if all(str(folder.ids[clip]) in run.shares for run in loaded)
    ]
    if not common:
        raise InputError(
            "EXP-040",
            f"for none of {len(clips)} clips every run has a share, the first because: "
            f"{next(iter(skipped.values()), 'none given')}",
            file=folder.root,
            mend="look at the joints of the data set, or take another part",
        )
    groups = None if unit == "clip" else [group[name] for name in common]
    return {
        "dataset": folder.info.name,
        "data_fingerprint": folder.fingerprint(),
        "protocol": protocol,
        "part": question.part,
        "poselens": poselens.__version__,
        "branch": loaded[0].trained.stream.branch,
        "attribution": _attribution(loaded[0].trained),
        "moving": question.moving,
        "radius": question.radius if _is_rgb(loaded[0].trained) else None,
        "asked": len(clips),
        "clips": len(common),
        "interval_unit": unit,
        "units": len(set(groups)) if groups is not None else len(common),
        "runs": [_entry(run, loaded[0], common, groups) for run in loaded],
        "skipped": skipped,
        "notes": _notes(loaded, common, groups),
        "per_clip": _per_clip(loaded, common),
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


def _attribution(trained: TrainedStream) -> str:
    if _is_rgb(trained):
        return "Grad-CAM of the last layer, of the clip's own class"
    return "integrated gradients from the body held still, of the clip's own class"


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
                found = _rgb_share(run.trained, seen[stream_.input], label, question)
            else:
                found = _skeleton_share(run.trained, stream_, folder, clip, label, question)
            run.shares[identity] = found
        except InputError as fault:
            skipped[f"{identity} ({run.name})"] = f"{fault.code} {fault}"


def _rgb_share(
    trained: TrainedStream, seen: SeenClip, label: int, question: ShareQuestion
) -> MovingShare:
    if seen.skeleton is None or seen.joints is None:
        raise SkeletonError("SKEL-011", "the clip has no skeleton in pixels", where=seen.id)
    maps = attribute_frames(
        trained.network, seen.inputs[None].to(trained.device), np.array([label])
    )[0]
    layout = get_layout(seen.skeleton.layout)
    positions = seen.skeleton.positions[..., :2].astype(np.float64)
    speed = joints_at(joint_speeds(positions)[..., None], seen.frames, seen.source.frames)[..., 0]
    where = seen.placement
    # a region that is not square is squeezed on one side: the mean of both scales
    scale = (where.size[0] / where.height * where.size[1] / where.width) ** 0.5
    length = bone_length(positions, layout)
    if length <= 0:
        raise SkeletonError("EXP-034", "found no bone to measure the body by", where=seen.id)
    share = moving_body_share(
        maps,
        seen.joints.astype(np.float64),
        radius=question.radius * length * scale,
        moving=question.moving,
        speed=speed,
        bones=layout.edges,
    )
    if share.chance == 0:
        raise SkeletonError(
            "EXP-034", "the moving body is outside of what the network sees", where=seen.id
        )
    return share


def _skeleton_share(
    trained: TrainedStream,
    described: SkeletonStream,
    folder: ClipFolder,
    clip: int,
    label: int,
    question: ShareQuestion,
) -> MovingShare:
    skeleton = folder.skeleton(clip, described.input.space)
    if skeleton is None:
        raise SkeletonError("SKEL-011", "the clip has no skeleton", where=str(folder.ids[clip]))
    layout = get_layout(skeleton.layout)
    joints = prepare(skeleton.positions, layout=layout, **described.input.arguments())
    inputs = stream(
        torch.from_numpy(joints)[None],
        described.input.stream,
        layout,
        custom=described.input.pairs_of(layout),
    )
    attribution = attribute_joints(
        trained.network,
        inputs.to(trained.device),
        [label],
        baseline=baseline_of(described.input.stream),
    )[0]
    places = joints.transpose(3, 1, 2, 0).astype(np.float64)
    return moving_joint_share(attribution, places, moving=question.moving)


def _values(run: _Run, common: Sequence[str], what: str) -> NDArray[np.float64]:
    return np.array([getattr(run.shares[name], what) for name in common], np.float64)


def _entry(
    run: _Run, first: _Run, common: Sequence[str], groups: Sequence[str] | None
) -> dict[str, Any]:
    """Return the facts of one run: its share, chance, what is above it, and the difference."""
    share, chance = _values(run, common, "share"), _values(run, common, "chance")
    difference: MeanInterval | None = None
    if run is not first:
        difference = mean_interval(share - _values(first, common, "share"), groups)
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
            },
        }
        for name in common
    ]


def _notes(runs: Sequence[_Run], common: Sequence[str], groups: Sequence[str] | None) -> list[str]:
    """Say what makes the numbers less than they seem."""
    chances = [float(_values(run, common, "chance").mean()) for run in runs]
    notes = []
    if max(chances) > 1.05 * min(chances):
        notes.append(
            "the runs see different parts of the frame, so chance differs between them: compare "
            "times chance, not shares"
        )
    if groups is not None and len(set(groups)) < 10:
        notes.append(
            f"intervals over {len(set(groups))} groups are too narrow; below 10 a bootstrap covers "
            "less than it says"
        )
    return notes
