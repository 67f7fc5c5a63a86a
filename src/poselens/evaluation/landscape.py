"""How accuracy and likelihood of a fusion depend on its weights, and a picture of that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import RegularPolygon
from numpy.typing import NDArray

from poselens.errors import UsageError
from poselens.evaluation.figures import (
    ACCENT,
    INK,
    LINE,
    MUTED,
    STYLE,
    WIDTH,
    WRONG,
    as_svg,
    shorten,
    stream_colour,
)
from poselens.fusion.probabilities import class_probabilities
from poselens.fusion.scores import align, clip_weights, per_stream, present
from poselens.types import Scores

STEPS = 100
TRIANGLE_STEPS = 20
CLIP_LIMIT = 20_000
RESAMPLES = 500
_CELLS = 4_000_000
_MARKS = ("o", "D", "s", "^", "v", "P")

Marks = Mapping[str, Mapping[str, float]]
"""Weights by stream to show, by what they are called; the first are the centre of curves."""


@dataclass(frozen=True, eq=False)
class Landscape:
    """What many choices of weights do on one list of clips.

    Attributes:
        streams: Stream names.
        clips: What the clips are, in the caller's words.
        n: Clips judged.
        points: ``(p, s)`` weights; they sum to one.
        accuracy: Top-1 at each point.
        accuracy_band: ``(p, 2)`` bootstrap interval of it.
        nll: Mean negative log-likelihood at each point, in nats.
        nll_band: ``(p, 2)`` bootstrap interval of it.
        in_noise: Points whose accuracy is not told apart from the best by a paired bootstrap.
        best_weights: ``(s, 2)`` bootstrap interval of each stream's weight at the best accuracy.
        marks: Weights to show.
        unit: What was resampled.
    """

    streams: Sequence[str]
    clips: str
    n: int
    points: Float[np.ndarray, "p s"]
    accuracy: Float[np.ndarray, " p"]
    accuracy_band: Float[np.ndarray, "p 2"]
    nll: Float[np.ndarray, " p"]
    nll_band: Float[np.ndarray, "p 2"]
    in_noise: Bool[np.ndarray, " p"]
    best_weights: Float[np.ndarray, "s 2"]
    marks: Marks
    unit: Literal["clip", "group"]

    def as_dict(self) -> dict[str, Any]:
        """Return what the picture says, for ``--json``: the best point and how sure it is."""
        best, likely = int(self.accuracy.argmax()), int(self.nll.argmin())
        return {
            "clips": self.clips,
            "n": self.n,
            "interval_unit": self.unit,
            "best_accuracy": self._at(best),
            "best_nll": self._at(likely),
            "best_weight_interval": dict(
                zip(self.streams, self.best_weights.tolist(), strict=True)
            ),
            "points": len(self.points),
            "points_in_noise": int(self.in_noise.sum()),
        }

    def _at(self, point: int) -> dict[str, Any]:
        weights = dict(zip(self.streams, self.points[point].tolist(), strict=True))
        return {
            "weights": weights,
            "accuracy": float(self.accuracy[point]),
            "nll": float(self.nll[point]),
        }


def landscape(
    scores: Sequence[Scores],
    temperatures: Mapping[str, float],
    marks: Marks,
    *,
    clips: str,
    groups: Mapping[str, str] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Landscape:
    """Judge a fusion at many weights, on labelled clips that some stream knows.

    Two streams: every hundredth of the weight. Three: every twentieth of a triangle. More: each
    stream's weight from 0 to 1, the others sharing the rest as in the first of ``marks``.

    Args:
        scores: Two or more streams.
        temperatures: Temperature of each stream.
        marks: Weights to show in the picture, one at least.
        clips: What the clips are, such as ``validation``: the picture says so.
        groups: Group of each clip by id; whole groups are drawn then.
        level: Coverage of the bands.
        resamples: Number of resamples.
        seed: Seed of the draw.

    Departure: of more than 20,000 clips, every so many are judged.

    Raises:
        UsageError: ``FUS-023`` with fewer than two streams, ``EVAL-001`` without a labelled clip,
            ``FUS-001``, ``FUS-002`` as ``fusion.scores.align``.
        AnnotationError: ``FUS-003`` as ``fusion.scores.align``.
        InputError: ``FUS-004`` as ``fusion.scores.align``.
    """
    if len(scores) < 2:
        raise UsageError("FUS-023", "one stream has no weights to choose", mend="give two or more")
    aligned = align(scores)
    mask = np.stack([present(stream) for stream in aligned])
    labels = np.asarray(aligned[0].labels)
    rows = np.flatnonzero((labels >= 0) & mask.any(axis=0))
    if not len(rows):
        raise UsageError("EVAL-001", "no clip has both a label and scores")
    rows = rows[:: -(-len(rows) // CLIP_LIMIT)]
    shares = class_probabilities(aligned, rows, per_stream(temperatures, aligned, "temperature"))
    points = _points(aligned, next(iter(marks.values())))
    right, loss = _judged(shares, mask[:, rows], labels[rows], points)
    ids = [aligned[0].ids[row] for row in rows.tolist()]
    units = np.arange(len(rows)) if groups is None else _units(ids, groups)
    drawn = [_resampled(each, units, resamples, seed) for each in (right, loss)]
    tail = 50 * (1 - level)
    ends = (tail, 100 - tail)
    behind = right.mean(axis=0).argmax()
    gap = drawn[0][:, [behind]] - drawn[0]
    tops = drawn[0] == drawn[0].max(axis=1, keepdims=True)
    leaders = (tops @ points) / tops.sum(axis=1, keepdims=True)
    return Landscape(
        [stream.stream for stream in aligned],
        clips,
        len(rows),
        points,
        right.mean(axis=0),
        np.percentile(drawn[0], ends, axis=0).T,
        loss.mean(axis=0),
        np.percentile(drawn[1], ends, axis=0).T,
        np.percentile(gap, tail, axis=0) <= 0,
        np.percentile(leaders, ends, axis=0).T,
        marks,
        "clip" if groups is None else "group",
    )


def _points(aligned: Sequence[Scores], centre: Mapping[str, float]) -> Float[np.ndarray, "p s"]:
    """Return the weights to judge: a line, a triangle, or a line per stream."""
    streams = len(aligned)
    share = np.linspace(0, 1, STEPS + 1)
    if streams == 2:
        return np.stack([share, 1 - share], axis=1)
    if streams == 3:
        steps = TRIANGLE_STEPS
        grid = [(a, b, steps - a - b) for a in range(steps + 1) for b in range(steps + 1 - a)]
        return np.array(grid) / steps
    middle = per_stream(centre, aligned, "weight")
    lines = []
    for stream in range(streams):
        others = middle.copy()
        others[stream] = 0.0
        others = others if others.sum() > 0 else 1.0 - np.eye(streams)[stream]
        line = (1 - share)[:, None] * others / others.sum()
        line[:, stream] = share
        lines.append(line)
    return np.concatenate(lines)


def _judged(
    shares: NDArray[np.float32],
    mask: Bool[np.ndarray, "s n"],
    labels: Int[np.ndarray, " n"],
    points: Float[np.ndarray, "p s"],
) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, "n p"]]:
    """Return whether each clip is right, and its negative log-likelihood, at each point."""
    right = np.empty((len(labels), len(points)))
    loss = np.empty_like(right)
    rows = np.arange(len(labels))
    for place, weights in enumerate(points):
        each = clip_weights(weights, mask).astype(np.float32)
        fused = sum(each[s][:, None] * shares[s] for s in range(len(weights)))
        right[:, place] = fused.argmax(axis=1) == labels
        loss[:, place] = -np.log(np.maximum(fused[rows, labels], np.finfo(np.float32).tiny))
    return right, loss


def _units(ids: Sequence[str], groups: Mapping[str, str]) -> Int[np.ndarray, " n"]:
    missing = [clip for clip in ids if clip not in groups]
    if missing:
        raise UsageError(
            "EVAL-002",
            f"{len(missing)} of {len(ids)} clips have no group, the first {missing[0]!r}",
            mend="give one group per clip",
        )
    members = [groups[clip] for clip in ids]
    units: Int[np.ndarray, " n"] = np.unique(members, return_inverse=True)[1].ravel()
    return units


def _resampled(
    values: Float[np.ndarray, "n p"], units: Int[np.ndarray, " n"], resamples: int, seed: int
) -> Float[np.ndarray, "resamples p"]:
    """Return the means over resampled units; the same seed draws the same units."""
    count = int(units.max()) + 1
    sums = np.zeros((count, values.shape[1]))
    np.add.at(sums, units, values)
    sizes = np.bincount(units).astype(float)
    generator = np.random.default_rng(seed)
    chunk = max(1, _CELLS // count)
    means = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        times = generator.multinomial(count, np.full(count, 1 / count), size=size).astype(float)
        means.append(times @ sums / (times @ sizes)[:, None])
    return np.concatenate(means)


def landscape_figure(found: Landscape) -> str:
    """Draw a landscape as inline SVG: curves for two streams, a triangle for three, else panels."""
    with mpl.rc_context(STYLE):
        figure = _triangles(found) if len(found.streams) == 3 else _curves(found)
        unit = "clips" if found.unit == "clip" else "whole groups"
        said = f"{found.clips}, {found.n} clips; 95 % bootstrap over {unit}"
        figure.text(0.006, 0.985, said, fontsize=9, color=MUTED, va="top")
        return as_svg(figure, "landscape", f"Fusion weights, {found.clips}")


def _curves(found: Landscape) -> Figure:
    """One column for two streams; for more, one per stream against the rest."""
    two = len(found.streams) == 2
    shown = [0] if two else list(range(len(found.streams)))
    height = 4.6
    figure = Figure(figsize=(WIDTH, height))
    figure.subplots_adjust(left=0.06, right=0.99, top=0.86, bottom=0.13, wspace=0.12, hspace=0.14)
    grid = figure.subplots(2, len(shown), squeeze=False, sharex="col", sharey="row")
    for column, stream in enumerate(shown):
        part = slice(column * (STEPS + 1), (column + 1) * (STEPS + 1))
        share, colour = found.points[part, stream], ACCENT if two else stream_colour(stream)
        top, bottom = grid[0, column], grid[1, column]
        top.fill_between(share, *(100 * found.accuracy_band[part].T), color=colour, alpha=0.16)
        top.plot(share, 100 * found.accuracy[part], color=colour, linewidth=1.8)
        bottom.fill_between(share, *found.nll_band[part].T, color=colour, alpha=0.16)
        bottom.plot(share, found.nll[part], color=colour, linewidth=1.8)
        for axes in (top, bottom):
            axes.grid(True)
            axes.tick_params(length=0)
            axes.set_xlim(-0.01, 1.01)
            axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1] if two else [0, 0.5, 1])
            axes.xaxis.set_major_formatter("{x:g}")
        name = shorten(found.streams[stream], 16)
        other = shorten(found.streams[1], 16) if two else "the rest"
        bottom.set_xlabel(f"weight of {name}" + (f" ({other}: the remainder)" if two else ""))
        if not two:
            top.set_title(f"{name} against the rest", fontsize=8.5, color=INK, loc="left")
        _mark_weights(top, bottom, found, stream, named=column == 0)
        if two:
            _mark_best(top, found)
    grid[0, 0].set_ylabel("Top-1, %")
    grid[1, 0].set_ylabel("nats a clip")
    return figure


def _mark_weights(top: Axes, bottom: Axes, found: Landscape, stream: int, *, named: bool) -> None:
    for rank, (name, weights) in enumerate(found.marks.items()):
        share = weights[found.streams[stream]]
        for axes in (top, bottom):
            axes.axvline(share, color=INK, linewidth=0.9, linestyle=(0, (2 + 2 * rank, 2)))
        if len(found.streams) == 2:
            top.text(
                share, 1.02 + 0.075 * rank, f" {name} {share:.2f}", fontsize=8.5, color=INK,
                ha="left" if share < 0.8 else "right", transform=top.get_xaxis_transform(),
            )  # fmt: skip
    if named and len(found.streams) > 2:
        lines = [
            Line2D([], [], color=INK, linewidth=0.9, linestyle=(0, (2 + 2 * rank, 2)))
            for rank in range(len(found.marks))
        ]
        top.figure.legend(
            lines, list(found.marks), loc="upper right", ncols=len(lines), frameon=False,
            fontsize=8.5, labelcolor=INK, borderaxespad=0.1, handlelength=2.6,
        )  # fmt: skip


def _mark_best(top: Axes, found: Landscape) -> None:
    """Show where the best weight of resampled clips lies."""
    low, high = found.best_weights[0]
    top.plot(
        [low, high], [0.03, 0.03], color=WRONG, linewidth=3, transform=top.get_xaxis_transform(),
        solid_capstyle="butt",
    )  # fmt: skip
    left = high > 0.7
    top.text(
        low - 0.006 if left else high + 0.006, 0.03, "best weight in 95 % of resamples",
        fontsize=8, color=WRONG, ha="right" if left else "left", va="center",
        transform=top.get_xaxis_transform(),
    )  # fmt: skip


def _triangles(found: Landscape) -> Figure:
    """Two triangles, whose corners are the streams: accuracy, and likelihood."""
    figure = Figure(figsize=(WIDTH, 5.0))
    for place, (title, values, form) in enumerate(
        (
            ("Top-1, %", 100 * found.accuracy, "{:.1f}"),
            ("nats a clip, less is better", -found.nll, "{:.2f}"),
        )
    ):
        axes = figure.add_axes((0.5 * place + 0.02, 0.03, 0.46, 0.85))
        _triangle(axes, found, values)
        low, high = np.abs([values.min(), values.max()])
        axes.set_title(
            f"{title}: faint {form.format(low)}, full {form.format(high)}",
            fontsize=9, color=INK, loc="left",
        )  # fmt: skip
    names = "   ".join(f"{'○◇□△▽✚'[rank % 6]} {name}" for rank, name in enumerate(found.marks))
    figure.text(
        0.994, 0.985, f"{names}   • not told apart from the best", fontsize=9, color=INK,
        ha="right", va="top",
    )  # fmt: skip
    return figure


def _triangle(axes: Axes, found: Landscape, values: Float[np.ndarray, " p"]) -> None:
    radius = 1 / TRIANGLE_STEPS / np.sqrt(3)
    low, high = values.min(), values.max()
    # in the order of rank, so that one bad corner does not swallow every difference at the top
    ranks = np.searchsorted(np.sort(values), values, side="right") / len(values)
    for (x, y), value, rank in zip(_plane(found.points), values, ranks, strict=True):
        share = 0.5 * (value - low) / max(high - low, 1e-12) + 0.5 * rank
        axes.add_patch(
            RegularPolygon((x, y), 6, radius=radius, color=ACCENT, alpha=0.05 + 0.9 * share)
        )
    if values.max() > 0:
        dots = _plane(found.points[found.in_noise])
        axes.scatter(dots[:, 0], dots[:, 1], s=5, color=INK, linewidth=0, zorder=3)
    corners = _plane(np.eye(3))
    for first, second in pairwise([0, 1, 2, 0]):
        axes.plot(*corners[[first, second]].T, color=LINE, linewidth=0.8, zorder=0)
    for corner, name, side in zip(corners, found.streams, ("right", "left", "center"), strict=True):
        drop = 0.075 if side == "center" else -0.085
        axes.text(
            corner[0],
            corner[1] + drop,
            shorten(name, 18),
            ha={"right": "left", "left": "right"}.get(side, side),
            fontsize=9,
            color=INK,
        )
    for rank, weights in enumerate(found.marks.values()):
        place = _plane(np.array([[weights[name] for name in found.streams]]))
        axes.scatter(
            place[:, 0], place[:, 1], s=46, marker=_MARKS[rank % 6], color="none",
            edgecolor=WRONG, linewidth=1.6, zorder=4 + rank,
        )  # fmt: skip
    axes.set(xlim=(-0.08, 1.08), ylim=(-0.12, 1.0), aspect="equal")
    axes.axis("off")


def _plane(points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 2"]:
    """Return where weights lie in a triangle: corners left, right and top."""
    plane: Float[np.ndarray, "p 2"] = points @ np.array(
        [[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]]
    )
    return plane
