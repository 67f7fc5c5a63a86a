"""``poselens fuse``: runs in, one bundle out; or score files in, one score file out."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from poselens.cli.output import Device, Json, give_json, give_table, percent, tell

if TYPE_CHECKING:
    from poselens.evaluation.foreign import Kind


def fuse(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Runs, bundles, or score files: FILE or stream=FILE."),
    ],
    out: Annotated[Path, typer.Option(help="Bundle to write; of score files, a folder.")],
    data: Annotated[
        Path | None, typer.Option(help="Data set folder; score files may do without.")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="Split of the data set.")] = None,
    weights: Annotated[
        str,
        typer.Option(
            help="paper, equal, fitted, stream=number,stream=number, or a fusion.json or "
            "bundle.json with weights from before."
        ),
    ] = "paper",
    objective: Annotated[
        str, typer.Option(help="What fitted weights seek: likelihood or accuracy.")
    ] = "likelihood",
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Fit a weight per stream and class.")
    ] = False,
    landscape: Annotated[
        Path | None, typer.Option(help="Draw what other weights would do into this .svg.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="Intervals over whole groups: subject, view or source."),
    ] = None,
    part: Annotated[
        str, typer.Option(help="Score files: the part that they are of: train, val or test.")
    ] = "val",
    ids: Annotated[
        str | None,
        typer.Option(
            help="Score files whose rows have no names: a list of ids, one a line, or "
            "ANNOTATIONS.pkl:SPLIT."
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Score files: a CSV with the columns id and label.")
    ] = None,
    scores_are: Annotated[
        str, typer.Option(help="Score files: auto, logits or probabilities.")
    ] = "auto",
    unknown: Annotated[
        float | None,
        typer.Option(help="Keep the threshold of `unknown` at this false-alarm rate on val."),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Join runs to one bundle, or score files to one score file.

    The weights are those of Eq. (14); fitted ones see validation clips only. Where an input is
    a score file, of this package or of another tool (CTR-GCN, PYSKL, MMAction2, .npz, .npy, CSV),
    no bundle is written: OUT becomes a folder of scores.npz and fusion.json, and runs beside it
    are scored on --part.
    """
    from poselens.clips.device import choose_device
    from poselens.data.folder import open_folder
    from poselens.errors import UsageError
    from poselens.recipes.fusing import fuse_runs
    from poselens.recipes.fusing_scores import Clips, any_score_file, fuse_scores
    from poselens.recipes.weighing import Choice

    folder = None if data is None else open_folder(data)
    on = choose_device(device)
    if any_score_file(runs):
        if unknown is not None:
            raise UsageError(
                "FUS-030",
                "--unknown is kept by bundles, and score files make none",
                mend="leave it out, or fuse runs",
            )
        clips = Clips(folder, protocol, part, ids, labels, _kind(scores_are))
        choice = Choice(weights, objective, per_class)
        facts = fuse_scores(
            runs, clips, out, choice=choice, device=on, landscape=landscape, cluster=cluster
        )
        told = {"scores": str(out / "scores.npz"), **facts}
    elif folder is None or protocol is None:
        raise UsageError(
            "FUS-030",
            "runs are fused on their data set",
            mend="give --data and --protocol; only score files may do without",
        )
    else:
        facts = fuse_runs(
            runs, folder, protocol, out,
            weights=weights, device=on, objective=objective, per_class=per_class, judge=True,
            landscape=landscape, cluster=cluster, unknown=unknown,
        )  # fmt: skip
        told = {"bundle": str(out), **facts}
    if as_json:
        give_json(told)
        return 0
    _show(out, facts["fusion"])
    if "unknown" in facts:
        chosen = facts["unknown"]
        tell(f"unknown below {chosen['threshold']:.3f}, on {chosen['n']} validation clips")
    for note in (*facts.get("notes", ()), *facts["fusion"].get("notes", ())):
        tell(f"note: {note}")
    if landscape is not None:
        tell(f"{landscape}: accuracy and likelihood against the weights")
    return 0


def _kind(text: str) -> "Kind":
    from poselens.errors import UsageError

    if text not in ("auto", "logits", "probabilities"):
        raise UsageError(
            "FUS-030", f"found --scores-are {text!r}, expected auto, logits or probabilities"
        )
    return cast("Kind", text)


def _show(out: Path, fusion: Mapping[str, Any]) -> None:
    gain = fusion.get("gain")
    worth = {entry["stream"]: entry for entry in (gain or {}).get("worth", ())}
    columns = ["stream", "weight", "temperature"]
    columns += ["by class"] if fusion["per_class"] else []
    columns += ["adds, points [95 %]", "GMACs", "verdict"] if worth else []
    rows = []
    for name, weight in fusion["weights"].items():
        row = [name, f"{weight:.3f}", f"{fusion['temperatures'][name]:.2f}"]
        if fusion["per_class"]:
            table = fusion["per_class"][name]
            row.append(f"{min(table):.2f} to {max(table):.2f}")
        if worth:
            row += _worth(worth[name])
        rows.append(row)
    sought = f" for {fusion['objective']}" if fusion["objective"] else ""
    give_table(f"{out}: {fusion['method']} weights{sought}", columns, rows)
    if fusion["n"] and fusion["method"] == "fitted":
        tell(f"fitted on {fusion['n']} validation clips")
    if gain:
        tell(f"on {gain['clips']}: {_sentence(gain['over_best'])}")
        for entry in gain["worth"]:
            tell(entry["sentence"])
    elif fusion.get("not_judged"):
        tell(f"the gain was not judged: {fusion['not_judged']}")


def _worth(entry: Mapping[str, Any]) -> list[str]:
    gmacs = entry["cost"]["gmacs"]
    return [_points(entry["gain"]), "" if gmacs is None else f"{gmacs:.2f}", entry["verdict"]]


def _points(gain: Mapping[str, Any]) -> str:
    low, high = (f"{100 * end:+.1f}" for end in gain["interval"])
    return f"{100 * gain['gain']:+.1f} [{low}, {high}]"


def _sentence(gain: Mapping[str, Any]) -> str:
    test = gain["mcnemar"]
    level = percent(gain["interval_level"]).removesuffix(".0")
    return (
        f"fusion against the best stream, {gain['second']}: {_points(gain)} points "
        f"({level} %, {gain['n']} clips, over {gain['interval_unit']}s); McNemar p = "
        f"{test['p']:.3g} ({test['only_first']} clips right by the fusion alone, "
        f"{test['only_second']} by {gain['second']} alone); {gain['verdict']}"
    )
