"""What one clip of a recipe costs, by branch and part."""

import re
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor

from poselens.clips.stream import RgbInput, RgbStream, SkeletonStream, build_network
from poselens.evaluation.cost import Bytes, Cost, Memory, count_cost, count_macs
from poselens.pose.declared import find_layout
from poselens.pose.layouts import get_layout
from poselens.rgb.mobilenetv2 import STAGES
from poselens.skeleton.projection import GraphProjection
from poselens.training.config import Recipe, override

Branch = Literal["rgb", "skeleton"]
MEGABYTE = 1_000_000

COUNTS = {
    "gmacs": "10^9 multiply-accumulates of convolutions and matrix products of a forward pass, for "
    "one clip; normalisation, activations and other elementwise work are not counted",
    "params": "learned numbers",
    "kept_mb": "10^6 bytes that training keeps from the forward pass of one clip for the backward "
    "pass; without weights, gradients and the optimiser",
    "peak_mb": "most 10^6 bytes of activations alive at once when one clip is recognised; without "
    "weights and what a kernel needs while it runs",
}
"""What each number of `recipe_cost` says."""


def recipe_cost(
    recipe: Recipe,
    settings: Sequence[str] = (),
    *,
    layout: str,
    classes: int,
    branches: Collection[Branch] | None = None,
    views: int = 1,
) -> dict[str, Any]:
    """Count the RGB branch and one skeleton stream of a recipe; `COUNTS` says what is counted.

    Nothing is computed: the networks run on the ``meta`` device.

    Args:
        recipe: Whose networks and inputs.
        settings: ``key=value`` over the recipe, such as ``rgb.network.staa_blocks=all``.
        layout: Joint layout of the skeletons: a name, or a YAML file.
        classes: Number of classes.
        branches: Which to count; None counts those that the recipe or the settings name, and both
            where neither is named.
        views: RGB views of a clip at test. They multiply its arithmetic; memory is that of one.

    Raises:
        UsageError: ``CFG-003`` for an unknown layout, or as ``poselens.pose.declared.find_layout``;
            ``CFG-001``, ``CFG-002``, ``CFG-006`` as
            ``poselens.training.config.override``.
    """
    wanted = branches if branches is not None else _named(recipe, settings)
    recipe, layout = override(recipe, settings), find_layout(layout).name
    names = tuple(str(number) for number in range(classes))
    rgb = _rgb(recipe, names, views) if "rgb" in wanted else None
    skeleton = _skeleton(recipe, names, layout) if "skeleton" in wanted else None
    counted = [branch for branch in (rgb, skeleton) if branch is not None]
    return {
        "recipe": recipe.name,
        "settings": list(settings),
        "layout": layout,
        "classes": classes,
        "views": views,
        "rgb": rgb,
        "skeleton": skeleton,
        "gmacs": sum(branch["gmacs"] for branch in counted),
        "params": sum(branch["params"] for branch in counted),
    }


def stream_cost(stream: RgbStream | SkeletonStream) -> Cost:
    """Count the network of a stream, as it is trained, for one clip and view."""
    with torch.device("meta"):
        return count_macs(build_network(stream), _one_clip(stream))


def _one_clip(stream: RgbStream | SkeletonStream) -> Tensor:
    """Return a clip without values, as a stream's network takes it."""
    given = stream.input
    if isinstance(given, RgbInput):
        frames = given.segments * given.stem_frames
        return torch.empty(1, frames, 3, given.size, given.size, device="meta")
    assert isinstance(stream, SkeletonStream)
    joints = len(get_layout(stream.layout))
    return torch.empty(1, stream.dimensions, given.window, joints, given.people, device="meta")


def _named(recipe: Recipe, settings: Sequence[str]) -> set[Branch]:
    said = recipe.model_fields_set | {setting.partition(".")[0] for setting in settings}
    both: tuple[Branch, ...] = ("rgb", "skeleton")
    return {branch for branch in both if branch in said} or set(both)


def _rgb(recipe: Recipe, classes: tuple[str, ...], views: int) -> dict[str, Any]:
    stream = RgbStream(classes=classes, input=recipe.rgb.input, network=recipe.rgb.network)
    facts = _counted(stream, _rgb_part)
    for entry in (facts, *facts["parts"]):
        entry["gmacs"] *= views
    frames = stream.input.segments * stream.input.stem_frames
    return {"frames": frames, "size": stream.input.size, **facts}


def _skeleton(recipe: Recipe, classes: tuple[str, ...], layout: str) -> dict[str, Any]:
    section = recipe.skeleton
    stream = SkeletonStream(
        classes=classes,
        input=section.input,
        network=section.network,
        layout=layout,
        dimensions=2 if section.input.space == "pixels" else 3,
    )
    joints, ends = len(get_layout(layout)), list(accumulate(section.network.blocks))
    people, window = section.input.people, section.input.window

    def part(module: str) -> str:
        match = re.match(r"blocks\.(\d+)", module)
        if match:
            return f"stage {1 + sum(int(match[1]) >= end for end in ends)}"
        return "input" if module in ("", "data_norm", "blocks") else "classifier"

    facts = _counted(stream, part)
    if section.contrast is not None:
        with torch.device("meta"):
            head = GraphProjection(
                joints=joints,
                dimensions=section.contrast.dimensions,
                kind=section.contrast.projection,
            )
        params = sum(parameter.numel() for parameter in head.parameters())
        # layers without bias on one graph: every weight is used once
        facts["projection"] = {"gmacs": params / 1e9, "params": params}
    return {"frames": window, "joints": joints, "people": people, **facts}


def _counted(stream: RgbStream | SkeletonStream, part: Callable[[str], str]) -> dict[str, Any]:
    with torch.device("meta"):
        network = build_network(stream)
    cost, memory = count_cost(network, _one_clip(stream), part=part)

    def facts(counted: Cost, held: Memory) -> dict[str, Any]:
        return {
            "gmacs": counted.macs / 1e9,
            "params": counted.params,
            "kept_mb": _megabytes(held.kept),
            "peak_mb": _megabytes(held.peak),
        }

    parts = [
        {"part": name, **facts(counted, memory.by_part[name])}
        for name, counted in cost.by_part.items()
    ]
    # stages without STAA have an identity in its place
    busy = [entry for entry in parts if entry["params"] or any(entry["peak_mb"].values())]
    return {**facts(cost, memory), "parts": busy}


def _megabytes(size: Bytes) -> dict[str, float]:
    return {"fp32": size.fp32 / MEGABYTE, "bf16": size.bf16 / MEGABYTE}


_LAYER = re.compile(r"backbone\.(layer\d)")
_FEATURE = re.compile(r"backbone\.features\.(\d+)")


def _rgb_part(module: str) -> str:
    """Name the stage of a backbone that a module belongs to; STAA and its stem stand apart."""
    if module.startswith("backbone.difference_stem"):
        return "difference stem"
    part = "stem"
    if match := _LAYER.match(module):
        part = match[1]
    elif match := _FEATURE.match(module):
        ends = accumulate((depth for _, _, depth, _ in STAGES), initial=0)
        stage = sum(int(match[1]) > end for end in ends)
        part = "stem" if stage == 0 else f"stage {stage}" if stage <= len(STAGES) else "last"
    elif not module.startswith("backbone"):
        return "classifier"
    return f"{part}: STAA" if ".staa" in module else part
