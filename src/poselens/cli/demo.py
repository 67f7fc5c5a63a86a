"""``poselens demo``: the whole of poselens on a data set it draws itself."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poselens.cli.output import give_results, percent, tell

if TYPE_CHECKING:
    from poselens.data.folder import ClipFolder


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything made.")] = Path("demo"),
    clips: Annotated[int, typer.Option(min=128, help="Clips to draw.")] = 640,
    seed: Annotated[int, typer.Option(help="Seed of the drawn data set.")] = 0,
) -> int:
    """Show all of it on clips drawn here.

    Draws clips, trains both branches, fuses, evaluates, reports, explains, and predicts a clip.
    """
    from poselens.checkpoint import make_folder
    from poselens.cli.progress import bar
    from poselens.data.folder import open_folder
    from poselens.recipes import load
    from poselens.recipes.pipeline import train_fuse_report
    from poselens.recognition.predicting import predict_clips
    from poselens.recognition.recognizer import Recognizer
    from poselens.synth.make import PROTOCOL, make_dataset

    started = time.monotonic()
    data = out / "data"
    if not data.exists():
        make_folder(out)
        tell(f"drawing {clips} clips of 16 near-identical actions")
        with bar("drawing clips", clips) as told:
            make_dataset(data, clips=clips, seed=seed, progress=lambda done, total: told())
    folder = open_folder(data)
    made = train_fuse_report(
        folder,
        load("tiny"),
        PROTOCOL,
        out,
        streams=["rgb", "joint"],
        device="cpu",
        told=tell,
        notes=["The clips are drawn, not filmed: this shows the tool, not its accuracy on people."],
    )
    if made.result is None:
        tell(f"stopped and saved; the same command goes on ({out})")
        return made.exit_code
    tell("predicting a held-out clip")
    clip = int(folder.indices(PROTOCOL, "test")[-1])
    video = folder.video_path(clip)
    results, _ = predict_clips(
        Recognizer.load(made.bundle, device="cpu"),
        [] if video is None else [video],
        skeleton=data,
        out=out / "predictions",
        draw=True,
        overwrite=True,
    )
    explained = _explained(made.bundle, folder, out / "explained")
    truth = folder.info.classes[int(folder.labels[clip])]
    give_results(f"{folder.info.name}, held-out subjects", made.result)
    told_label, score = results[0]["label"], percent(results[0]["score"])
    tell(f"a held-out clip of {truth!r} is recognised as {told_label!r} ({score} %)")
    tell(f"report         {made.report.resolve()}")
    tell(f"explanations   {explained.resolve()}")
    tell(f"labelled video {Path(results[0]['labelled_video']).resolve()}")
    tell(f"took {time.monotonic() - started:.0f} s")
    return 0


def _explained(bundle: Path, folder: "ClipFolder", out: Path) -> Path:
    """Show where both networks look in two mistakes and two recognised clips."""
    from poselens.cli.progress import bar
    from poselens.recipes.choosing import choose_clips
    from poselens.recipes.explaining import PAGE_FILE, Asking, explain_clips, load_plain
    from poselens.synth.make import PROTOCOL

    tell("explaining held-out clips")
    plain = load_plain(bundle, "cpu")
    chosen = choose_clips(plain, folder, PROTOCOL, part="test", top=2)
    with bar("explaining", len(chosen.clips)) as told:
        explain_clips(plain, folder, PROTOCOL, chosen, out, Asking(about="pair"), told=told)
    return out / PAGE_FILE
