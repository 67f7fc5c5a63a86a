"""``poselens predict``: videos in, labels, scores and labelled videos out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from poselens.cli.output import Device, Json, give_json, give_table, percent, tell


def predict(
    bundle: Annotated[Path, typer.Argument(help="Bundle or run.")],
    videos: Annotated[list[Path] | None, typer.Argument(help="Videos.")] = None,
    skeleton: Annotated[
        Path | None,
        typer.Option(help="Skeleton file of the one video, or a data set folder that holds it."),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="Joint layout of a skeleton file that does not name it, or its YAML file."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for results.")] = Path("predictions"),
    pose: Annotated[
        str, typer.Option(help="Where joints come from if not given: movenet, none or auto.")
    ] = "auto",
    pose_weights: Annotated[Path | None, typer.Option(help="MoveNet's .tflite file.")] = None,
    video: Annotated[bool, typer.Option(help="Write labelled videos.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace old results.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Recognise the action in videos.

    Writes one table, one JSON and a labelled video per clip. Exit code 1 when some clips failed, 3
    when all did.
    """
    from poselens.recognition.pose import choose_estimator
    from poselens.recognition.predicting import predict_clips
    from poselens.recognition.recognizer import Recognizer

    estimator, note = choose_estimator(pose, pose_weights)
    if note is not None and skeleton is None:
        tell(note)
    recognizer = Recognizer.load(bundle, device=device, pose=estimator)
    results, exit_code = predict_clips(
        recognizer,
        videos or [],
        skeleton=skeleton,
        layout=layout,
        out=out,
        draw=video,
        overwrite=overwrite,
    )
    for entry in results:
        if entry["status"] == "error":
            tell(f"error[{entry['error']['code']}]: {entry['message']}")
    if as_json:
        give_json({"clips": results})
    else:
        _show(results)
    return exit_code


def _show(results: list[dict[str, Any]]) -> None:
    rows = []
    for entry in results:
        if entry["status"] == "error":
            rows.append([entry["clip"], "error", entry["error"]["code"], "", ""])
            continue
        coverage = entry["person_coverage"]
        rows.append(
            [
                entry["clip"],
                entry["status"],
                entry["label"] or "",
                "" if entry["score"] is None else percent(entry["score"]),
                "" if coverage is None else percent(coverage),
            ]
        )
        for note in entry["notes"]:
            tell(f"{entry['clip']}: {note}")
    give_table("predictions", ["clip", "status", "label", "score %", "person %"], rows)
