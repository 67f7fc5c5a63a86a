"""What one clip of a recipe costs."""

from typing import Any

import torch

from poselens.clips.stream import RgbStream, SkeletonStream, build_network
from poselens.evaluation.cost import count_macs
from poselens.pose.layouts import get_layout
from poselens.training.config import Recipe


def recipe_cost(recipe: Recipe, *, layout: str, classes: int) -> dict[str, Any]:
    """Count multiply-accumulates and parameters of one RGB view and one skeleton stream.

    Nothing is computed: the networks run on the ``meta`` device.

    Raises:
        UsageError: ``CFG-003`` for an unknown layout.
    """
    names = tuple(str(number) for number in range(classes))
    rgb = RgbStream(classes=names, input=recipe.rgb.input, network=recipe.rgb.network)
    skeleton = SkeletonStream(
        classes=names,
        input=recipe.skeleton.input,
        network=recipe.skeleton.network,
        layout=layout,
        dimensions=2 if recipe.skeleton.input.space == "pixels" else 3,
    )
    size, joints = rgb.input.size, len(get_layout(layout))
    clip = torch.zeros(1, rgb.input.segments, 3, size, size, device="meta")
    people, window = skeleton.input.people, skeleton.input.window
    body = torch.zeros(1, skeleton.dimensions, window, joints, people, device="meta")
    seen = count_macs(build_network(rgb).to("meta"), clip)
    moved = count_macs(build_network(skeleton).to("meta"), body)
    return {
        "recipe": recipe.name,
        "layout": layout,
        "classes": classes,
        "gmacs_rgb": seen.macs / 1e9,
        "gmacs_skeleton": moved.macs / 1e9,
        "gmacs_total": (seen.macs + moved.macs) / 1e9,
        "params_rgb": seen.params,
        "params_skeleton": moved.params,
        "params": seen.params + moved.params,
        "counts": "multiply-accumulates of convolutions and matrix products, one view",
    }
