"""``poselens cost``: multiply-accumulates and parameters of a recipe."""

from typing import Annotated

import typer

from poselens.cli.output import Json, give_json, give_table


def cost(
    recipe: Annotated[str, typer.Option(help="Recipe name or YAML file.")],
    layout: Annotated[str, typer.Option(help="Joint layout of the skeletons.")] = "ntu-25",
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 60,
    as_json: Json = False,
) -> int:
    """Count operations and parameters of a recipe.

    One clip, one view, one skeleton stream, in multiply-accumulates (GMACs).
    """
    from poselens.recipes import load
    from poselens.recipes.costing import recipe_cost

    facts = recipe_cost(load(recipe), layout=layout, classes=classes)
    if as_json:
        give_json(facts)
        return 0
    give_table(
        f"{recipe}: one clip, one view",
        ["part", "GMACs", "parameters"],
        [
            ["rgb", f"{facts['gmacs_rgb']:.3f}", f"{facts['params_rgb']:,}"],
            ["skeleton", f"{facts['gmacs_skeleton']:.3f}", f"{facts['params_skeleton']:,}"],
            ["total", f"{facts['gmacs_total']:.3f}", f"{facts['params']:,}"],
        ],
    )
    return 0
