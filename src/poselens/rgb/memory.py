"""What a causal network remembers between two calls, so that a clip may arrive frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


class Memory:
    """Hand each temporal part what it left at the last call, and keep what it leaves at this one.

    The parts of a network run in a fixed order, so their tensors are told apart by their turn.

    Args:
        before: ``after`` of the last call; empty at the start of a clip.

    Attributes:
        after: What the parts have left so far, in their order.
    """

    def __init__(self, before: Sequence[Tensor] = ()) -> None:
        self._before = tuple(before)
        self.after: tuple[Tensor, ...] = ()

    def exchange(self, now: Tensor) -> Tensor | None:
        """Leave ``now`` and return what the same part left before, None at the start of a clip.

        Args:
            now: A tensor of its own, of a size that does not depend on the length of the chunk. A
                view of the features would keep those of the whole chunk alive.
        """
        turn = len(self.after)
        self.after = (*self.after, now)
        return self._before[turn] if self._before else None


@dataclass(frozen=True, eq=False)
class StreamState:
    """What `RgbNetwork.advance` carries from one call to the next; its size never grows.

    The logits of the frames between two states are the difference of ``total`` over that of
    ``frames``.

    Attributes:
        parts: ``Memory.after`` of the last call.
        total: Sum of the logits of all frames so far, in single precision or better.
        frames: How many these are; with a difference stem, snippets.
        size: Height and width of the frames in pixels.
    """

    parts: tuple[Tensor, ...]
    total: Float[Tensor, "n k"]
    frames: Int[Tensor, ""]
    size: tuple[int, int]
