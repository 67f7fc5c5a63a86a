"""Draw rgb_block.svg, the figure of docs/concepts/rgb.md. Run it from any folder."""

from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle

INK, MUTED, LINE = "#1b2027", "#667080", "#c9d0d8"
BLUE, ORANGE, PANEL = "#1d5bb8", "#c2482d", "#f6f7f9"
OUT = Path(__file__).with_name("rgb_block.svg")

FRAMES = 5
RISES = (0.85, 0.25, 0.6, 0.15, 0.45, 0.35)


def box(
    axes: Axes, left: float, low: float, width: float, height: float, text: str, edge: str = LINE
) -> None:
    """Draw a step."""
    axes.add_patch(
        FancyBboxPatch(
            (left, low), width, height, boxstyle="round,pad=0,rounding_size=0.8",
            facecolor="white", edgecolor=edge, linewidth=1 if edge == LINE else 1.6,
        )
    )  # fmt: skip
    axes.text(left + width / 2, low + height / 2, text, ha="center", va="center", color=INK)


def arrow(axes: Axes, *points: tuple[float, float], colour: str = INK, head: bool = True) -> None:
    """Draw straight pieces through the points, with a head at the last."""
    for start, end in pairwise(points if not head else points[:-1]):
        axes.plot(*zip(start, end, strict=True), color=colour, linewidth=1.1)
    if head:
        axes.add_patch(
            FancyArrowPatch(
                points[-2], points[-1], arrowstyle="-|>", mutation_scale=9, linewidth=1.1,
                color=colour, shrinkA=0, shrinkB=0,
            )
        )  # fmt: skip


def small(axes: Axes, x: float, y: float, text: str, **how: str) -> None:
    """Write a remark."""
    axes.text(x, y, text, fontsize=8, **{"color": MUTED, "ha": "center", "va": "center", **how})


def joint(axes: Axes, x: float, y: float, sign: str) -> None:
    """Draw where two things meet."""
    axes.add_patch(Circle((x, y), 1.5, facecolor="white", edgecolor=INK, linewidth=1, zorder=3))
    axes.text(x, y - 0.05, sign, ha="center", va="center", color=INK, fontsize=10, zorder=4)


def dot(axes: Axes, x: float, y: float) -> None:
    """Draw where a line forks."""
    axes.add_patch(Circle((x, y), 0.4, color=INK, zorder=3))


def panel(axes: Axes, left: float, width: float, title: str, colour: str) -> None:
    """Draw the ground of an enlarged part."""
    axes.add_patch(
        FancyBboxPatch(
            (left, 1), width, 42, boxstyle="round,pad=0,rounding_size=1",
            facecolor=PANEL, edgecolor=colour, linewidth=1.4, zorder=0,
        )
    )  # fmt: skip
    axes.text(left + 1.5, 40.4, title, color=colour, ha="left", va="center", fontweight="bold")


def draw_block(axes: Axes) -> None:
    """Draw the bottleneck from left to right, with its shortcut."""
    middle = 54
    for left, width, text, edge in (
        (8, 9, "shift", LINE),
        (22, 11, "conv1\n1×1", LINE),
        (38, 9, "MA", BLUE),
        (52, 9, "TA", ORANGE),
        (70, 11, "conv3\n1×1", LINE),
    ):
        box(axes, left, middle - 3.2, width, 6.4, text, edge=edge)
    joint(axes, 89, middle, "+")
    dot(axes, 4, middle)
    for left, right in (
        (0.5, 8),
        (17, 22),
        (33, 38),
        (47, 52),
        (61, 70),
        (81, 87.5),
        (90.5, 106.5),
    ):
        arrow(axes, (left, middle), (right, middle))
    arrow(axes, (4, middle), (4, 62.5), (89, 62.5), (89, middle + 1.5))
    small(axes, 46, 63.9, "shortcut, of frames as they came")
    small(axes, 27.5, 49.3, "bn1, ReLU")
    small(axes, 75.5, 49.3, "bn3")
    small(axes, 66, 55.4, "ReLU")
    small(axes, 94.4, 55.4, "ReLU")
    small(axes, 35.4, 55.4, "M")
    small(axes, 49.4, 55.4, "$M_{map}$")
    small(axes, 12.5, 49.3, "no arithmetic")
    small(axes, 4.8, 60.9, "n, t, 4c, h, w", ha="left")
    small(axes, 106.5, 52.2, "n, t, 4c, h, w", ha="right")
    small(axes, 49.5, 59.4, "STAA, in place of conv2: n, t, c, h, w")
    axes.add_patch(
        FancyBboxPatch(
            (36.6, 49.4), 25.8, 8.9, boxstyle="round,pad=0,rounding_size=1",
            fill=False, edgecolor=MUTED, linewidth=0.9, linestyle=(0, (3, 2)),
        )
    )  # fmt: skip
    for start, end, colour in (
        ((12.5, 48.3), (12.5, 43), LINE),
        ((42.5, 50.8), (42.5, 43), BLUE),
        ((56.5, 50.8), (72, 43), ORANGE),
    ):
        axes.plot(*zip(start, end, strict=True), color=colour, linewidth=1.1, linestyle=(0, (2, 2)))


def draw_shift(axes: Axes) -> None:
    """Draw eight channels of five frames, two of them moved along time."""
    panel(axes, 1, 23, "temporal shift", MUTED)
    left, low, wide, high = 7.5, 10.5, 3, 3
    names = ["t−2", "t−1", "t", "t+1", "t+2"]
    for frame in range(FRAMES):
        small(axes, left + wide * (frame + 0.5), low - 1.4, names[frame])
        for channel in range(8):
            kind = {7: 1, 6: -1}.get(channel, 0)
            empty = (kind == 1 and frame == FRAMES - 1) or (kind == -1 and frame == 0)
            colour = {1: BLUE, -1: ORANGE, 0: "#8a94a3"}[kind]
            axes.add_patch(
                Rectangle(
                    (left + wide * frame + 0.15, low + high * channel + 0.15), wide - 0.3,
                    high - 0.3, facecolor="white" if empty else colour, edgecolor=colour,
                    alpha=0.9 if kind else 0.35, linewidth=0.8,
                )
            )  # fmt: skip
            if empty:
                small(axes, left + wide * (frame + 0.5), low + high * (channel + 0.5), "0")
    moves = [(7, frame + 1, frame) for frame in range(3)]
    moves += [(6, frame, frame + 1) for frame in range(1, 4)]
    for channel, start, end in moves:
        y = low + high * (channel + 0.5)
        shift = 0.55 if end > start else -0.55
        axes.add_patch(
            FancyArrowPatch(
                (left + wide * (start + 0.5) + shift, y), (left + wide * (end + 0.5) - shift, y),
                arrowstyle="-|>", mutation_scale=6, linewidth=1, color="white",
                shrinkA=0, shrinkB=0,
            )
        )  # fmt: skip
    for channel, text in ((7.5, "1/8"), (6.5, "1/8"), (3, "6/8")):
        small(axes, left - 0.8, low + high * channel, text, ha="right")
    small(axes, 12.5, 36.6, "what each frame then holds", color=INK)
    small(
        axes,
        12.5,
        5.9,
        "blue: from the frame after,\norange: from the one before.\nCausal: orange alone",
    )


def draw_attention(axes: Axes) -> None:
    """Draw differences, their maximum, the mask, phi, and their sum."""
    panel(axes, 26, 33, "motion attention, MA", BLUE)
    for place in range(3):
        axes.add_patch(
            Rectangle(
                (28.4 + place, 31 - place), 4, 4, facecolor="white", edgecolor=INK, zorder=place + 1
            )
        )
    small(axes, 31.6, 36.5, "M: t frames")
    arrow(axes, (34.6, 31.5), (38, 31.5))
    box(axes, 38, 28.5, 19, 6, "F(t) = M(t+1) − M(t)")
    small(axes, 50, 36, "Eq. (3)")
    arrow(axes, (47.5, 28.5), (47.5, 25.2))
    box(axes, 38, 19.2, 19, 6, "σ(max over t, h, w)")
    small(axes, 50, 26.8, "Eq. (4)")
    for channel, rise in enumerate(RISES):
        axes.add_patch(
            Rectangle(
                (44.2 + 1.15 * channel, 14.9), 0.95, 0.3 + 3.0 * rise, color=BLUE, linewidth=0
            )
        )
    axes.plot([43.8, 51.4], [14.8, 14.8], color=MUTED, linewidth=0.8)
    small(axes, 40.1, 16.6, "one weight\na channel")
    small(axes, 52.2, 16.6, "$F_{mask}$", ha="left", color=INK)
    arrow(axes, (47.5, 14.6), (47.5, 12.6))
    joint(axes, 47.5, 11, "⊙")
    small(axes, 50, 12.6, "· γ", color=INK, ha="left")
    dot(axes, 36.2, 31.5)
    arrow(axes, (36.2, 31.5), (36.2, 11), (46, 11))
    dot(axes, 36.2, 11)
    box(axes, 28, 14.6, 6.2, 9.4, "φ\nconv2\n3×3\nbn2")
    arrow(axes, (31.1, 28.9), (31.1, 24))
    arrow(axes, (31.1, 14.6), (31.1, 5.6), (46, 5.6))
    arrow(axes, (47.5, 9.5), (47.5, 7.1))
    joint(axes, 47.5, 5.6, "+")
    arrow(axes, (49, 5.6), (53.4, 5.6))
    small(axes, 54, 5.6, "$M_{map}$", ha="left", color=INK)
    small(axes, 42.5, 2.9, "Eq. (5); γ = 0 at the start")


def draw_aggregation(axes: Axes) -> None:
    """Draw the four fragments, the chain through them, and the sum."""
    panel(axes, 61, 46, "temporal aggregation, TA", ORANGE)
    axes.text(66.3, 30.4, "$M_{map}$", color=INK, ha="center", va="center")
    arrow(axes, (66.3, 29), (66.3, 25.2))
    box(axes, 63.9, 14, 4.8, 11.2, "split\n1×1\nbn\nReLU")
    rows = (33.5, 26.5, 19.5, 12.5)
    for number, y in enumerate(rows, 1):
        arrow(axes, (68.7, 19.6), (69.9, 19.6), (69.9, y), (71.4, y))
        axes.text(72.7, y, f"$v_{number}$", ha="center", va="center", color=INK)
        if number == 1:
            arrow(axes, (73.9, y), (95.6, y))
        else:
            arrow(axes, (73.9, y), (79.5, y))
            box(axes, 79.5, y - 2.1, 5.6, 4.2, "3×3")
            arrow(axes, (85.1, y), (87.5, y))
            box(axes, 87.5, y - 2.1, 5, 4.2, "dep")
            arrow(axes, (92.5, y), (95.6, y))
        axes.text(96.9, y, f"$q_{number}$", ha="center", va="center", color=INK)
        arrow(axes, (98.2, y), (99.4, y), (99.4, 19.6), head=False)
    for above, y in pairwise(rows[1:]):
        arrow(axes, (93.6, above), (93.6, above - 3.5), (76.2, above - 3.5), (76.2, y + 1.5))
        dot(axes, 93.6, above)
        joint(axes, 76.2, y, "+")
    small(axes, 81.6, 37.8, "space", color=INK)
    small(axes, 81.6, 36, "bn, ReLU")
    small(axes, 91, 37.8, "time, then 1×1", color=INK)
    small(axes, 91, 36, "3 frames; bn")
    arrow(axes, (99.4, 19.6), (101.6, 19.6))
    axes.text(102.9, 19.6, "Q", ha="center", va="center", color=INK)
    arrow(axes, (102.9, 18.2), (102.9, 7.1))
    small(axes, 102.2, 9.4, "scale ·", color=INK, ha="right")
    joint(axes, 102.9, 5.6, "+")
    dot(axes, 66.3, 27.2)
    arrow(axes, (66.3, 27.2), (62.5, 27.2), (62.5, 5.6), (101.4, 5.6))
    small(axes, 81, 7, "$M_{map}$ itself")
    arrow(axes, (104.4, 5.6), (106.5, 5.6))
    small(axes, 84, 2.9, "Eq. (6)-(8); scale = 0 at the start. $q_4$ sees seven frames")


def main() -> None:
    """Draw the whole figure."""
    mpl.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "rgb", "font.size": 9.5})
    mpl.rcParams["mathtext.fontset"] = "dejavusans"
    figure = Figure(figsize=(10.8, 6.6), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 108), ylim=(0, 66), aspect="equal")
    axes.axis("off")
    draw_block(axes)
    draw_shift(axes)
    draw_attention(axes)
    draw_aggregation(axes)
    figure.savefig(OUT, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
