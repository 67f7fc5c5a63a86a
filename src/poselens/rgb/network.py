"""The RGB network: backbone, pooling, classifier, mean over the frames."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from poselens.errors import CheckpointError, UsageError
from poselens.rgb.memory import Memory, StreamState

CLASSIFIERS = {"fc.weight", "fc.bias", "classifier.1.weight", "classifier.1.bias"}
"""torchvision's names for the last layer of ResNet and MobileNetV2."""
ADDED = (".staa.", ".difference_stem.")
"""Parts of a backbone that torchvision's have not."""


class RgbNetwork(nn.Module):
    """Classify a clip by the mean of the logits of its frames. TSN and TSM; section 3.2.

    With a difference stem the backbone makes features of each snippet, and what is said of frames
    holds for snippets.
    """

    def __init__(
        self,
        *,
        backbone: nn.Module,
        channels: int,
        num_classes: int,
        dropout: float,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.fc = nn.Linear(channels, num_classes)
        self.causal = causal
        nn.init.normal_(self.fc.weight, 0, 0.001)  # TSM's
        nn.init.zeros_(self.fc.bias)

    def features(
        self, clip: Float[Tensor, "n t 3 h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t c i j"]:
        """Return the last feature maps of every frame."""
        maps: Tensor = self.backbone(clip, memory)
        return maps

    def _frame_logits(
        self, clip: Float[Tensor, "n t 3 h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t k"]:
        pooled = self.features(clip, memory).mean(dim=(3, 4))  # (n, t, c)
        logits: Tensor = self.fc(self.dropout(pooled))
        return logits

    def forward(self, clip: Float[Tensor, "n t 3 h w"]) -> Float[Tensor, "n k"]:
        """Return the logits of RGB clips, normalised with ImageNet's mean and deviation."""
        return self._frame_logits(clip).mean(dim=1)

    def advance(
        self, frames: Float[Tensor, "n t 3 h w"], state: StreamState | None = None
    ) -> tuple[Float[Tensor, "n k"], StreamState]:
        """Return the logits of clips that arrive in chunks, as they are so far, and the new state.

        The logits are those of `forward` for all frames so far. Gradients flow through the state;
        an endless stream wants ``torch.no_grad``.

        Args:
            frames: The next frames of each clip, one or more; with a difference stem whole
                snippets.
            state: What the call before returned; None at the start of the clips.

        Raises:
            UsageError: ``CFG-035`` for a network that is not causal, or is in training mode, where
                a normalisation by the batch sees later frames; ``CFG-037`` for no frames at all, or
                frames that do not fit the state.
        """
        if not self.causal or self.training:
            raise UsageError(
                "CFG-035",
                f"frames that arrive in chunks need a causal network in evaluation mode; found one "
                f"that is {'in training mode' if self.causal else 'not causal'}",
                mend="call eval()" if self.causal else "train with network.causal=true",
            )
        clips, count, _, *size = frames.shape
        expected = (clips, *size) if state is None else (state.total.shape[0], *state.size)
        if count < 1 or (clips, *size) != expected:
            raise UsageError(
                "CFG-037",
                f"found {count} frames of {clips} clips of {size[0]}x{size[1]}; expected 1 or more "
                f"of {expected[0]} clips of {expected[1]}x{expected[2]}",
                mend="give the next frames of the same clips, or begin anew without a state",
            )
        memory = Memory(() if state is None else state.parts)
        logits = self._frame_logits(frames, memory)
        # In bfloat16 a sum would stand still after some 256 frames.
        total = logits.sum(dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))
        seen = torch.full((), logits.shape[1], device=logits.device)
        if state is not None:
            total, seen = total + state.total, seen + state.frames
        after = StreamState(parts=memory.after, total=total, frames=seen, size=(size[0], size[1]))
        return (total / seen).to(logits.dtype), after


@dataclass(frozen=True)
class Loaded:
    """What `load_imagenet` did, as names of parameters and buffers.

    Attributes:
        taken: Names in the file whose values the network has now.
        left_out: Names in the file without use: a classifier of other classes.
        kept: Names in the network that the file does not have: the classifier, STAA.
    """

    taken: tuple[str, ...]
    left_out: tuple[str, ...]
    kept: tuple[str, ...]


_FLAT = re.compile(r"(features\.\d+\.conv)\.(0|1|3|4|6|7)\.(.+)")


def _nested(names: Collection[str]) -> dict[str, str]:
    """Map today's MobileNetV2 names to those of ``names``, which may be the older, flat ones.

    The older files number convolution, normalisation and activation of a block in one row:
    ``conv.3`` and ``conv.4`` are today's ``conv.1.0`` and ``conv.1.1``. The last two, which no
    activation follows, are today's ``conv.2`` and ``conv.3`` (``conv.1`` and ``conv.2`` without
    expansion).
    """
    if "features.1.conv.3.weight" not in names:
        return {name: name for name in names}
    renamed: dict[str, str] = {}
    for name in names:
        match = _FLAT.fullmatch(name)
        if match is None:
            renamed[name] = name
            continue
        block, number, rest = match[1], int(match[2]), match[3]
        step, part = divmod(number, 3)
        projects = f"{block}.{3 * step + 3}.weight" not in names
        renamed[f"{block}.{step + part if projects else f'{step}.{part}'}.{rest}"] = name
    return renamed


def load_imagenet(
    network: RgbNetwork, tensors: Mapping[str, Tensor], *, file: str | Path | None = None
) -> Loaded:
    """Take over weights in torchvision's format; STAA and a classifier of other size keep theirs.

    Args:
        network: The network to fill in place.
        tensors: Values under torchvision's names; for MobileNetV2 also under its older, flat ones.
        file: Where they come from, for the error.

    Raises:
        CheckpointError: ``CKPT-004`` for names or shapes that are not those of the backbone;
            the network is then unchanged.
    """
    own = network.state_dict()
    taken: dict[str, str] = {}
    left_out: list[str] = []
    faults: list[str] = []
    names = _nested(tensors.keys())
    for name, stored in names.items():
        value = tensors[stored]
        is_classifier = name in CLASSIFIERS
        target = f"fc.{name.rpartition('.')[2]}" if is_classifier else f"backbone.{name}"
        if target in own and own[target].shape == value.shape:
            taken[target] = stored
        elif is_classifier:
            left_out.append(stored)
        elif target in own:
            faults.append(f"{stored} is {tuple(value.shape)}, not {tuple(own[target].shape)}")
        else:
            faults.append(f"unexpected {stored}")
    kept = [name for name in own if name not in taken]
    # Old files do not have the counters, which nothing reads at a fixed momentum.
    faults += [
        f"missing {name.removeprefix('backbone.')}"
        for name in kept
        if name.startswith("backbone.")
        and name.removeprefix("backbone.") not in names
        and not any(part in name for part in ADDED)
        and not name.endswith("num_batches_tracked")
    ]
    if faults:
        raise CheckpointError(
            "CKPT-004",
            f"weights do not fit the backbone ({len(faults)}: {', '.join(faults[:10])})",
            file=file,
            mend="use weights in torchvision's format of the same backbone at width 1",
        )
    network.load_state_dict({target: tensors[name] for target, name in taken.items()}, strict=False)
    return Loaded(taken=tuple(taken.values()), left_out=tuple(left_out), kept=tuple(kept))
