"""Training-time variation: numbers drawn for a whole epoch, and what they do to a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from poselens.pose.layouts import Layout
from poselens.skeleton.sampling import Sampling
from poselens.skeleton.streams import index_tensor

Positions = Float[Tensor, "n t m v c"]


@dataclass(frozen=True, eq=False)
class Draws:
    """All that chance decides about some samples, one row each; None leaves them as at test.

    Attributes:
        turn: Rotation of the clip about its origin.
        share: Share of the frames that ``crop`` keeps.
        place: Where the crop starts, 0 to 1.
        inside: Numbers in [0, 1) that ``uniform`` and ``random`` choose frames by.
        mirrored: Whether the clip is mirrored.
        linear: Stretch and shear, applied about the origin after the footing.
        jitter: What is added to the joints of the window.
        lost: Joints that go missing for the whole clip.
    """

    turn: Float[Tensor, "n c c"] | None = None
    share: Float[Tensor, " n"] | None = None
    place: Float[Tensor, " n"] | None = None
    inside: Float[Tensor, "n s"] | None = None
    mirrored: Bool[Tensor, " n"] | None = None
    linear: Float[Tensor, "n c c"] | None = None
    jitter: Float[Tensor, "n s m v c"] | None = None
    lost: Bool[Tensor, "n m v"] | None = None

    def at(self, rows: slice | Int[np.ndarray, " n"]) -> "Draws":
        """Return some of the samples."""
        return self._each(lambda drawn: drawn[rows])

    def to(self, device: torch.device) -> "Draws":
        """Return the draws on a device."""
        return self._each(lambda drawn: drawn.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Draws":
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return Draws(**{name: change(drawn) for name, drawn in named.items() if drawn is not None})


def draw(
    may_mirror: Bool[Tensor, " n"],
    *,
    dimensions: int,
    window: int,
    sample: Sampling,
    generator: torch.Generator,
    interval: Sequence[float] = (0.5, 1.0),
    rotation: Sequence[float] = (),
    scaling: float = 0.0,
    shear: float = 0.0,
    flip: float = 0.0,
) -> Draws:
    """Draw everything but jitter and lost joints for the samples of an epoch.

    Args:
        may_mirror: Which samples have a class after mirroring.
        dimensions: Coordinates of a joint.
        window: Frames in the result.
        sample: How they are chosen.
        generator: Source of the numbers, on the CPU.
        interval: Least and largest share of the frames that ``crop`` keeps.
        rotation: Largest turn in radians about x, y, z, or in the plane (2D).
        scaling: Largest relative stretch per axis.
        shear: Largest entry off the diagonal of the linear map.
        flip: Probability of mirroring.
    """
    count = len(may_mirror)

    def numbers(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
        return torch.rand(count, *shape, generator=generator, dtype=kind)

    low, high = min(interval), max(interval)
    cropped = sample == "crop"
    limits = torch.tensor(rotation[:1] if dimensions == 2 else rotation, dtype=torch.float64)
    turned = bool(limits.any())
    return Draws(
        turn=turns((2 * numbers(len(limits), kind=torch.float64) - 1) * limits, dimensions)
        if turned
        else None,
        share=low + (high - low) * numbers(kind=torch.float64) if cropped else None,
        place=numbers(kind=torch.float64) if cropped else None,
        inside=numbers(window) if sample in ("uniform", "random") else None,
        mirrored=may_mirror & (numbers() < flip) if flip else None,
        linear=linear_maps(2 * numbers(dimensions, dimensions) - 1, scaling=scaling, shear=shear)
        if scaling or shear
        else None,
    )


def turns(
    angles: Float[Tensor, "n a"], dimensions: int
) -> Float[Tensor, "n {dimensions} {dimensions}"]:
    """Return rotations: about x, then y, then z, or by one angle in the plane."""
    axes = 1 if dimensions == 2 else angles.shape[1]
    composed = torch.eye(dimensions, dtype=angles.dtype).expand(len(angles), -1, -1)
    for axis in range(axes):
        first, second = [0, 1] if dimensions == 2 else [i for i in range(3) if i != axis]
        single = torch.eye(dimensions, dtype=angles.dtype).repeat(len(angles), 1, 1)
        single[:, first, first] = single[:, second, second] = angles[:, axis].cos()
        single[:, second, first] = angles[:, axis].sin()
        single[:, first, second] = -single[:, second, first]
        composed = single @ composed
    return composed.float()


def linear_maps(
    numbers: Float[Tensor, "n c c"], *, scaling: float, shear: float
) -> Float[Tensor, "n c c"]:
    """Return maps with ``1 + scaling * numbers`` on the diagonal, ``shear * numbers`` off it."""
    one = torch.eye(numbers.shape[1])
    return one + numbers * (scaling * one + shear * (1 - one))


def apply_maps(positions: Positions, maps: Float[Tensor, "n c c"]) -> Positions:
    """Map each joint ``x`` of clip ``i`` to ``maps[i] @ x``.

    In sums of products: a product of matrices may be computed in TF32 or bfloat16, which keep three
    digits.
    """
    columns = maps[:, None, None, None].unbind(dim=-1)
    values = positions.unsqueeze(-1).unbind(dim=-2)
    mapped = values[0] * columns[0]
    for value, column in zip(values[1:], columns[1:], strict=True):
        mapped = torch.addcmul(mapped, value, column)
    return mapped


def rotate(
    positions: Positions, turn: Float[Tensor, "n c c"], *, about: Float[Tensor, "n c"]
) -> Positions:
    """Turn each clip as a whole; the point ``about`` stays."""
    stays = about[:, None, None, None]
    return apply_maps(positions - stays, turn) + stays


def mirror(positions: Positions, layout: Layout, which: Bool[Tensor, " n"]) -> Positions:
    """Reflect some of the clips about x = 0 and swap left with right.

    Only for clips whose class survives it: see ``mirror`` of the data set.
    """
    swapped = positions.index_select(3, index_tensor(layout.mirror, positions.device))
    swapped[..., 0].neg_()
    return torch.where(which[:, None, None, None, None], swapped, positions)


def jitter(
    shape: Sequence[int], *, deviation: float, generator: torch.Generator
) -> Float[Tensor, "n s m v c"]:
    """Draw Gaussian noise on the generator's device, independent per coordinate.

    Its unit is that of the positions after the footing.
    """
    noise = torch.randn(tuple(shape), generator=generator, device=generator.device)
    return deviation * noise


def lost_joints(
    shape: Sequence[int], *, share: float, generator: torch.Generator
) -> Bool[Tensor, "n m v"]:
    """Choose a share of the joints, independently per person, on the generator's device."""
    return torch.rand(tuple(shape), generator=generator, device=generator.device) < share


def drop_joints(positions: Positions, lost: Bool[Tensor, "n m v"]) -> Positions:
    """Make joints missing for the whole clip."""
    return positions.masked_fill(lost[:, None, :, :, None], torch.nan)
