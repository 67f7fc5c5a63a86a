"""When which joint spoke for a class: a map of joints over time, beside the body it is about.

Shades are steps of one colour, so that they can be told apart without seeing hues; numbers come
from ``explain``, which this file does not know.
"""

import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, PathPatch, Rectangle
from matplotlib.path import Path

from poselens.errors import UsageError
from poselens.evaluation.figures import ACCENT, INK, LINE, MUTED, STYLE, WIDTH, as_svg, widest
from poselens.pose.layouts import Layout, require_joint_count

Limb = tuple[str, list[int]]

STEPS = 10
"""Shades between nothing and the most."""
_ROW = 0.165  # inches
_GAP = 0.35  # rows left free between limbs
_TOP, _FOOT, _HEAD = 0.5, 0.42, 0.36
_BODY = 2.3
_LEG = re.compile(r"hip|knee|ankle|foot|leg|toe|heel")
_ARM = re.compile(r"shoulder|elbow|wrist|hand|arm|thumb|pinky|index")


def limbs_of(layout: Layout) -> list[Limb]:
    """Return the joints of a layout by limb, each from the body outwards: name and joints.

    Head and trunk first, then left and right arm, left and right leg, and what is left of either
    side. Limbs are told by the names of joints; without known names there are sides only.
    """
    depth = [_steps_to_centre(layout, joint) for joint in range(len(layout))]
    groups: dict[str, list[int]] = {
        "head and trunk": [], "left arm": [], "right arm": [], "left leg": [], "right leg": [],
    }  # fmt: skip
    for joint, side in enumerate(layout.sides):
        name = layout.joints[joint]
        if side == "middle":
            group = "head and trunk"
        elif _LEG.search(name):
            group = f"{side} leg"
        elif _ARM.search(name):
            group = f"{side} arm"
        else:
            group = f"{side} side"
        groups.setdefault(group, []).append(joint)
    return [
        (group, sorted(joints, key=lambda joint: (depth[joint], joint)))
        for group, joints in groups.items()
        if joints
    ]


def _steps_to_centre(layout: Layout, joint: int) -> int:
    steps = 0
    while layout.parents[joint] != joint:
        joint, steps = layout.parents[joint], steps + 1
    return steps


def attribution_figure(
    attribution: Float[np.ndarray, "t v"],
    layout: Layout,
    *,
    times: Float[np.ndarray, " t"],
    pose: Float[np.ndarray, "v 2"],
    unit: str = "frame",
    title: str = "",
    key: str = "attribution",
) -> str:
    """Draw what each joint gave to a class, when, and in all.

    On the left the body, each joint the larger and darker the more it gave over the whole clip; its
    left is on the right, as seen from the front. On the right a map: rows are joints by limb,
    columns are time, shade is the share of the clip's largest value; above it the sum over joints.
    What speaks against the class is left out.

    Args:
        attribution: Of one person, signed, over the moments of ``times``.
        layout: Of the joints.
        times: Of the columns, ascending.
        pose: One pose to draw the body by, y down; NaN marks a missing joint.
        unit: Of the times.
        title: What is explained.
        key: Name of the figure, different from those of others on a page.

    Raises:
        UsageError: ``EXP-037`` where attribution, times and pose do not fit.
        SkeletonError: ``SKEL-004`` when joints and layout differ in number.
    """
    require_joint_count(attribution.shape[1], layout)
    if len(times) != len(attribution) or len(pose) != len(layout) or len(times) == 0:
        raise UsageError(
            "EXP-037",
            f"found an attribution of {attribution.shape}, {len(times)} times and a pose of "
            f"{len(pose)} joints; expected one time a row, one joint a column",
        )
    positive = np.maximum(attribution, 0.0)
    limbs = limbs_of(layout)
    order = [joint for _, joints in limbs for joint in joints]
    gaps = _GAP * (len(limbs) - 1)
    height = (len(order) + gaps) * _ROW
    names = [layout.joints[joint].replace("_", " ") for joint in order]
    left = _BODY + widest(names, 7.5) + 0.25
    total = height + _TOP + _FOOT + _HEAD
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, total))
        figure.text(0.0, 1 - 0.12 / total, title, fontsize=9.5, color=INK, va="center")
        across = WIDTH - left - 0.1
        body = _place(figure, 0.0, _HEAD, _BODY - 0.15, height + _TOP)
        _draw_body(body, positive.sum(axis=0), pose, layout)
        curve = _place(figure, left, _HEAD, across, _TOP - 0.08)
        grid = _place(figure, left, _HEAD + _TOP, across, height)
        _draw_grid(grid, positive, limbs, names, times, unit)
        _draw_sum(curve, positive.sum(axis=1), times)
        _draw_scale(figure, total)
        drawn = as_svg(figure, key, title or "Attribution of joints over time")
    # hundredths of a point are enough
    return re.sub(r"(\.\d\d)\d+", r"\1", drawn)


def _place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return axes at a place in inches, counted from the upper left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes(
        (left / across, 1 - (top + height) / down, width / across, height / down)
    )


def _edges(times: Float[np.ndarray, " t"]) -> Float[np.ndarray, " e"]:
    """Return where the column of each time begins and ends: half way to its neighbours."""
    if len(times) == 1:
        return np.array([times[0] - 0.5, times[0] + 0.5])
    inner = (times[1:] + times[:-1]) / 2
    first, last = 2 * times[0] - inner[0], 2 * times[-1] - inner[-1]
    edges: Float[np.ndarray, " e"] = np.concatenate([[first], inner, [last]])
    return edges


def _draw_grid(
    axes: Axes,
    positive: Float[np.ndarray, "t v"],
    limbs: Sequence[Limb],
    names: Sequence[str],
    times: Float[np.ndarray, " t"],
    unit: str,
) -> None:
    edges = _edges(times)
    shades = np.round(STEPS * positive / max(float(positive.max()), 1e-12)).astype(int)
    tops: list[float] = []
    row = 0.0
    paths: dict[int, list[Path]] = {}
    for _, joints in limbs:
        axes.add_patch(
            Rectangle((edges[0], row), edges[-1] - edges[0], len(joints), color=LINE, alpha=0.35)
        )
        for joint in joints:
            _add_row(paths, shades[:, joint], edges, row)
            tops.append(row)
            row += 1
        row += _GAP
    # one shape for each shade: a rectangle for each cell would be a file of its own
    for shade, parts in sorted(paths.items()):
        axes.add_patch(
            PathPatch(Path.make_compound_path(*parts), color=ACCENT, alpha=shade / STEPS)
        )
    axes.set(xlim=(edges[0], edges[-1]), ylim=(row - _GAP, 0))
    axes.set_yticks([top + 0.5 for top in tops], names, fontsize=7.5)
    axes.tick_params(length=0)
    axes.set_xlabel(unit, fontsize=8)
    for side in axes.spines.values():
        side.set_visible(False)


def _add_row(
    paths: dict[int, list[Path]],
    shades: Int[np.ndarray, " t"],
    edges: Float[np.ndarray, " e"],
    row: float,
) -> None:
    """Add the stretches of equal shade of one row."""
    start = 0
    for place in range(1, len(shades) + 1):
        if place < len(shades) and shades[place] == shades[start]:
            continue
        if shades[start] > 0:
            left, right = edges[start], edges[place]
            corners = [(left, row), (right, row), (right, row + 1), (left, row + 1), (left, row)]
            paths.setdefault(int(shades[start]), []).append(Path(corners, closed=True))
        start = place


def _draw_sum(axes: Axes, sums: Float[np.ndarray, " t"], times: Float[np.ndarray, " t"]) -> None:
    share = sums / max(float(sums.max()), 1e-12)
    axes.fill_between(times, share, color=ACCENT, alpha=0.28, linewidth=0)
    axes.plot(times, share, color=ACCENT, linewidth=1.2)
    edges = _edges(times)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.05))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_ylabel("all joints", fontsize=7.5, rotation=0, ha="right", va="center")
    axes.spines["left"].set_visible(False)


def _draw_body(
    axes: Axes, sums: Float[np.ndarray, " v"], pose: Float[np.ndarray, "v 2"], layout: Layout
) -> None:
    known = np.isfinite(pose).all(axis=-1)
    axes.set_axis_off()
    axes.set_aspect("equal")
    if not known.any():
        return
    low, high = pose[known].min(axis=0), pose[known].max(axis=0)
    size = max(float((high - low).max()), 1e-6)
    share = sums / max(float(sums.max()), 1e-12)
    for joint, parent in layout.edges:
        if known[joint] and known[parent]:
            axes.plot(*zip(pose[joint], pose[parent], strict=True), color=LINE, linewidth=5,
                      solid_capstyle="round", zorder=1)  # fmt: skip
    for joint in np.argsort(share, kind="stable").tolist():
        if not known[joint]:
            continue
        radius = size * (0.008 + 0.04 * float(share[joint]) ** 0.5)
        axes.add_patch(Circle(pose[joint], radius, color=LINE, zorder=2))
        axes.add_patch(
            Circle(pose[joint], radius, color=ACCENT, alpha=float(0.1 + 0.9 * share[joint]),
                   zorder=3)
        )  # fmt: skip
    room = 0.08 * size
    axes.set(xlim=(low[0] - room, high[0] + room), ylim=(high[1] + room, low[1] - room))


def _draw_scale(figure: Figure, total: float) -> None:
    """Draw the steps of the shade at the upper right, with what they mean."""
    width, cell = 0.11, 0.11
    right = WIDTH - 1.15
    axes = _place(figure, right - STEPS * width, 0.07, STEPS * width, cell)
    for step in range(STEPS):
        axes.add_patch(Rectangle((step, 0), 1, 1, color=ACCENT, alpha=(step + 1) / STEPS))
    axes.set(xlim=(0, STEPS), ylim=(0, 1))
    axes.set_axis_off()
    middle = 1 - (0.07 + cell / 2) / total
    figure.text((right - STEPS * width - 0.06) / WIDTH, middle, "nothing", ha="right",
                va="center", fontsize=7.5, color=MUTED)  # fmt: skip
    figure.text(
        (right + 0.06) / WIDTH, middle, "most in the clip", va="center", fontsize=7.5, color=MUTED
    )
