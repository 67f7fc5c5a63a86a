"""``poselens pose``: joints of a data set of videos, or of plain videos."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poselens.cli.output import Json, give_json, tell
from poselens.errors import UsageError

if TYPE_CHECKING:
    from poselens.recipes.pose_results import Posed
    from poselens.recipes.posing import Manner
    from poselens.recognition.pose import EstimatorChoice
    from poselens.recognition.pose_clip import PoseJob

MAX_BAD = 0.01
"""Largest share of clips without joints that still counts as clean."""

_MINUTE = 60.0


class Estimator(StrEnum):
    """Who finds the joints."""

    AUTO = "auto"
    MOVENET = "movenet"
    RTMPOSE = "rtmpose"


class Detector(StrEnum):
    """Whose detector it is."""

    RTMDET = "rtmdet"
    YOLOX = "yolox"


class Where(StrEnum):
    """Who runs the work."""

    PROCESSES = "processes"
    RAY = "ray"


Source = Annotated[
    list[Path], typer.Argument(help="Data set folder, or videos and folders of videos.")
]
Out = Annotated[Path, typer.Option(help="Data set, or folder of skeleton files, to write.")]
WhichEstimator = Annotated[
    Estimator, typer.Option(help="auto: RTMPose with --detector, else MoveNet.")
]
Weights = Annotated[Path | None, typer.Option(help="MoveNet's .tflite, or RTMPose's .onnx file.")]
DetectorFile = Annotated[
    Path | None, typer.Option(help="RTMDet's or YOLOX's .onnx file, for RTMPose.")
]
DetectorKind = Annotated[
    Detector | None, typer.Option(help="Where the file does not say whose it is.")
]
People = Annotated[int, typer.Option(help="People to keep in each clip.")]
Subject = Annotated[
    str | None,
    typer.Option(
        help="Who is kept: largest, most-moving, box=X,Y,W,H or all. Left out: MoveNet looks "
        "for one person in the middle; else largest."
    ),
]
MinScore = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Joints with a lower score are missing.")
]
RequireGpu = Annotated[bool, typer.Option("--require-gpu", help="Fail rather than run on the CPU.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")]
Seconds = Annotated[float, typer.Option(min=1.0, help="Give a clip up after this many seconds.")]
ShardOf = Annotated[str | None, typer.Option(help="I/N: only every N-th clip, for one of N jobs.")]
Merge = Annotated[
    bool, typer.Option("--merge", help="Only put together what the shards have done.")
]
Retry = Annotated[bool, typer.Option("--retry", help="Take clips again that failed.")]
Engine = Annotated[
    Where, typer.Option(help="ray: tasks of a Ray cluster, see docs/guides/pose.md.")
]
Preview = Annotated[
    Path | None, typer.Option(help="Folder for labelled videos and a sheet, worst clips first.")
]
PreviewClips = Annotated[int, typer.Option(min=1, help="Clips of the preview.")]


def pose(
    source: Source,
    out: Out,
    estimator: WhichEstimator = Estimator.AUTO,
    weights: Weights = None,
    detector: DetectorFile = None,
    detector_kind: DetectorKind = None,
    people: People = 1,
    subject: Subject = None,
    min_score: MinScore = 0.3,
    require_gpu: RequireGpu = False,
    workers: Workers = None,
    seconds: Seconds = 600.0,
    shard: ShardOf = None,
    merge: Merge = False,
    retry: Retry = False,
    engine: Engine = Where.PROCESSES,
    preview: Preview = None,
    preview_clips: PreviewClips = 12,
    as_json: Json = False,
) -> int:
    """Find the joints of people in videos.

    A data set becomes a data set with joints; videos become skeleton files. What was stopped
    goes on with the same command. Exit code 1 when more than 1 % of the clips have no joints.
    """
    from poselens.recipes.pose_sources import open_source
    from poselens.recipes.posing import estimate_poses

    if shard is not None and merge:
        raise UsageError("POSE-010", "found --shard and --merge", mend="give one of them")
    job = _job(
        _choice(estimator, weights, detector, detector_kind, min_score, require_gpu),
        subject,
        people,
    )
    manner = _manner(shard, merge, retry, workers, seconds, engine, job)
    clips = open_source(source)
    with progress() as begun:
        posed = estimate_poses(clips, out, job, manner=manner, begun=begun)
    if posed is None:
        facts = {"out": str(out), "shard": shard, "complete": False}
        give_json(facts) if as_json else tell(
            f"shard {shard} is done; when all are: the same command with --merge instead of --shard"
        )
        return 0
    shown = None
    if preview is not None:
        from poselens.recipes.pose_preview import write_preview

        shown = write_preview(clips, out, preview, count=preview_clips)
    _give(posed, out, shown, as_json=as_json)
    return 1 if posed.failed > MAX_BAD * posed.clips else 0


def _choice(
    estimator: Estimator,
    weights: Path | None,
    detector: Path | None,
    kind: Detector | None,
    min_score: float,
    require_gpu: bool,
) -> "EstimatorChoice":
    from dataclasses import replace

    from poselens.recognition.pose import choose

    wanted = estimator.value
    if estimator is Estimator.AUTO and detector is None:
        # whoever asks for poses wants some: the weights are fetched
        wanted = "movenet"
    choice, _ = choose(wanted, weights, detector=detector)
    assert choice is not None
    choice = replace(choice, min_score=min_score, require_gpu=require_gpu)
    if kind is None:
        return choice
    return replace(choice, detector_kind="rtmdet" if kind is Detector.RTMDET else "yolox")


def _job(choice: "EstimatorChoice", subject: str | None, people: int) -> "PoseJob":
    from dataclasses import replace

    from poselens.pose.subjects import read_subjects
    from poselens.recognition.pose_clip import PoseJob

    several = people > 1 or subject is not None
    return PoseJob(replace(choice, several=several), read_subjects(subject or "largest", people))


def _manner(
    shard: str | None,
    merge: bool,
    retry: bool,
    workers: int | None,
    seconds: float,
    engine: Where,
    job: "PoseJob",
) -> "Manner":
    from poselens.data.children import Limits, in_children
    from poselens.recipes.pose_ledger import read_shard
    from poselens.recipes.posing import Manner
    from poselens.recipes.ray_engine import in_ray
    from poselens.recognition.pose_clip import opened

    provider = opened(job.choice).provider
    tell(f"joints by {provider}")
    # CUDA maps far more than it takes; a limit on addresses would end it at once
    memory = Limits().memory if "CPU" in provider else 1 << 46
    return Manner(
        shard=None if shard is None else read_shard(shard),
        merge=merge,
        retry=retry,
        workers=workers,
        limits=Limits(seconds=seconds, memory=memory),
        engine=in_ray if engine is Where.RAY else in_children,
    )


@contextmanager
def progress() -> Iterator[Callable[[int, int], Callable[[], None]]]:
    """Show how far it is: a bar with the time left, or where nobody looks a line a minute."""
    from rich.console import Console

    from poselens.cli.progress import bar

    if Console(stderr=True).is_terminal:
        with bar("estimating poses", None) as advance:

            def begin(todo: int, done: int) -> Callable[[], None]:
                advance(done, total=todo + done)
                return advance

            yield begin
        return

    def begin_lines(todo: int, done: int) -> Callable[[], None]:
        return _lines(todo, done)

    yield begin_lines


def _lines(todo: int, done: int) -> Callable[[], None]:
    tell(f"{todo} clips to do, {done} done before")
    began = last = time.monotonic()
    count = 0

    def advance() -> None:
        nonlocal count, last
        count += 1
        now = time.monotonic()
        if now - last >= _MINUTE:
            last = now
            left = (todo - count) * (now - began) / count
            tell(
                f"{count} of {todo} clips, {count / (now - began):.1f} a second, {left:.0f} s left"
            )

    return advance


def _give(posed: "Posed", out: Path, shown: dict[str, str | int] | None, *, as_json: bool) -> None:
    if as_json:
        facts = posed.as_dict()
        give_json({"out": str(out), "complete": True, **facts, "preview": shown})
        return
    quality = posed.quality["quality"]
    middle = f"; quality {quality[2]:.2f} (median), {quality[0]:.2f} (worst)" if quality else ""
    others = f", {posed.spectators} spectators left out" if posed.spectators else ""
    tell(f"{out}: {posed.posed} of {posed.clips} clips have joints{others}{middle}")
    for entry in posed.failures[:10]:
        tell(f"  {entry['id']}: {entry['code']} {entry['message']}")
    if shown is not None:
        tell(f"preview  {shown['sheet']}")
