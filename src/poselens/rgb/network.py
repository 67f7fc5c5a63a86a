"""The RGB network: backbone, pooling, classifier, mean over the frames."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from poselens.errors import UsageError
from poselens.rgb.memory import Memory, StreamState


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
        # folded for a GPU, a backbone computes in other numbers than its input has
        maps: Tensor = self.backbone(clip.to(next(self.backbone.parameters()).dtype), memory)
        return maps

    def _frame_logits(
        self, clip: Float[Tensor, "n t 3 h w"], memory: Memory | None = None
    ) -> Float[Tensor, "n t k"]:
        kind = self.fc.weight.dtype
        pooled = self.features(clip, memory).mean(dim=(3, 4), dtype=kind)  # (n, t, c)
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
