"""Which pixels of which frame speak for a class: attribution of the RGB network. Figure 3.

The network reshapes (clips, frames) into one axis of pictures and back. Generic tools stop there:
they take the frames for channels, or each frame for a clip of its own. Here the maps of a layer are
brought to (n, c, t, i, j) before anything is weighed, so that a map belongs to its clip and moment.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import numpy as np
import torch
from captum.attr import InputXGradient, IntegratedGradients, LayerGradCam, LayerGradientXActivation
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from poselens.errors import NumericFault, UsageError
from poselens.rgb.difference_stem import DifferenceStem
from poselens.rgb.mobilenetv2 import MobileNetV2
from poselens.rgb.network import RgbNetwork
from poselens.rgb.resnet import ResNet

Method = Literal["gradcam", "gradcam++", "hirescam", "integrated-gradients", "input-x-gradient"]
"""How the RGB network is asked; the last two look at pixels and read no layer."""
METHODS: tuple[Method, ...] = get_args(Method)
PIXEL_METHODS: tuple[Method, ...] = ("integrated-gradients", "input-x-gradient")

INTEGRATION_STEPS = 32
"""Pictures between the baseline and the clip that integrated gradients look at."""
_AT_ONCE = 8  # clips of one pass of integrated gradients


def attribute_frames(
    network: nn.Module,
    clips: Float[Tensor, "n t 3 h w"],
    classes: Int[np.ndarray, " n"],
    *,
    against: Int[np.ndarray, " n"] | None = None,
    method: Method = "gradcam",
    layer: str | None = None,
) -> Float[np.ndarray, "n s h w"]:
    r"""Return how much each place of each moment speaks for a class: in [0, 1], 1 once a clip.

    .. math:: M = relu\Big(\sum_c \alpha_c A_c\Big), \qquad
        \alpha_c = \frac{1}{s i j} \sum_{t,y,x} \frac{\partial S}{\partial A_{c,t,y,x}}

    is ``gradcam``, with A the maps of the layer and S the class's logit, or its lead over the class
    it is held ``against``. ``gradcam++`` weighs the positive gradients by its closed form,
    ``hirescam`` takes relu(sum of gradient x map); ``input-x-gradient`` and
    ``integrated-gradients`` (from ImageNet's mean colour, which is 0 in the network's input) are
    the positive part of the sum over colours. Maps are upsampled bilinearly to the pictures' size
    and divided by the largest value of the whole clip, so frames of a clip can be compared. A clip
    in which nothing speaks for the class is 0 throughout.

    Source: Selvaraju et al., ICCV 2017 (Grad-CAM); Chattopadhay et al., WACV 2018 (++); Draelos,
    Carin 2020 (HiResCAM); Sundararajan et al., ICML 2017 (integrated gradients); captum's layers.

    Departure: the paper says neither the layer nor what becomes of time. A channel has one weight
    in the whole clip, not one a frame; at the last layer the two are the same.

    Args:
        network: As it was trained, in evaluation mode; neither folded nor compiled.
        clips: The network's input, normalised, on its device.
        classes: Class of each clip that is asked about.
        against: Class of each clip whose logit is taken off; None for none.
        method: One of `METHODS`.
        layer: One of `layer_names`; None for the last. Pixel methods read none.

    Returns:
        A map for every frame; with a difference stem, for every snippet.

    Raises:
        UsageError: ``EXP-001`` for a network that is folded, compiled or in training, ``EXP-002``
            for an unknown layer, ``EXP-003`` for an unknown method, ``EXP-004`` for classes that
            do not fit.
        NumericFault: ``EXP-005`` where the attribution is not finite.
    """
    plain, method = require_plain(network), require_method(method)
    weights = _score_weights(plain, clips, classes, against)
    if method in PIXEL_METHODS:
        found = _of_pixels(plain, clips, weights, method)
    else:
        found = _of_layer(plain, clips, weights, method, layer)
    positive = found.relu()
    if not bool(positive.isfinite().all()):
        raise NumericFault(
            "EXP-005",
            f"the attribution by {method} is not finite",
            mend="look at the weights: poselens evaluate says whether its scores are finite",
        )
    maps = F.interpolate(positive, size=clips.shape[-2:], mode="bilinear", align_corners=False)
    return over_clip(maps.cpu().numpy())


def require_method(name: str) -> Method:
    """Return the method called ``name``.

    Raises:
        UsageError: ``EXP-003`` for an unknown one.
    """
    for method in METHODS:
        if method == name:
            return method
    raise UsageError("EXP-003", f"found method {name!r}", mend=f"use one of {', '.join(METHODS)}")


def over_clip(maps: Float[np.ndarray, "n *a"]) -> Float[np.ndarray, "n *a"]:
    """Return maps that are not negative divided by the largest value of their clip."""
    largest = maps.reshape(len(maps), -1).max(axis=1).reshape(-1, *[1] * (maps.ndim - 1))
    shares: NDArray[np.float32] = (maps / np.where(largest > 0, largest, 1)).astype(np.float32)
    return shares


def require_plain(network: nn.Module) -> RgbNetwork:
    """Return the network, once it is known that gradients through it mean what they should.

    Raises:
        UsageError: ``EXP-001``.
    """
    why = None
    if not isinstance(network, RgbNetwork):
        why = f"a {type(network).__name__}"
    elif getattr(network, "_compiled_call_impl", None) is not None:
        why = "a compiled network"
    elif not any(isinstance(part, nn.BatchNorm2d) for part in network.backbone.modules()):
        why = "a network whose normalisations are folded in"
    elif network.training:
        why = "a network in training mode"
    if why is not None or not isinstance(network, RgbNetwork):
        raise UsageError(
            "EXP-001",
            f"found {why}; expected an RGB network as it was trained, in evaluation mode",
            mend="load it with load_bundle(..., folded=False), and call eval()",
        )
    return network


def layer_names(network: RgbNetwork) -> list[str]:
    """Return the layers that can be asked, from the input to the output: stages' blocks."""
    if isinstance(network.backbone, MobileNetV2):
        return [f"features.{number}" for number in range(1, len(network.backbone.features))]
    return [
        f"{stage}.{number}"
        for stage in ("layer1", "layer2", "layer3", "layer4")
        for number in range(len(getattr(network.backbone, stage)))
    ]


def find_layer(network: RgbNetwork, name: str | None = None) -> str:
    """Return the layer called ``name``: a block, or a stage of a ResNet for its last block.

    Without a name it is the last one before the pooling, whose maps are the logits' own parts.

    Raises:
        UsageError: ``EXP-002`` for an unknown layer.
    """
    names = layer_names(network)
    wanted = names[-1] if name is None else name.removeprefix("backbone.")
    inside = [each for each in names if each == wanted or each.rpartition(".")[0] == wanted]
    if not inside or wanted == "features":
        kind = "ResNet" if isinstance(network.backbone, ResNet) else "MobileNetV2"
        raise UsageError(
            "EXP-002",
            f"this {kind} has no layer {name!r} to ask",
            mend=f"use one of {', '.join(names)}",
        )
    return inside[-1]


def cascade_layers(network: RgbNetwork) -> list[str]:
    """Return parts of the network from the output to the input, for a test with random weights."""
    backbone = network.backbone
    if isinstance(backbone, MobileNetV2):
        parts = [f"features.{number}" for number in reversed(range(len(backbone.features)))]
    else:
        parts = ["layer4", "layer3", "layer2", "layer1", "conv1"]
    stem = ["difference_stem"] if isinstance(backbone.difference_stem, DifferenceStem) else []
    return ["fc", *(f"backbone.{part}" for part in [*parts, *stem])]


def _score_weights(
    network: RgbNetwork,
    clips: Tensor,
    classes: NDArray[np.int64],
    against: NDArray[np.int64] | None,
) -> Float[Tensor, "n k"]:
    """Return what each logit of each clip counts: 1 for the class, -1 for the one against it."""
    known = network.fc.out_features
    weights = torch.zeros(len(clips), known, device=clips.device)
    for wanted, sign in ((classes, 1.0), (against, -1.0)):
        if wanted is None:
            continue
        if len(wanted) != len(clips) or not all(0 <= each < known for each in wanted):
            raise UsageError(
                "EXP-004",
                f"found classes {np.asarray(wanted).tolist()} for {len(clips)} clips; expected "
                f"one from 0 to {known - 1} for each",
                mend="give the position of a class among those the network was trained on",
            )
        rows = torch.arange(len(clips), device=clips.device)
        weights[rows, torch.as_tensor(wanted, device=clips.device)] += sign
    return weights


def _score(network: RgbNetwork) -> Callable[[Tensor, Tensor], Float[Tensor, " n"]]:
    def score(clips: Tensor, weights: Tensor) -> Tensor:
        logits: Tensor = network(clips)
        return (logits * weights).sum(dim=1)

    return score


@contextmanager
def _tapped(network: RgbNetwork, layer: str, clips: int) -> Iterator[nn.Module]:
    """Lead a layer's output through a module that sees it as (n, c, t, i, j), clip by clip."""
    tap = nn.Identity()

    def through(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        # the last part of a MobileNetV2 sees pictures, blocks see clips
        pictures = output.dim() == 4
        maps = torch.unflatten(output, 0, (clips, -1)) if pictures else output
        # what follows may write over what it is given
        passed: Tensor = tap(maps.movedim(2, 1)).movedim(1, 2).clone()
        return passed.flatten(0, 1) if pictures else passed

    handle = network.backbone.get_submodule(layer).register_forward_hook(through)
    try:
        yield tap
    finally:
        handle.remove()


def _of_layer(
    network: RgbNetwork, clips: Tensor, weights: Tensor, method: Method, layer: str | None
) -> Float[Tensor, "n s i j"]:
    score, seen = _score(network), clips.detach().clone().requires_grad_()
    with torch.enable_grad(), _tapped(network, find_layer(network, layer), len(clips)) as tap:
        if method == "gradcam++":
            return _plus_plus(*_maps_and_gradients(score, tap, seen, weights))
        captum: Any = LayerGradCam if method == "gradcam" else LayerGradientXActivation
        found = captum(score, tap).attribute(seen, additional_forward_args=(weights,))
    summed: Tensor = found.detach().sum(dim=1)
    return summed


def _maps_and_gradients(
    score: Callable[[Tensor, Tensor], Tensor], tap: nn.Module, clips: Tensor, weights: Tensor
) -> tuple[Float[Tensor, "n c s i j"], Float[Tensor, "n c s i j"]]:
    kept: list[Tensor] = []
    handle = tap.register_forward_hook(lambda _module, _inputs, maps: kept.append(maps))
    try:
        (gradients,) = torch.autograd.grad(score(clips, weights).sum(), kept)
    finally:
        handle.remove()
    return kept[0].detach(), gradients


def _plus_plus(
    maps: Float[Tensor, "n c s i j"], gradients: Float[Tensor, "n c s i j"]
) -> Float[Tensor, "n s i j"]:
    """Return Grad-CAM++ of the exponential of the score, up to a factor per clip."""
    axes = (2, 3, 4)
    below = 2 * gradients**2 + maps.sum(dim=axes, keepdim=True) * gradients**3
    shares = torch.where(below != 0, gradients**2 / torch.where(below != 0, below, 1), 0)
    alphas = (shares * gradients.relu()).sum(dim=axes, keepdim=True)
    return (alphas * maps).sum(dim=1)


def _of_pixels(
    network: RgbNetwork, clips: Tensor, weights: Tensor, method: Method
) -> Float[Tensor, "n s h w"]:
    score, seen = _score(network), clips.detach().clone().requires_grad_()
    with torch.enable_grad():
        if method == "input-x-gradient":
            found = InputXGradient(score).attribute(seen, additional_forward_args=(weights,))
        else:
            found = IntegratedGradients(score).attribute(
                seen,
                additional_forward_args=(weights,),
                n_steps=INTEGRATION_STEPS,
                internal_batch_size=max(_AT_ONCE, len(clips)),
            )
    stem = getattr(network.backbone, "difference_stem", None)
    per = stem.frames if isinstance(stem, DifferenceStem) else 1
    return torch.unflatten(found.detach().float().sum(dim=2), 1, (-1, per)).sum(dim=2)
