"""What one clip costs: counted for a recipe, by branch and part; measured for a trained stream."""

import platform
import re
import statistics
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor, nn

from poselens.clips.stream import RgbInput, RgbStream, SkeletonStream, build_network
from poselens.evaluation.cost import Bytes, Cost, Memory, count_cost, count_macs
from poselens.pose.declared import find_layout
from poselens.pose.layouts import get_layout
from poselens.recognition.streams import TrainedStream
from poselens.rgb.mobilenetv2 import STAGES
from poselens.skeleton.projection import GraphProjection
from poselens.training.config import Recipe, override

Branch = Literal["rgb", "skeleton"]
MEGABYTE = 1_000_000
WARM_CALLS, WARM_SECONDS = 3, 0.5
MOST_CALLS, MOST_SECONDS = 30, 1.2
FEWEST_CALLS = 3

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


@dataclass(frozen=True)
class MeasuredCost:
    """What one clip of one view costs a trained stream, on the device it is on.

    Attributes:
        stream: Name of the stream.
        gmacs: 10^9 multiply-accumulates, counted.
        params: Learned numbers of the network as it is trained.
        milliseconds: Median time of the network alone, batch of one, from input on the device to
            logits; reading, decoding and preparing the clip are not in it.
        quartiles: Lower and upper quartile of the same times.
        calls: Calls that were timed, after those that warm up.
        weight_bytes: Bytes of weights and buffers as they lie on the device.
        activation_bytes: Most bytes of activations alive at once, the input included.
        memory_by: How ``activation_bytes`` was found.
        hardware: Device, and threads of a CPU.
        precision: Numbers that the network computes in.
    """

    stream: str
    gmacs: float
    params: int
    milliseconds: float
    quartiles: tuple[float, float]
    calls: int
    weight_bytes: int
    activation_bytes: int
    memory_by: str
    hardware: str
    precision: str

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        return {**asdict(self), "quartiles": list(self.quartiles)}


def measured_cost(trained: TrainedStream) -> MeasuredCost:
    """Count and measure what one clip costs a trained stream; at most about two seconds.

    The network runs as prediction runs it: folded, and in bfloat16 where that is used. The clip is
    noise, for which the arithmetic is the same. After 3 calls, or half a second, 3 to 30 calls are
    timed, for 1.2 seconds at most unless a call takes longer.

    Departure: on a CPU, where nothing tells what an allocator holds, activations are counted
    operation by operation on a copy without values (``poselens.evaluation.cost``), in float32;
    what a kernel needs while it runs is in CUDA's figure and not in the CPU's.
    """
    device, network = trained.device, trained.network
    cost, memory = _count(trained.stream)
    generator = torch.Generator().manual_seed(0)
    clip = torch.randn(_clip_shape(trained.stream), generator=generator).to(device)
    resident = sum(
        tensor.numel() * tensor.element_size()
        for tensor in (*network.parameters(), *network.buffers())
    )
    with torch.no_grad():
        times = _timed(lambda: network(clip), device)
        if device.type == "cuda":
            activations, how = _allocated(network, clip), "torch.cuda.max_memory_allocated"
        else:
            activations, how = memory.peak.fp32, "counted by operation, float32"
    low, _, high = statistics.quantiles(times, n=4)
    return MeasuredCost(
        stream=trained.stream.name,
        gmacs=cost.macs / 1e9,
        params=cost.params,
        milliseconds=statistics.median(times),
        quartiles=(low, high),
        calls=len(times),
        weight_bytes=resident,
        activation_bytes=activations,
        memory_by=how,
        hardware=hardware_name(device),
        precision=str(_precision(network)).removeprefix("torch."),
    )


def hardware_name(device: torch.device) -> str:
    """Name a device for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _count(stream: RgbStream | SkeletonStream) -> tuple[Cost, Memory]:
    with torch.device("meta"):
        network = build_network(stream)
    return count_cost(network, _one_clip(stream))


def _timed(call: Callable[[], object], device: torch.device) -> list[float]:
    """Return the milliseconds of several calls, each waited for, once it is warm."""
    started = time.perf_counter()
    for _ in range(WARM_CALLS):
        _wait(call, device)
        if time.perf_counter() - started > WARM_SECONDS:
            break
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < MOST_CALLS:
        if len(times) >= FEWEST_CALLS and time.perf_counter() - started > MOST_SECONDS:
            break
        times.append(_wait(call, device))
    return times


def _wait(call: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - start)


def _allocated(network: nn.Module, clip: Tensor) -> int:
    torch.cuda.synchronize(clip.device)
    torch.cuda.reset_peak_memory_stats(clip.device)
    # the input is there already, and counts
    before = torch.cuda.memory_allocated(clip.device) - clip.numel() * clip.element_size()
    network(clip)
    torch.cuda.synchronize(clip.device)
    return int(torch.cuda.max_memory_allocated(clip.device) - before)


def _precision(network: nn.Module) -> torch.dtype:
    """Return the type of the largest weight: a classifier may stay in float32."""
    return max(network.parameters(), key=lambda weight: weight.numel()).dtype


def _clip_shape(stream: RgbStream | SkeletonStream) -> tuple[int, ...]:
    """Return the shape of one clip, as a stream's network takes it."""
    given = stream.input
    if isinstance(given, RgbInput):
        frames = given.segments * given.stem_frames
        return (1, frames, 3, given.size, given.size)
    assert isinstance(stream, SkeletonStream)
    joints = len(get_layout(stream.layout))
    return (1, stream.dimensions, given.window, joints, given.people)


def _one_clip(stream: RgbStream | SkeletonStream) -> Tensor:
    """Return a clip without values."""
    return torch.empty(_clip_shape(stream), device="meta")


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
