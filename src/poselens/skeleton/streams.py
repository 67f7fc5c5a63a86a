"""What a network may look at: joints, bones, and how either moves."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int
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
    require_stream(name, custom or ())
    still = name.removesuffix(_MOTION)
    pairs: dict[str, Pairs] = {"bone": layout.edges, **(custom or {})}
    values = joints if still == "joint" else differences(joints, pairs[still])
    return motion(values) if name.endswith(_MOTION) else values


def require_stream(name: str, custom: Iterable[str] = ()) -> None:
    """Refuse a stream that is neither known nor a name in ``custom``, nor the motion of one.

    Raises:
        UsageError: ``CFG-021``, with the nearest known one.
    """
    bases = ("joint", *dict.fromkeys(("bone", *custom)))
    if name.removesuffix(_MOTION) not in bases:
        known = [base + tail for base in bases for tail in ("", _MOTION)]
        near = difflib.get_close_matches(name, known, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            "CFG-021", f"unknown stream {name!r}{guess}", mend=f"use one of {', '.join(known)}"
        )


def differences(joints: Float[Tensor, "n c t v m"], pairs: Pairs) -> Float[Tensor, "n c t v m"]:
    """Return joint minus reference at the joint's place, and 0 at joints that no pair names."""
    values = torch.zeros_like(joints)
    if pairs:
        places, references = (
            index_tensor(tuple(side), joints.device) for side in zip(*pairs, strict=True)
        )
        between = joints.index_select(3, places) - joints.index_select(3, references)
        values.index_copy_(3, places, between)
    return values


@lru_cache(maxsize=256)
def index_tensor(indices: tuple[int, ...], device: torch.device) -> Int[Tensor, " i"]:
    """Return indices on a device, copied there once: a copy a step would hold up its queue."""
    with torch.inference_mode(False):
        return torch.tensor(indices, dtype=torch.int64, device=device)


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
