"""From a data set folder to a bundle and its report: what ``run`` and ``demo`` do."""

import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from poselens.clips.device import choose_device
from poselens.data.folder import ClipFolder
from poselens.errors import UsageError
from poselens.recipes.attributing import attribute_clips
from poselens.recipes.evaluating import Result, evaluate_bundle
from poselens.recipes.fusing import fuse_runs
from poselens.recipes.reporting import make_report
from poselens.recognition.bundle import BUNDLE_FILE, load_bundle
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
    allow_leakage: bool = False,
    told: Callable[[str], None],
    notes: Sequence[str] = (),
) -> Made:
    """Train every stream, fuse, evaluate on the test part and write the report.

    Finished runs under ``out`` are kept and unfinished ones resumed: the same call goes on.

    Args:
        folder: The data set.
        recipe: Settings of both branches and the fusion.
        protocol: Split of the data set.
        out: Folder for runs, bundle and report.
        streams: ``rgb`` and skeleton streams to train.
        device: ``cpu``, ``cuda`` or ``auto``.
        settings: ``training.key=value`` for every run.
        allow_leakage: Train although train or validation share something with test.
        told: Hears what happens now.
        notes: For the report.

    Raises:
        UsageError: ``RUN-001`` when ``out`` holds a folder ``bundle`` that is none, ``RUN-009``
            without a stream, ``RUN-006`` as :func:`settings_for`; else as training, fusing and
            evaluating do.
    """
    _require_streams(streams, folder)
    bundle, page = out / "bundle", out / "report.html"
    _require_ours(bundle)
    commands: list[str] = []
    for name in streams:
        told(f"training {name}")
        chosen = [*settings_for(folder, recipe, name), *settings]
        about = (folder.root, protocol, recipe.name, out / name, device)
        request = Request(*about, resume=True, allow_leakage=allow_leakage)
        finished = train(folder, _section(recipe, name, chosen), request)
        if finished.exit_code:
            return Made(bundle, page, None, finished.exit_code)
        commands.append(_training_command(request, name, chosen))
    told("fusing and evaluating")
    runs, on = [out / name for name in streams], choose_device(device)
    if bundle.exists():
        shutil.rmtree(bundle)
    fuse_runs(
        runs,
        folder,
        protocol,
        bundle,
        weights=recipe.fusion.weights,
        device=on,
        objective=recipe.fusion.objective,
        per_class=recipe.fusion.per_class,
    )
    commands += _later_commands(runs, folder, protocol, bundle, recipe)
    loaded = load_bundle(bundle, device=on)
    result = evaluate_bundle(loaded, folder, protocol, "test")
    told("explaining and reporting")
    attribute = attribute_clips(bundle, folder, device=device)
    make_report(
        page,
        loaded,
        folder,
        result,
        runs=runs,
        commands=commands,
        notes=notes,
        attribute=attribute,
    )
    return Made(bundle, page, result, 0)


def _require_streams(streams: Sequence[str], folder: ClipFolder) -> None:
    if not streams:
        raise UsageError(
            "RUN-009",
            "there is nothing to train on: no video, no skeleton",
            file=folder.root,
            mend="give other --streams, or estimate the joints first",
        )


def _section(recipe: Recipe, stream: str, settings: Sequence[str]) -> RgbSection | SkeletonSection:
    if stream == "rgb":
        return override(recipe.rgb, settings)
    return override(recipe.skeleton, settings)


def _training_command(request: Request, stream: str, settings: Sequence[str]) -> str:
    words = ["poselens", "train", "rgb" if stream == "rgb" else "skeleton", str(request.root)]
    words += ["--recipe", request.recipe, "--protocol", request.protocol]
    words += ["--out", str(request.out), *(["--allow-leakage"] if request.allow_leakage else [])]
    words += [word for setting in settings for word in ("--set", setting)]
    return shlex.join(words)


def _later_commands(
    runs: Sequence[Path], folder: ClipFolder, protocol: str, bundle: Path, recipe: Recipe
) -> list[str]:
    given = recipe.fusion.weights
    weights = (
        given if isinstance(given, str) else ",".join(f"{name}={w}" for name, w in given.items())
    )
    fuse = ["poselens", "fuse", *map(str, runs), "--data", str(folder.root)]
    fuse += ["--protocol", protocol, "--out", str(bundle), "--weights", weights]
    if weights == "fitted":
        fuse += ["--objective", recipe.fusion.objective]
        fuse += ["--per-class"] if recipe.fusion.per_class else []
    judge = ["poselens", "evaluate", str(bundle), str(folder.root), "--protocol", protocol]
    return [shlex.join(fuse), shlex.join(judge)]


def _require_ours(bundle: Path) -> None:
    """Refuse to replace a folder that no pipeline wrote."""
    if bundle.exists() and not (bundle / BUNDLE_FILE).is_file():
        raise UsageError(
            "RUN-001", "the output exists already", file=bundle, mend="choose another --out"
        )


def settings_for(folder: ClipFolder, recipe: Recipe, stream: str) -> list[str]:
    """Return the settings, as ``--set`` takes them, by which one stream differs from its recipe.

    A skeleton stream reads the joints that the data set has.

    Raises:
        UsageError: ``RUN-006`` for a skeleton stream of a data set without skeletons.
    """
    if stream == "rgb":
        return []
    settings = [f"input.stream={stream}"]
    section = recipe.skeleton
    if section.input.space in folder.info.skeletons:
        return settings
    if not folder.info.skeletons:
        raise UsageError("RUN-006", "the data set has no skeletons", file=folder.root)
    other = next(iter(folder.info.skeletons))
    # a picture plane has one rotation, and no axis to face
    turn = list(section.augment.rotation[-1:] if other == "pixels" else section.augment.rotation)
    return [*settings, f"input.space={other}", f"augment.rotation={turn}", "input.face=false"]


def streams_for(folder: ClipFolder, wanted: Sequence[str]) -> list[str]:
    """Return the streams among ``wanted`` that the data set can feed."""
    has_video = any(folder.record(clip).video for clip in range(min(len(folder), 100)))
    return [
        name for name in wanted if (has_video if name == "rgb" else bool(folder.info.skeletons))
    ]
