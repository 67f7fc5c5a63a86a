"""``poselens cost``: arithmetic, parameters and memory of recipes."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poselens.cli.output import Json, give_json, give_table, tell

if TYPE_CHECKING:
    from poselens.recipes.costing import Branch

COLUMNS = ("GMACs", "params\n10^6", "kept\nfp32", "kept\nbf16", "peak\nfp32", "peak\nbf16")


class Which(StrEnum):
    """Branches to count."""

    RGB = "rgb"
    SKELETON = "skeleton"
    BOTH = "both"


BRANCHES: dict[Which, "tuple[Branch, ...]"] = {
    Which.RGB: ("rgb",),
    Which.SKELETON: ("skeleton",),
    Which.BOTH: ("rgb", "skeleton"),
}


def cost(
    recipe: Annotated[list[str], typer.Option(help="Recipe name or YAML file; more to compare.")],
    layout: Annotated[
        str, typer.Option(help="Joint layout of the skeletons, or its YAML file.")
    ] = "ntu-25",
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 60,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value, such as rgb.network.staa_blocks=all."),
    ] = None,
    branch: Annotated[
        Which | None, typer.Option(help="rgb, skeleton or both; else what the recipe sets.")
    ] = None,
    views: Annotated[int, typer.Option(min=1, help="RGB views of a clip at test.")] = 1,
    as_json: Json = False,
) -> int:
    """Count operations, parameters and activation memory of recipes.

    One clip and one skeleton stream, in multiply-accumulates (GMACs) and 10^6 bytes (MB), by part.
    Several recipes are compared side by side.
    """
    from poselens.recipes import load
    from poselens.recipes.costing import COUNTS, recipe_cost

    chosen = None if branch is None else BRANCHES[branch]
    found = [
        recipe_cost(
            load(name),
            settings or (),
            layout=layout,
            classes=classes,
            branches=chosen,
            views=views,
        )
        for name in recipe
    ]
    if as_json:
        give_json({"counts": COUNTS, "recipes": found})
        return 0
    seen = f"{views} view" + ("s" if views > 1 else "")
    names = ", ".join([*(facts["recipe"] for facts in found), *(settings or ())])
    title = f"{names}: one clip, {seen}; {layout}, {classes} classes; memory in MB"
    if len(found) == 1:
        give_table(title, ("part", *COLUMNS), _rows(found[0], by_part=True))
    else:
        rows = [[facts["recipe"], *row] for facts in found for row in _rows(facts)]
        give_table(title, ("recipe", "branch", *COLUMNS), rows)
    tell(f"GMACs: {COUNTS['gmacs']}")
    tell(f"kept: {COUNTS['kept_mb']}")
    tell(f"peak: {COUNTS['peak_mb']}")
    for facts in found:
        if len(found) == 1 and "projection" in (facts["skeleton"] or ()):
            tell("(contrast head): in training alone, and not in the sums")
        for name in ("rgb", "skeleton"):
            if facts[name] is None and chosen is None:
                tell(f"{facts['recipe']} sets nothing for {name}; --branch both counts it too")
    return 0


def _rows(facts: Mapping[str, Any], *, by_part: bool = False) -> list[list[str]]:
    rows = []
    rgb, skeleton = facts["rgb"], facts["skeleton"]
    if rgb is not None:
        reads = f", {rgb['frames']} frames of {rgb['size']}" if by_part else ""
        rows.append([f"rgb{reads}", *_cells(rgb)])
        rows += [[f"  {part['part']}", *_cells(part)] for part in rgb["parts"] if by_part]
    if skeleton is not None:
        reads = f", {skeleton['frames']} x {skeleton['joints']} x {skeleton['people']}"
        rows.append([f"skeleton{reads if by_part else ''}", *_cells(skeleton)])
        rows += [[f"  {part['part']}", *_cells(part)] for part in skeleton["parts"] if by_part]
    if rgb is not None and skeleton is not None:
        # the branches are trained apart and run one after the other: memory has no sum
        rows.append(["both", *_cells(facts)])
    if skeleton is not None and by_part and "projection" in skeleton:
        rows.append(["(contrast head)", *_cells(skeleton["projection"])])
    return rows


def _cells(entry: Mapping[str, Any]) -> list[str]:
    amounts = [
        f"{entry[kind][precision]:.1f}" if kind in entry else ""
        for kind in ("kept_mb", "peak_mb")
        for precision in ("fp32", "bf16")
    ]
    return [f"{entry['gmacs']:.3f}", f"{entry['params'] / 1e6:.3f}", *amounts]
