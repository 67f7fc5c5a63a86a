"""Whether an attribution has to do with the network: random weights, deletion and insertion.

Nothing here knows what is attributed: pixels, or joints over time. An attribution is an array of
any shape with clips first, and the caller says how a network is asked.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.stats import rankdata
from torch import nn

from poselens.errors import UsageError

RANDOM_LIMIT = 0.5
"""Mean rank correlation with random weights above which a map does not show the weights."""

FEWEST = 5
"""Clips, or groups of them, below which an interval says too little to decide by."""

Attribute = Callable[[nn.Module], Float[np.ndarray, "n *a"]]
"""Asks a network about the same clips: one array per clip."""

Keep = Callable[[Bool[np.ndarray, "b *a"]], Float[np.ndarray, " b"]]
"""Returns a clip's score where only what a mask keeps is left, and the rest is a baseline."""

_ROUNDS, _LEVEL = 2000, 0.95


@dataclass(frozen=True)
class MeanInterval:
    """A mean over clips and its 95 % bootstrap interval.

    Attributes:
        mean: Over clips.
        low: Lower end of the interval.
        high: Upper end.
        clips: How many.
        units: What was resampled: as many clips, or fewer groups of them.
    """

    mean: float
    low: float
    high: float
    clips: int
    units: int

    @property
    def decides(self) -> bool:
        """Whether there are enough units for the interval to mean something."""
        return self.units >= FEWEST

    @property
    def counted(self) -> str:
        """How many clips, in how many groups."""
        groups = f" in {self.units} groups" if self.units != self.clips else ""
        return f"{self.clips} clips{groups}"

    def as_dict(self) -> dict[str, float | int]:
        """Return the facts for JSON."""
        return {
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "clips": self.clips,
            "units": self.units,
        }


@dataclass(frozen=True, eq=False)
class Randomisation:
    """How like the trained network's maps those of ever more random networks are.

    Attributes:
        layers: What was made random, one part more each time, from the output on.
        ranks: Spearman's rank correlation after each, over clips.
        likeness: Mean structural similarity (SSIM) after each.
        plain: Clips whose map had no variation, in either network, in each step; they have no
            rank and are left out of ``ranks``.
        passes: Whether the maps of the wholly random network are unlike: the upper end of the
            interval of the rank correlation lies under `RANDOM_LIMIT`. None where that cannot be
            said: no rank, or fewer than `FEWEST` units.
    """

    layers: Sequence[str]
    ranks: Sequence[MeanInterval | None]
    likeness: Sequence[float]
    plain: Sequence[int]
    passes: bool | None

    @property
    def verdict(self) -> str:
        """One line for a reader."""
        last = self.ranks[-1]
        if last is None:
            return "random weights: undecided, no map of the random network has any variation"
        found = f"rank correlation {last.mean:.2f} [{last.low:.2f}, {last.high:.2f}]"
        return (
            f"random weights: {_word(self.passes)}, {found} with all weights random, limit "
            f"{RANDOM_LIMIT}, {last.counted}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        return {
            "layers": list(self.layers),
            "spearman": [None if each is None else each.as_dict() for each in self.ranks],
            "ssim": list(self.likeness),
            "without_variation": list(self.plain),
            "passes": self.passes,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, eq=False)
class Removal:
    """How the score follows what is taken away, or brought in, in the order of the attribution.

    Attributes:
        kind: ``deletion`` (from the whole clip) or ``insertion`` (from the baseline).
        shares: Shares of the clip taken away or brought in, from 0 to 1.
        curve: Mean score over clips in the attribution's order.
        random: The same in random order.
        area: Area under the clips' curves.
        random_area: Area under those of random order.
        gain: By how much the attribution's order is better: a smaller area in deletion, a larger
            one in insertion.
    """

    kind: str
    shares: Float[np.ndarray, " steps"]
    curve: Float[np.ndarray, " steps"]
    random: Float[np.ndarray, " steps"]
    area: MeanInterval
    random_area: MeanInterval
    gain: MeanInterval

    @property
    def passes(self) -> bool | None:
        """Whether the attribution's order is better than chance, by the whole interval.

        None with fewer than `FEWEST` units.
        """
        return self.gain.low > 0 if self.gain.decides else None

    @property
    def verdict(self) -> str:
        """One line for a reader."""
        gain = f"{self.gain.mean:+.3f} [{self.gain.low:+.3f}, {self.gain.high:+.3f}]"
        return (
            f"{self.kind}: {_word(self.passes)}, area {self.area.mean:.3f} against "
            f"{self.random_area.mean:.3f} in random order, better by {gain}, {self.gain.counted}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON."""
        return {
            "shares": self.shares.tolist(),
            "curve": self.curve.tolist(),
            "random": self.random.tolist(),
            "area": self.area.as_dict(),
            "random_area": self.random_area.as_dict(),
            "gain": self.gain.as_dict(),
            "passes": self.passes,
            "verdict": self.verdict,
        }


def _word(passes: bool | None) -> str:
    return "undecided" if passes is None else "passes" if passes else "fails"


def randomise(network: nn.Module, layer: str, seed: int) -> None:
    """Shuffle every parameter of one part of a network, in place.

    Departure: Adebayo et al. draw new weights. Shuffled ones keep the scale of each layer, so that
    normalisations with fixed statistics neither silence a deep network nor let it overflow.
    """
    part = network.get_submodule(layer)
    with torch.no_grad():
        for number, parameter in enumerate(part.parameters()):
            generator = torch.Generator().manual_seed(seed + number)
            order = torch.randperm(parameter.numel(), generator=generator)
            flat = parameter.detach().cpu().reshape(-1)[order]
            parameter.copy_(flat.view(parameter.shape))


def randomisation_test(
    network: nn.Module,
    layers: Sequence[str],
    attribute: Attribute,
    *,
    seed: int = 0,
    window: int | None = 7,
    groups: Sequence[str] | None = None,
) -> Randomisation:
    """Ask ever more random copies of a network, and compare their maps with its own.

    Source: the cascading test of Adebayo et al.: Sanity Checks for Saliency Maps, NeurIPS 2018.

    Args:
        network: The trained one; it is left as it is.
        layers: Names of its parts, from the output to the input.
        attribute: Returns the maps of all clips by a network.
        seed: Seed of the shuffling.
        window: Side of the windows of SSIM along the last two axes; None for one window, for maps
            whose last axes are no picture.
        groups: Group of each clip (subject, source); whole groups are then resampled.

    Raises:
        UsageError: ``EXP-011`` for no layer, or groups that do not fit.
    """
    if not layers:
        raise UsageError("EXP-011", "found no layer to make random", mend="name at least one")
    own, random = attribute(network), copy.deepcopy(network)
    _require_groups(groups, len(own))
    ranks: list[MeanInterval | None] = []
    likeness: list[float] = []
    plain: list[int] = []
    for number, layer in enumerate(layers):
        randomise(random, layer, seed + 10_000 * number)
        maps = attribute(random)
        found = np.array([rank_correlation(*pair) for pair in zip(own, maps, strict=True)])
        known = np.isfinite(found)
        named = None if groups is None else [g for g, k in zip(groups, known, strict=True) if k]
        ranks.append(mean_interval(found[known], named, seed=seed) if known.any() else None)
        alike = [similarity(*pair, window=window) for pair in zip(own, maps, strict=True)]
        likeness.append(float(np.mean(alike)))
        plain.append(int((~known).sum()))
    last = ranks[-1]
    passes = last.high < RANDOM_LIMIT if last is not None and last.decides else None
    return Randomisation(layers, ranks, likeness, plain, passes)


def rank_correlation(first: Float[np.ndarray, "*a"], second: Float[np.ndarray, "*a"]) -> float:
    """Return Spearman's rank correlation of two maps; NaN where one of them has no variation."""
    one, other = (rankdata(each) - (each.size + 1) / 2 for each in (first, second))
    spread = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / spread if spread > 0 else float("nan")


def similarity(
    first: Float[np.ndarray, "*a"], second: Float[np.ndarray, "*a"], *, window: int | None = 7
) -> float:
    r"""Return the mean structural similarity (SSIM) of two maps with values in [0, 1].

    .. math:: \frac{(2 \mu_x \mu_y + c_1)(2 \sigma_{xy} + c_2)}
        {(\mu_x^2 + \mu_y^2 + c_1)(\sigma_x^2 + \sigma_y^2 + c_2)}, \quad
        c_1 = 0.01^2, c_2 = 0.03^2

    with means over windows along the last two axes, or over everything.

    Source: Wang et al., IEEE TIP 13(4), 2004. Departure: windows are squares of equal weight.
    """

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        if window is None:
            return np.asarray(values.mean())
        smooth: NDArray[np.float64] = uniform_filter(
            values, size=[1] * (values.ndim - 2) + [window] * 2, mode="nearest"
        )
        return smooth

    x, y = first.astype(np.float64), second.astype(np.float64)
    mean_x, mean_y = mean(x), mean(y)
    # rounding may leave a variance a little below zero
    var_x, var_y = (np.maximum(mean(v * v) - m * m, 0) for v, m in ((x, mean_x), (y, mean_y)))
    both = mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float(np.mean(above / below))


def removal_curves(
    attributions: Sequence[Float[np.ndarray, "*a"]],
    keeps: Sequence[Keep],
    *,
    steps: int = 10,
    draws: int = 3,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> tuple[Removal, Removal]:
    """Return deletion and insertion: what the scores do as the most important cells go or come.

    Source: Petsiuk, Das, Saenko: RISE, BMVC 2018. The order by chance has the same cells: single
    pixels at random would be noise no network has seen, and easy to beat.

    Args:
        attributions: Of each clip: importance of its cells.
        keeps: Of each clip: the class's score where only some cells are left.
        steps: Equal steps from everything to nothing.
        draws: Random orders of each clip.
        seed: Seed of the random orders and of the intervals.
        groups: Group of each clip; whole groups are then resampled.

    Raises:
        UsageError: ``EXP-011`` for no clip, fewer than 2 cells, or numbers that do not fit.
    """
    if not attributions or len(attributions) != len(keeps) or steps < 2 or draws < 1:
        raise UsageError(
            "EXP-011",
            f"found {len(attributions)} attributions, {len(keeps)} clips, {steps} steps and "
            f"{draws} random orders; expected as many attributions as clips, 2 steps, 1 order",
            mend="give one attribution for each clip",
        )
    generator = np.random.default_rng(seed)
    shares = np.linspace(0.0, 1.0, steps + 1)
    curves: list[NDArray[np.float64]] = []
    for attribution, keep in zip(attributions, keeps, strict=True):
        cells = attribution.size
        # equal cells in random order, or the first corner of the picture would count as important
        shaken = generator.permutation(cells)
        best = shaken[np.argsort(-attribution.reshape(-1)[shaken], kind="stable")]
        orders = [best, *(generator.permutation(cells) for _ in range(draws))]
        curves.append(
            np.stack([_both_curves(order, attribution.shape, keep, shares) for order in orders])
        )
    found = np.stack(curves)  # (clips, orders, 2, steps + 1)
    by_map, by_chance = found[:, 0], found[:, 1:].mean(axis=1)
    kinds = (("deletion", -1.0), ("insertion", 1.0))
    deletion, insertion = (
        _removal(kind, sign, shares, by_map[:, row], by_chance[:, row], groups, seed)
        for row, (kind, sign) in enumerate(kinds)
    )
    return deletion, insertion


def _removal(
    kind: str,
    sign: float,
    shares: Float[np.ndarray, " steps"],
    by_map: Float[np.ndarray, "n steps"],
    by_chance: Float[np.ndarray, "n steps"],
    groups: Sequence[str] | None,
    seed: int,
) -> Removal:
    own, chance = _area(by_map), _area(by_chance)
    return Removal(
        kind,
        shares,
        by_map.mean(axis=0),
        by_chance.mean(axis=0),
        mean_interval(own, groups, seed=seed),
        mean_interval(chance, groups, seed=seed),
        mean_interval(sign * (own - chance), groups, seed=seed),
    )


def _area(curves: Float[np.ndarray, "n steps"]) -> Float[np.ndarray, " n"]:
    """Return the area under curves of equal steps from 0 to 1."""
    area: NDArray[np.float64] = ((curves[:, 1:] + curves[:, :-1]) / 2).mean(axis=1)
    return area


def _both_curves(
    order: NDArray[np.int64], shape: tuple[int, ...], keep: Keep, shares: NDArray[np.float64]
) -> Float[np.ndarray, "2 steps"]:
    """Return a clip's scores without the first cells of an order, and with nothing but them."""
    counts = np.round(shares * len(order)).astype(int)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    first = np.stack([place < count for count in counts]).reshape(-1, *shape)
    return np.stack([keep(~first), keep(first)])


def mean_interval(
    values: Float[np.ndarray, " n"], groups: Sequence[str] | None = None, *, seed: int = 0
) -> MeanInterval:
    """Return a mean and its percentile bootstrap interval over values, or over groups of them.

    Raises:
        UsageError: ``EXP-011`` for groups that do not fit.
    """
    _require_groups(groups, len(values))
    units = np.arange(len(values)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(units.max()) + 1
    sums, sizes = (np.bincount(units, part, count) for part in (values, np.ones(len(values))))
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), _ROUNDS)
    means = (drawn @ sums) / (drawn @ sizes)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return MeanInterval(float(values.mean()), float(low), float(high), len(values), count)


def _require_groups(groups: Sequence[str] | None, clips: int) -> None:
    if groups is not None and len(groups) != clips:
        raise UsageError(
            "EXP-011",
            f"found {len(groups)} groups for {clips} clips",
            mend="give one group per clip",
        )
