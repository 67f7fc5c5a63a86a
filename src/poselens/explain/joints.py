"""Which joints, and when, spoke for a class: attribution of a skeleton network's score.

Every method returns signed numbers for people, frames and joints of the network's own input:
positive where the input speaks for the class, negative where it speaks against it. Gradients go
through the network as it stands; on a GPU its kernels know theirs. The network is looked at in
evaluation mode and left in the mode it was in.

**Streams.** A network of bones is told (joint, parent) differences at the joint's place, so its
attribution already lies on joints: that of a bone is at the end away from the centre, and the
centre, whose bone is 0, gets none. A network of motion is told at frame t the step from t to t + 1;
its attribution at t is that step's. For motion, "held still" is 0 everywhere and not the mean step:
:func:`baseline_of`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from captum.attr import IntegratedGradients
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from poselens.errors import NumericFault, UsageError
from poselens.skeleton.ctr_gcn import Block
from poselens.skeleton.network import CtrGcn

Method = Literal["integrated-gradients", "gradient-input", "grad-cam", "occlusion"]
METHODS: tuple[Method, ...] = ("integrated-gradients", "gradient-input", "grad-cam", "occlusion")

Baseline = Literal["still", "zeros"]
"""What "nothing happened" looks like; see :func:`baseline_inputs`."""

Inputs = Float[Tensor, "n c t v m"]
Attribution = Float[np.ndarray, "n m t v"]

STEPS = 32
"""Points of the integral: the gap of completeness is then about 1 % of the logit's change."""
PARTS = 8
"""Stretches of time in which a joint is held still, one after the other."""
_TOGETHER = 64
"""Inputs that go through the network at once."""
_CLIPS, _GRADIENTS = 8, 16
"""Clips, and inputs with their gradients, at once: a network keeps 40 MB of each."""


def attribute_joints(
    network: nn.Module,
    inputs: Inputs,
    classes: Int[Tensor, " n"] | Sequence[int],
    *,
    method: Method = "integrated-gradients",
    baseline: Baseline | Inputs = "still",
    against: Int[Tensor, " n"] | Sequence[int] | None = None,
    steps: int = STEPS,
    parts: int = PARTS,
) -> Attribution:
    r"""Return what each person, frame and joint of the input gave to the score of a class.

    With f the score, x the input and b the baseline, by method:

    ``integrated-gradients`` of Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML
    2017, summed over the coordinates c of a joint:

    .. math::
        a_{tv} = \sum_c (x_{ctv} - b_{ctv}) \int_0^1
            \frac{\partial f}{\partial x_{ctv}}\bigl(b + \alpha (x - b)\bigr)\, d\alpha,
        \qquad \sum_{tv} a_{tv} = f(x) - f(b),

    the second being completeness; the integral by Gauss-Legendre points (captum).

    ``gradient-input``: the same with the gradient at x alone. ``grad-cam``: :func:`_grad_cam`.
    ``occlusion``: :func:`_occlude`, which needs no gradient and checks the others.

    Departure: the paper explains its RGB stream only. Grad-CAM and gradient times input are not
    rectified: what speaks against a class is negative, as in the other methods.

    Args:
        network: Takes joints and who is present, ``(n, c, t, v, m)`` and ``(n, m)``, to logits;
            a ``CtrGcn`` for ``grad-cam``.
        inputs: A stream as the network takes it; NaN is missing and gets 0.
        classes: The class to explain of each clip.
        method: See above.
        baseline: What the input is compared with (:func:`baseline_inputs`).
        against: The score is the logit of the class; with this, less the logit of that other class:
            why one of a confused pair and not the other.
        steps: Points of the integral.
        parts: Stretches of time that ``occlusion`` tells apart.

    Raises:
        UsageError: ``EXP-030`` unknown method or baseline, or one that does not fit the network;
            ``EXP-031`` classes that do not fit the clips or the logits.
        NumericFault: ``EXP-032`` attributions that are not finite.
    """
    device = inputs.device
    with _looked_at(network):
        known, present = _filled(inputs)
        score = _Score(network, _targets(classes, inputs, device), present)
        if against is not None:
            score.against = _targets(against, inputs, device)
        score.require_columns(known)
        start = baseline_inputs(inputs, baseline)
        require_method(method)
        found = [
            _of_clips(score.rows(chosen), known[chosen], start[chosen], method, steps, parts)
            for chosen in (slice(first, first + _CLIPS) for first in range(0, len(known), _CLIPS))
        ]
    every = torch.cat(found) if found else torch.zeros_like(known)
    summed: Attribution = every.sum(dim=1).permute(0, 3, 1, 2).detach().cpu().numpy()
    return _finite(summed)


def _finite(attribution: Attribution) -> Attribution:
    wrong = int((~np.isfinite(attribution)).sum())
    if wrong:
        raise NumericFault(
            "EXP-032",
            f"found {wrong} attributions that are not finite, expected numbers",
            mend="look at the weights: the network itself may give logits that are not finite",
        )
    return attribution


def require_method(name: str) -> Method:
    """Return the method called ``name``.

    Raises:
        UsageError: ``EXP-030`` for an unknown one.
    """
    for method in METHODS:
        if method == name:
            return method
    raise UsageError("EXP-030", f"unknown method {name!r}", mend=f"use one of {', '.join(METHODS)}")


def _of_clips(
    score: "_Score", known: Inputs, start: Inputs, method: str, steps: int, parts: int
) -> Inputs:
    """Return the attribution of each coordinate of a few clips."""
    if method == "integrated-gradients":
        return _integrated(score, known, start, steps)
    if method == "gradient-input":
        return _gradient(score, known) * (known - start)
    if method == "grad-cam":
        return _grad_cam(score, known)
    return _occlude(score, known, start, parts=parts)


def baseline_of(stream: str) -> Baseline:
    """Return the baseline that holds a body still in a stream of this name."""
    return "zeros" if stream.endswith("-motion") else "still"


def baseline_inputs(inputs: Inputs, baseline: Baseline | Inputs = "still") -> Inputs:
    r"""Return the input that an attribution starts from.

    ``still``, the default, is the clip's own mean pose in every frame,
    :math:`b_{ctv} = \frac1{|K_v|} \sum_{s \in K_v} x_{csv}` over the frames in which v is known: a
    body of the same size at the same place that does nothing. What is attributed is movement.
    ``zeros`` puts every joint at the origin, a point no body is; its attribution mixes where the
    body stands and how tall it is with what it does. A tensor is taken as it is.

    Missing joints are where the network reads them, at 0, and so in either get no attribution.

    Departure: the mean of a moving arm is shorter than an arm. A frame of the clip would be a pose,
    but which one would decide what counts as movement.

    Raises:
        UsageError: ``EXP-030`` for an unknown baseline, or a tensor of another shape.
    """
    missing = ~torch.isfinite(inputs)
    if isinstance(baseline, Tensor):
        if baseline.shape != inputs.shape:
            raise UsageError(
                "EXP-030",
                f"found a baseline of shape {tuple(baseline.shape)}, "
                f"expected that of the inputs, {tuple(inputs.shape)}",
            )
        return baseline.to(inputs).masked_fill(missing, 0.0)
    if baseline == "zeros":
        return torch.zeros_like(inputs)
    if baseline != "still":
        raise UsageError(
            "EXP-030", f"unknown baseline {baseline!r}", mend="use still or zeros, or give a tensor"
        )
    known = inputs.masked_fill(missing, 0.0)
    count = (~missing).sum(dim=2, keepdim=True).clamp(min=1)
    mean = known.sum(dim=2, keepdim=True) / count
    return mean.expand_as(inputs).masked_fill(missing, 0.0)


class _Score:
    """The number that is explained: a logit, or the difference of two."""

    def __init__(
        self, network: nn.Module, classes: Int[Tensor, " n"], present: Bool[Tensor, "n m"]
    ) -> None:
        self.network = network
        self.classes = classes
        self.present = present
        self.against: Int[Tensor, " n"] | None = None

    def rows(self, chosen: Tensor | slice) -> "_Score":
        """Return the score of some of the clips."""
        part = _Score(self.network, self.classes[chosen], self.present[chosen])
        part.against = None if self.against is None else self.against[chosen]
        return part

    def require_columns(self, joints: Inputs) -> None:
        """Refuse classes that the logits do not have."""
        with torch.no_grad():
            columns = self.network(joints[:1], self.present[:1]).shape[1]
        asked = self.classes if self.against is None else torch.cat([self.classes, self.against])
        wrong = asked[(asked < 0) | (asked >= columns)].tolist()
        if wrong:
            raise UsageError("EXP-031", f"found class {wrong[0]}, expected 0 to {columns - 1}")

    def __call__(self, joints: Inputs) -> Float[Tensor, " n"]:
        """Return the score of each input; they may be several of each clip, clips within."""
        times = len(joints) // len(self.classes)
        logits = self.network(joints, self.present.repeat(times, 1))
        found: Tensor = logits.gather(1, self.classes.repeat(times)[:, None])[:, 0]
        if self.against is not None:
            found = found - logits.gather(1, self.against.repeat(times)[:, None])[:, 0]
        return found


def _filled(inputs: Inputs) -> tuple[Inputs, Bool[Tensor, "n m"]]:
    """Return joints as the network reads them, and who is there: its own rule, for this input.

    The rule must not be asked again on the way from the baseline: at zeros nobody is there.
    """
    known = torch.nan_to_num(inputs.detach(), nan=0.0, posinf=0.0, neginf=0.0)
    return known, (known != 0).flatten(1, 3).any(dim=1)


def _targets(
    classes: Int[Tensor, " n"] | Sequence[int], inputs: Inputs, device: torch.device
) -> Int[Tensor, " n"]:
    found = torch.as_tensor(classes, dtype=torch.int64, device=device)
    if found.shape != inputs.shape[:1]:
        raise UsageError(
            "EXP-031", f"found {found.numel()} classes for {len(inputs)} clips, expected one each"
        )
    return found


@contextmanager
def _looked_at(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode; gradients are taken whatever the caller's mode is."""
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module, mode in before:
            module.training = mode


def _integrated(score: _Score, known: Inputs, start: Inputs, steps: int) -> Inputs:
    found: Inputs = IntegratedGradients(score).attribute(
        known, start, n_steps=steps, internal_batch_size=max(_GRADIENTS, len(known))
    )
    return found


def _gradient(score: _Score, known: Inputs) -> Inputs:
    at = known.clone().requires_grad_()
    (slope,) = torch.autograd.grad(score(at).sum(), at)
    return slope


def _grad_cam(score: _Score, known: Inputs) -> Inputs:
    r"""Return Grad-CAM of the last block over time and joints, at coordinate 0 of the result.

    .. math::
        \alpha_c = \frac1{|P|} \sum_{p \in P} \frac{\partial f}{\partial A_{cp}}, \qquad
        a_p = \sum_c \alpha_c A_{cp}

    with A the feature of the last block and P its places, (person, joint, step) of the people
    present. CTR-GCN averages places and classifies the mean, so this is its class activation map,
    and the sum over places is the logit less its bias. Steps are spread evenly over the frames
    they stand for.

    After ten blocks a place has heard from every joint and many frames: it tells where the network
    keeps what it found, not which coordinate it found it in. Selvaraju et al., Grad-CAM, ICCV 2017.

    Raises:
        UsageError: ``EXP-030`` for a network that is no ``CtrGcn``.
    """
    network = score.network
    if not isinstance(network, CtrGcn):
        raise UsageError(
            "EXP-030",
            f"found a {type(network).__name__}, expected a CtrGcn for grad-cam",
            mend="use integrated-gradients, gradient-input or occlusion",
        )
    kept: list[Tensor] = []
    last = network.blocks[-1]
    handle = last.register_forward_hook(lambda _block, _given, out: kept.append(out[0]))
    try:
        total = score(known.clone().requires_grad_()).sum()
    finally:
        handle.remove()
    (slope,) = torch.autograd.grad(total, kept[0])
    n, _, frames, joints, people = known.shape
    feature, slope = (
        side.view(n, people, side.shape[1], joints, -1) for side in (kept[0].detach(), slope)
    )
    there = score.present.sum(dim=1).clamp(min=1) * joints * feature.shape[-1]
    # nothing flows back to people who are absent, so the sum over everybody is that of the present
    weights = slope.sum(dim=(1, 3, 4)) / there[:, None]
    places = torch.einsum("nc,nmcvs->nmvs", weights, feature)
    places = places * score.present[:, :, None, None]
    spread = _over_frames(places, frames, _stride(network))
    found = torch.zeros_like(known)
    found[:, 0] = spread.permute(0, 3, 2, 1)
    return found


def _stride(network: CtrGcn) -> int:
    stride = 1
    for block in network.blocks:
        assert isinstance(block, Block)
        stride *= block.time.stride
    return stride


def _over_frames(
    places: Float[Tensor, "n m v s"], frames: int, stride: int
) -> Float[Tensor, "n m v t"]:
    """Give each frame its share of the nearest step; step s is about frame ``s * stride``."""
    nearest = (torch.arange(frames, device=places.device) + stride // 2) // stride
    nearest = nearest.clamp(max=places.shape[-1] - 1)
    count = torch.bincount(nearest, minlength=places.shape[-1]).to(places)
    return (places / count.clamp(min=1))[..., nearest]


def _occlude(score: _Score, known: Inputs, start: Inputs, *, parts: int = PARTS) -> Inputs:
    r"""Return how much the score drops where one joint is held at its baseline for a while.

    .. math::
        a_{tv} = \frac{f(x) - f(x^{(v, S)})}{|S|}, \quad t \in S,

    where :math:`x^{(v,S)}` is the input with joint v of one person at its baseline in the stretch
    S of frames. It needs no gradient and no inside of the network; it misses what two joints tell
    alike, since the other one remains.
    """
    n, _, frames, joints, people = known.shape
    edges = np.linspace(0, frames, min(parts, frames) + 1).round().astype(int).tolist()
    found = torch.zeros_like(known)
    cells = [
        (person, joint, first, last)
        for person in range(people)
        for joint in range(joints)
        for first, last in pairwise(edges)
    ]
    together = max(_TOGETHER // max(n, 1), 1)
    with torch.no_grad():
        whole = score(known)
        for begin in range(0, len(cells), together):
            some = cells[begin : begin + together]
            changed = known.repeat(len(some), 1, 1, 1, 1).view(len(some), *known.shape)
            for place, (person, joint, first, last) in enumerate(some):
                held = start[:, :, first:last, joint, person]
                changed[place, :, :, first:last, joint, person] = held
            drop = whole - score(changed.flatten(0, 1)).view(len(some), n)
            for place, (person, joint, first, last) in enumerate(some):
                share = (drop[place] / (last - first))[:, None]
                found[:, 0, first:last, joint, person] = share
    return found


def completeness_gap(
    network: nn.Module,
    inputs: Inputs,
    classes: Int[Tensor, " n"] | Sequence[int],
    attribution: Attribution,
    *,
    baseline: Baseline | Inputs = "still",
    against: Int[Tensor, " n"] | Sequence[int] | None = None,
) -> Float[np.ndarray, " n"]:
    r"""Return :math:`\sum a - (f(x) - f(b))` of each clip: how far the integral is from exact.

    Arguments are those of :func:`attribute_joints`, and what it returned.
    """
    with _looked_at(network), torch.no_grad():
        known, present = _filled(inputs)
        score = _Score(network, _targets(classes, inputs, inputs.device), present)
        if against is not None:
            score.against = _targets(against, inputs, inputs.device)
        change = score(known) - score(baseline_inputs(inputs, baseline))
    gap: Float[np.ndarray, " n"] = attribution.sum(axis=(1, 2, 3)) - change.cpu().numpy()
    return gap
