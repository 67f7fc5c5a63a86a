"""Draw layouts.svg, the figure of docs/concepts/layouts.md. Run it from any folder."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, PathPatch
from matplotlib.path import Path as MplPath

from poselens.pose.convert import place
from poselens.pose.declared import layout_from
from poselens.pose.layouts import LAYOUTS, Layout

INK, MUTED = "#1b2027", "#667080"
COLOURS = {"left": "#c2482d", "right": "#1d5bb8", "middle": "#4a5462"}
OUT = Path(__file__).with_name("layouts.svg")
COLUMNS = 4
RADIUS = 0.46

MIDLINE = {
    "nose": (0, 14.9), "head": (0, 15.6), "top_of_head": (0, 17.2), "base_of_head": (0, 14.6),
    "middle_of_neck": (0, 13.8), "neck_nose": (0, 14.4), "neck": (0, 12.2), "chest": (0, 11.0),
    "spine": (0, 10.2), "lower_spine": (0, 9.7), "pelvis": (0, 8.4), "root": (0, 6.6),
}  # fmt: skip
"""Where a place of a standing person lies on paper, seen from the front; y points up."""

LEFT = {
    "eye_inner": (0.75, 16.1), "eye": (1.55, 16.7), "eye_outer": (2.55, 16.7), "ear": (3.1, 15.6),
    "mouth": (0.55, 13.3), "shoulder": (2.7, 12.0), "collar": (1.2, 12.0), "elbow": (3.7, 9.6),
    "wrist": (4.3, 7.4), "hand": (4.5, 6.1), "hand_tip": (4.6, 4.8), "thumb": (3.4, 5.4),
    "thumb_knuckle": (3.3, 6.5), "index": (3.9, 5.5), "pinky": (5.0, 5.8), "hip": (1.5, 7.7),
    "knee": (1.8, 4.6), "ankle": (1.9, 1.8), "foot": (2.7, 0.6), "toes": (2.7, 0.6),
    "heel": (1.1, 0.6), "big_toe": (2.2, 0.1), "small_toe": (3.3, 0.5), "foot_index": (2.7, 0.6),
}  # fmt: skip
"""The person's left side, which is on the right of the paper."""

NEAR = {"coco-17": {"left_eye": (1.0, 16.1), "left_ear": (2.1, 15.4)}}
"""Faces of fewer joints are drawn smaller."""
NEAR["openpose-18"] = NEAR["openpose-25"] = NEAR["coco-17"]
NEAR["halpe-26"] = {"left_eye": (1.6, 16.1), "left_ear": (2.7, 15.4)}

AROUND = {("halpe-26", "head"): 0.85}
"""Bones that go round a joint that lies between their ends."""

DOG = layout_from(
    "dog",
    {
        "joints": ["nose", "withers", "hip", "tail", "paw_fl", "paw_fr", "paw_bl", "paw_br"],
        "parents": {
            "nose": "withers", "hip": "withers", "tail": "hip", "paw_fl": "withers",
            "paw_fr": "withers", "paw_bl": "hip", "paw_br": "hip",
        },
        "mirror": [["paw_fl", "paw_fr"], ["paw_bl", "paw_br"]],
    },
)  # fmt: skip
DOG_AT = [(4.6, 9.4), (2.6, 8.0), (-2.6, 8.0), (-4.6, 9.6), (3.6, 4.0), (2.0, 4.6), (-1.8, 4.0),
          (-3.4, 4.6)]  # fmt: skip


def position(layout: Layout, joint: str) -> tuple[float, float]:
    """Return where a joint is drawn."""
    spot = place(layout, joint)
    if spot in MIDLINE:
        return MIDLINE[spot]
    side, _, rest = spot.partition("_")
    x, y = NEAR.get(layout.name, {}).get(f"left_{rest}", LEFT[rest])
    return (x if side == "left" else -x), y


def draw(axes: Axes, layout: Layout, points: list[tuple[float, float]]) -> None:
    """Draw bones, and every joint as its number."""
    for joint, parent in layout.edges:
        colour = COLOURS[layout.sides[joint]]
        (x, y), (end_x, end_y) = points[joint], points[parent]
        bend = AROUND.get((layout.name, layout.joints[joint]), 0)
        way = [(x, y), (x + 2 * bend, (y + end_y) / 2), (end_x, end_y)]
        codes = [MplPath.MOVETO, MplPath.CURVE3, MplPath.CURVE3]
        straight = MplPath([way[0], way[-1]])
        axes.add_patch(
            PathPatch(
                MplPath(way, codes) if bend else straight,
                facecolor="none", edgecolor=colour, linewidth=1.8, zorder=2,
            )
        )  # fmt: skip
    for joint, point in enumerate(points):
        colour = COLOURS[layout.sides[joint]]
        if joint == layout.centre:
            ring = Circle(point, RADIUS + 0.2, facecolor="white", edgecolor=INK, linewidth=1.2)
            axes.add_patch(ring).set_zorder(3)
        axes.add_patch(Circle(point, RADIUS, facecolor=colour, edgecolor="white", linewidth=0.6))
        axes.patches[-1].set_zorder(4)
        axes.text(
            *point, str(joint), color="white", fontsize=7, fontweight="bold", ha="center",
            va="center_baseline", zorder=5,
        )  # fmt: skip
    axes.text(0, 18.6, layout.name, fontsize=11, fontweight="bold", color=INK, ha="center")


def explain(axes: Axes) -> None:
    """Say what the colours mean."""
    rows = [("left", "the person's left"), ("right", "the person's right"), ("middle", "midline")]
    for row, (side, text) in enumerate(rows):
        y = 13.0 - 1.8 * row
        axes.add_patch(Circle((-4.2, y), RADIUS, facecolor=COLOURS[side]))
        axes.text(-3.2, y, text, va="center", color=INK)
    axes.add_patch(Circle((-4.2, 7.6), RADIUS + 0.2, facecolor="white", edgecolor=INK))
    axes.add_patch(Circle((-4.2, 7.6), RADIUS, facecolor=COLOURS["middle"]))
    axes.text(-3.2, 7.6, "centre: all limbs lead there", va="center", color=INK)
    axes.text(-4.7, 5.4, "Numbers are the storage order,\nfrom 0. People face the reader.",
              va="center", color=MUTED)  # fmt: skip


def main() -> None:
    """Draw the whole figure."""
    mpl.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "layouts", "font.size": 9})
    panels = [(layout, [position(layout, name) for name in layout.joints])
              for layout in LAYOUTS.values()]  # fmt: skip
    panels.append((DOG, DOG_AT))
    rows = -(-(len(panels) + 1) // COLUMNS)
    figure = Figure(figsize=(2.8 * COLUMNS, 4.7 * rows), facecolor="white")
    for slot in range(len(panels) + 1):
        row, column = divmod(slot, COLUMNS)
        axes = figure.add_axes((column / COLUMNS, 1 - (row + 1) / rows, 1 / COLUMNS, 1 / rows))
        axes.set(xlim=(-5.85, 5.85), ylim=(-0.6, 19.6), aspect="equal")
        axes.axis("off")
        if slot < len(panels):
            draw(axes, *panels[slot])
        else:
            explain(axes)
    figure.savefig(OUT, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
