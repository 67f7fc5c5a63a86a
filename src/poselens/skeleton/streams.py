"""What a network may look at: joints, bones, and how either moves."""

import difflib
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from poselens.errors import UsageError
from poselens.pose.layouts import Layout

STREAMS = ("joint", "bone", "joint-motion", "bone-motion")
"""The four streams of CTR-GCN, in the order in which they are usually fused."""

_MOTION = "-motion"

Pairs = Sequence[tuple[int, int]]
"""A stream of one's own: (joint, reference) pairs; the joint's place holds their difference."""


def stream(
    joints: Float[Tensor, "n c t v m"],
    name: str,
    layout: Layout,
    *,
    custom: Mapping[str, Pairs] | None = None,
) -> Float[Tensor, "n c t v m"]:
    """Return one stream of a batch; NaN stays NaN.

    ``bone`` is a joint minus its parent, 0 at the centre; ``NAME-motion`` is the next frame minus
    this one, 0 in the last. Any name in ``custom`` is a stream too, and so is its motion.

    Raises:
        UsageError: ``CFG-021`` for an unknown name, with the nearest known one.
    """
    pairs: dict[str, Pairs] = {"bone": layout.edges, **(custom or {})}
    still = name.removesuffix(_MOTION)
    if still == "joint":
        values = joints
    elif still in pairs:
        values = differences(joints, pairs[still])
    else:
        known = [base + tail for base in ("joint", *pairs) for tail in ("", _MOTION)]
        near = difflib.get_close_matches(name, known, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            "CFG-021", f"unknown stream {name!r}{guess}", mend=f"use one of {', '.join(known)}"
        )
    return motion(values) if name.endswith(_MOTION) else values


def differences(joints: Float[Tensor, "n c t v m"], pairs: Pairs) -> Float[Tensor, "n c t v m"]:
    """Return joint minus reference at the joint's place, and 0 at joints that no pair names."""
    values = torch.zeros_like(joints)
    if pairs:
        places, references = (list(side) for side in zip(*pairs, strict=True))
        values[..., places, :] = joints[..., places, :] - joints[..., references, :]
    return values


def motion(values: Float[Tensor, "n c t v m"]) -> Float[Tensor, "n c t v m"]:
    """Return the forward difference over time, 0 in the last frame."""
    moved = torch.zeros_like(values)
    moved[:, :, :-1] = values[:, :, 1:] - values[:, :, :-1]
    return moved


def pairs_by_name(layout: Layout, names: Sequence[tuple[str, str]]) -> Pairs:
    """Read the pairs of a stream of one's own from joint names.

    Raises:
        UsageError: ``CFG-022`` for a joint that the layout does not have.
    """
    for name in (name for pair in names for name in pair):
        if name not in layout.joints:
            near = difflib.get_close_matches(name, layout.joints, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(
                "CFG-022",
                f"unknown joint {name!r} in layout {layout.name}{guess}",
                mend=f"use joints of {', '.join(layout.joints)}",
            )
    return [(layout.index(joint), layout.index(reference)) for joint, reference in names]
