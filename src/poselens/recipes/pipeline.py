"""From a data set folder to a bundle and its report: what ``run`` and ``demo`` do."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from poselens.clips.device import choose_device
from poselens.data.folder import ClipFolder
from poselens.errors import UsageError
from poselens.recipes.evaluating import Result, evaluate_bundle
from poselens.recipes.fusing import fuse_runs
from poselens.recipes.reporting import make_report
from poselens.recognition.bundle import load_bundle
from poselens.training.config import Recipe, RgbSection, SkeletonSection, override
from poselens.training.run import Request, train


@dataclass(frozen=True, eq=False)
class Made:
    """What a pipeline left behind.

    Attributes:
        bundle: Folder of the bundle.
        report: The HTML report.
        result: How the bundle does on the test part; None when a signal stopped a run.
        exit_code: 0, or that of the run that was stopped.
    """

    bundle: Path
    report: Path
    result: Result | None
    exit_code: int


def train_fuse_report(
    folder: ClipFolder,
    recipe: Recipe,
    protocol: str,
    out: Path,
    *,
    streams: Sequence[str],
    device: str,
    settings: Sequence[str] = (),
    told: Callable[[str], None],
    notes: Sequence[str] = (),
) -> Made:
    """Train every stream, fuse, evaluate on the test part and write the report.

    Finished runs found under ``out`` are kept and unfinished ones resumed, so the same call goes on
    where it was stopped.

    Args:
        folder: The data set.
        recipe: Settings of both branches and the fusion.
        protocol: Split of the data set.
        out: Folder for runs, bundle and report.
        streams: ``rgb`` and skeleton streams to train.
        device: ``cpu``, ``cuda`` or ``auto``.
        settings: ``training.key=value`` for every run.
        told: Hears what happens now.
        notes: For the report.
    """
    bundle, page = out / "bundle", out / "report.html"
    runs, commands = [], []
    for name in streams:
        section = section_for(folder, recipe, name)
        section = override(section, settings)
        told(f"training {name}")
        request = Request(folder.root, protocol, recipe.name, out / name, device, True)
        finished = train(folder, section, request)
        if finished.exit_code:
            return Made(bundle, page, None, finished.exit_code)
        runs.append(out / name)
        branch = "rgb" if name == "rgb" else "skeleton"
        chosen = "" if name == "rgb" else f" --set input.stream={name}"
        commands.append(
            f"poselens train {branch} {folder.root} --recipe {recipe.name} "
            f"--protocol {protocol} --out {out / name}{chosen}"
        )
    told("fusing and evaluating")
    weights = recipe.fusion.weights
    place = choose_device(device)
    if bundle.exists():
        shutil.rmtree(bundle)
    fuse_runs(runs, folder, protocol, bundle, weights=weights, device=place)
    listed = " ".join(str(run) for run in runs)
    commands.append(
        f"poselens fuse {listed} --data {folder.root} --protocol {protocol} --out {bundle} "
        f"--weights {weights}"
    )
    commands.append(f"poselens evaluate {bundle} {folder.root} --protocol {protocol}")
    loaded = load_bundle(bundle, device=place)
    result = evaluate_bundle(loaded, folder, protocol, "test")
    make_report(page, loaded, folder, result, runs=runs, commands=commands, notes=notes)
    return Made(bundle, page, result, 0)


def section_for(folder: ClipFolder, recipe: Recipe, stream: str) -> RgbSection | SkeletonSection:
    """Return a recipe's section for one stream, reading the joints that the data set has.

    Raises:
        UsageError: ``RUN-006`` for a skeleton stream of a data set without skeletons.
    """
    if stream == "rgb":
        return recipe.rgb
    section = override(recipe.skeleton, [f"input.stream={stream}"])
    space = section.input.space
    if space in folder.info.skeletons:
        return section
    if not folder.info.skeletons:
        raise UsageError("RUN-006", "the data set has no skeletons", file=folder.root)
    other = next(iter(folder.info.skeletons))
    # a picture plane has one rotation, and no axis to face
    turn = list(section.augment.rotation[-1:] if other == "pixels" else section.augment.rotation)
    return override(
        section, [f"input.space={other}", f"augment.rotation={turn}", "input.face=false"]
    )


def streams_for(folder: ClipFolder, wanted: Sequence[str]) -> list[str]:
    """Return the streams among ``wanted`` that the data set can feed."""
    has_video = any(folder.record(clip).video for clip in range(min(len(folder), 100)))
    return [
        name for name in wanted if (has_video if name == "rgb" else bool(folder.info.skeletons))
    ]
