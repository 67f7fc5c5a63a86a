"""``poselens robustness``: how much accuracy a model loses when something goes wrong."""

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from poselens.cli.output import Device, Json, give_json, give_table, percent, tell, with_interval

if TYPE_CHECKING:
    from poselens.evaluation.robustness import RobustnessCard

_TOLD_EVERY = 60.0


def robustness(
    model: Annotated[Path, typer.Argument(help="Bundle or run.")],
    folder: Annotated[Path, typer.Argument(help="Data set folder.")],
    protocol: Annotated[str, typer.Option(help="Split of the data set.")],
    out: Annotated[Path, typer.Option(help="HTML file to write; .json and .svg go beside it.")],
    part: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    kinds: Annotated[
        str, typer.Option(help="Disturbances, with commas; left out: all that reach a stream.")
    ] = "",
    levels: Annotated[
        list[str] | None,
        typer.Option(help="0.1,0.2 for all kinds, or occlusion=0.1,0.2 for one; repeatable."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Clips at most, drawn from every class.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the disturbances.")] = 0,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that read videos.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what was finished.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Measure what accuracy a model loses when something goes wrong.

    What was stopped goes on with the same command. Exit code 1 when a clip could not be read
    undisturbed.
    """
    from poselens.checkpoint import make_folder
    from poselens.clips.device import choose_device
    from poselens.data.folder import open_folder
    from poselens.recipes.robustness import Manner, robustness_card
    from poselens.recipes.robustness_choice import chosen_levels
    from poselens.recognition.bundle import load_bundle

    make_folder(out.parent)
    data = open_folder(folder)
    bundle = load_bundle(model, device=choose_device(device))
    names = [name.strip() for name in kinds.split(",") if name.strip()]
    tried = chosen_levels(names, levels or [], bundle=bundle, folder=data)
    manner = Manner(protocol, part, tried, limit, seed, workers, fresh)
    command = ["poselens", "robustness", str(model), str(folder), "--protocol", protocol]
    command += ["--part", part, "--out", str(out), "--seed", str(seed)]
    command += ["--kinds", kinds] if kinds else []
    command += [word for text in levels or [] for word in ("--levels", text)]
    command += [] if limit is None else ["--limit", str(limit)]
    with _progress() as begun:
        card = robustness_card(
            bundle,
            data,
            manner,
            out.with_suffix(".cells"),
            begun=begun,
            command=shlex.join(command),
            facts=_environment(),
        )
    _write(out, card)
    _give(out, card, as_json=as_json)
    return 1 if any(point.skipped for _, point in card.undisturbed) else 0


def _environment() -> dict[str, str]:
    import platform

    import torch

    import poselens

    return {
        "poselens": poselens.__version__,
        "torch": torch.__version__,
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }


@contextmanager
def _progress() -> Iterator[Callable[[int, int], Callable[[int], None]]]:
    """Show a bar with the time left, or where nobody looks a line a minute."""
    from rich.console import Console

    from poselens.cli.progress import bar

    if Console(stderr=True).is_terminal:
        with bar("disturbing", None) as advance:

            def begin(todo: int, done: int) -> Callable[[int], None]:
                advance(done, total=todo + done)
                return advance

            yield begin
        return
    yield _lines


def _lines(todo: int, done: int) -> Callable[[int], None]:
    tell(f"{todo} clips to score, {done} scored before (each severity and stream by itself)")
    began = last = time.monotonic()
    count = 0

    def advance(step: int) -> None:
        nonlocal count, last
        count += step
        now = time.monotonic()
        if now - last >= _TOLD_EVERY:
            last = now
            left = (todo - count) * (now - began) / count
            tell(
                f"{count} of {todo} clips, {count / (now - began):.1f} a second, {left:.0f} s left"
            )

    return advance


def _write(out: Path, card: "RobustnessCard") -> None:
    from poselens.checkpoint import write_bytes, write_json
    from poselens.evaluation.figures import standalone
    from poselens.evaluation.robustness_figure import robustness_figure, write_robustness

    write_json(out.with_suffix(".json"), card.as_dict())
    if card.trials:
        write_bytes(out.with_suffix(".svg"), standalone(robustness_figure(card)).encode())
    write_robustness(out, card)


def _give(out: Path, card: "RobustnessCard", *, as_json: bool) -> None:
    from poselens.evaluation.robustness import sentences
    from poselens.evaluation.robustness_figure import cell_text

    if as_json:
        give_json({"card": str(out), **card.as_dict()})
        return
    clips = f"{card.clips} clips" if card.clips == card.of else f"{card.clips} of {card.of} clips"
    rows = [
        [
            "undisturbed, Top-1 % [95 %]",
            *(
                with_interval(point.top1, (point.interval.low, point.interval.high))
                for _, point in card.undisturbed
            ),
        ],
        *(
            [
                trial.title,
                *(
                    "\n".join(filter(None, cell_text(card, trial, stream)))
                    for stream in card.streams
                ),
            ]
            for trial in card.trials
        ),
        *(
            [f"without {stream}", *[""] * (len(card.streams) - 1), percent(point.top1)]
            for stream, point in card.without
        ),
    ]
    give_table(f"{card.dataset}, {card.protocol}, {card.part}: {clips}", ["", *card.streams], rows)
    for sentence in sentences(card):
        tell(sentence)
    for note in card.notes:
        tell(f"note: {note}")
    tell(f"{out}")
