"""``poselens explain``: where the networks look, as strips, videos and a page; and Figure 3."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from poselens.cli.explain_share import share
from poselens.cli.output import Device, Json, give_json, tell


class _WithDefault(TyperGroup):
    """Take what is no command for the model and data of ``clips``."""

    default_command = "clips"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the command that is meant first."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [self.default_command, *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


app = typer.Typer(
    cls=_WithDefault,
    help="Show what the networks of a model look at.\n\n"
    "explain MODEL DATA ... shows clips, explain figure3 the paper's Figure 3, explain share its "
    "number.",
    no_args_is_help=True,
)

app.command("share")(share)

Protocol = Annotated[str, typer.Option(help="Split of the data set.")]
ClipIds = Annotated[list[str] | None, typer.Option("--clip", help="Clip to explain, by id.")]
Method = Annotated[
    str,
    typer.Option(help="gradcam, gradcam++, hirescam, integrated-gradients or input-x-gradient."),
]
JointMethod = Annotated[
    str,
    typer.Option(help="Of skeletons: integrated-gradients, gradient-input, grad-cam, occlusion."),
]
OutFolder = Annotated[Path, typer.Option(help="Folder for the page, strips, videos and JSON.")]
Part = Annotated[str, typer.Option(help="train, val or test, where no clip is named.")]
About = Annotated[str, typer.Option("--class", help="predicted, label, pair, or a class's name.")]
Top = Annotated[int, typer.Option(min=1, help="Clips of each kind, the most confident first.")]
Sanity = Annotated[
    bool, typer.Option("--sanity", help="Also test whether the maps can be trusted.")
]
Layer = Annotated[str | None, typer.Option(help="Layer of the RGB network; its last if left out.")]


@app.command("clips")
def clips(
    model: Annotated[Path, typer.Argument(help="Bundle or run.")],
    folder: Annotated[Path, typer.Argument(help="Data set folder.")],
    protocol: Protocol,
    out: OutFolder,
    clip: ClipIds = None,
    part: Part = "test",
    top: Top = 4,
    pick: Annotated[str, typer.Option(help="wrong, right or both.")] = "both",
    about: About = "predicted",
    method: Method = "gradcam",
    layer: Layer = None,
    joint_method: JointMethod = "integrated-gradients",
    video: Annotated[
        bool, typer.Option("--video", help="Also write a video of each clip.")
    ] = False,
    sanity: Sanity = False,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Explain what a model says of some clips; exit code 1 when one could not be read."""
    from typing import cast

    from poselens.checkpoint import make_folder
    from poselens.cli.progress import bar
    from poselens.data.folder import open_folder
    from poselens.explain.cam import require_method
    from poselens.explain.joints import Method as JointMethods
    from poselens.recipes.choosing import choose_clips
    from poselens.recipes.explaining import Asking, explain_clips, load_plain
    from poselens.recognition.bundle import require_unused

    way, joints = require_method(method), cast(JointMethods, joint_method)
    require_unused(out)
    make_folder(out)
    data = open_folder(folder)
    bundle = load_plain(model, device)
    with bar("scoring", None) as told:
        chosen = choose_clips(
            bundle, data, protocol, ids=clip or (), part=part, top=top, pick=pick, told=told
        )
    asking = Asking(way, layer, about, joints, video, sanity)
    options = {"protocol": protocol, "class": about, "method": method, "layer": layer}
    options |= {"joint-method": joint_method}
    options |= {} if clip else {"part": part, "top": str(top), "pick": pick}
    flags = [*(["--video"] if video else []), *(["--sanity"] if sanity else [])]
    commands = [_typed(model, folder, options, clip or [], [*flags, "--out", str(out)])]
    with bar("explaining", len(chosen.clips)) as told:
        facts = explain_clips(
            bundle, data, protocol, chosen, out, asking, commands=commands, told=told
        )
    if as_json:
        give_json(facts)
    else:
        _tell_facts(facts)
    return 1 if facts["skipped"] else 0


def _tell_facts(facts: dict[str, Any]) -> None:
    for stream, check in facts["sanity"].items():
        for test in check.values():
            tell(f"{stream}: {test['verdict']}")
    for name, reason in list(facts["skipped"].items())[:10]:
        tell(f"  {name}: {reason}")
    tell(facts["page"])


def _typed(
    model: Path, folder: Path, options: dict[str, str | None], clips: list[str], rest: list[str]
) -> str:
    """Return the command line again, for whoever wants the same page."""
    words = ["poselens", "explain", str(model), str(folder)]
    words += [f"--{name}={value}" for name, value in options.items() if value is not None]
    return shlex.join([*words, *(f"--clip={clip}" for clip in clips), *rest])


@app.command("figure3")
def figure3(
    runs: Annotated[
        tuple[Path, Path, Path], typer.Option(help="Three RGB runs: baseline, MA and STAA.")
    ],
    data: Annotated[Path, typer.Option(help="Data set folder.")],
    protocol: Protocol,
    out: Annotated[Path, typer.Option(help="Picture to write: .svg or .png.")],
    clip: ClipIds = None,
    about: About = "label",
    method: Method = "gradcam",
    layer: Layer = None,
    device: Device = "auto",
    as_json: Json = False,
) -> int:
    """Draw Figure 3: the same frames under the maps of three networks, in rows."""
    from poselens.data.folder import open_folder
    from poselens.explain.cam import require_method
    from poselens.recipes.figure3 import draw_figure3

    way = require_method(method)
    facts = draw_figure3(
        list(runs),
        open_folder(data),
        protocol,
        out,
        ids=clip or (),
        method=way,
        layer=layer,
        about=about,
        device=device,
    )
    if as_json:
        give_json(facts)
    else:
        names = [each["name"] for each in facts["networks"]]
        if names != ["baseline", "MA", "STAA"]:
            tell(f"note: by their settings the runs are {', '.join(names)}")
        tell(str(out))
    return 0
