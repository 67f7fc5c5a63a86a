"""What the paper's table of costs is compared with: recipes, counted, and streams, measured."""

from collections.abc import Sequence
from typing import Any

from poselens.clips.device import choose_device
from poselens.recipes import load
from poselens.recipes.costing import measured_cost, recipe_cost
from poselens.recipes.table_runs import Given
from poselens.recognition.bundle import load_bundle

LAYOUTS: tuple[tuple[str, str, int, tuple[str, ...]], ...] = (
    ("NTU60: 25 joints, 2 people", "ntu-25", 60, ()),
    ("FineGym99: 17 joints, 1 person", "coco-17", 99, ("skeleton.input.people=1",)),
)
"""What recipes are counted for: a name for people, layout, classes, settings."""


def preset_costs(presets: Sequence[str]) -> list[dict[str, Any]]:
    """Count recipes, both branches, for the data sets of the paper.

    Raises:
        UsageError: ``CFG-008`` as ``recipes.load``.
    """
    lines = []
    for name in presets:
        for title, layout, classes, settings in LAYOUTS:
            cost = recipe_cost(
                load(name), settings, layout=layout, classes=classes,
                branches=("rgb", "skeleton"),
            )  # fmt: skip
            lines.append(
                {
                    "setting": f"recipe {name}, {title}",
                    "rgb_gmacs": cost["rgb"]["gmacs"],
                    "skeleton_gmacs": cost["skeleton"]["gmacs"],
                    "gmacs": cost["gmacs"],
                    "params": cost["params"],
                }
            )
    return lines


def given_costs(given: Given) -> list[dict[str, Any]]:
    """Measure the runs and bundles that were given, on the device asked for."""
    lines = []
    for path in (*given.runs, *given.bundles):
        bundle = load_bundle(path, device=choose_device(given.device))
        costs = [measured_cost(trained) for trained in bundle.streams]
        rgb = [cost for cost in costs if cost.stream == "rgb"]
        streams = " + ".join(cost.stream for cost in costs)
        lines.append(
            {
                "setting": f"{'/'.join(path.parts[-2:])}: {streams}",
                "rgb_gmacs": rgb[0].gmacs if rgb else None,
                "skeleton_gmacs": sum(c.gmacs for c in costs if c.stream != "rgb") or None,
                "gmacs": sum(cost.gmacs for cost in costs),
                "params": sum(cost.params for cost in costs),
                "milliseconds": sum(cost.milliseconds for cost in costs),
                "weight_bytes": sum(cost.weight_bytes for cost in costs),
                "activation_bytes": max(cost.activation_bytes for cost in costs),
                "memory_by": costs[0].memory_by,
                "hardware": costs[0].hardware,
            }
        )
    return lines
