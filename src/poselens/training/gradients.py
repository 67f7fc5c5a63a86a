"""The gradient of a step: of the whole batch at once, of parts of it, and under a scale in fp16."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from poselens.clips.batches import memory_ended, pieces_of, share_of
from poselens.training.config import Training
from poselens.training.contrastive import Contrast
from poselens.training.exchange import Exchange
from poselens.training.objectives import Batch, Losses, Objective

FIRST_SCALE = 65536.0
LARGEST_SCALE = 2.0**24
STEPS_TO_GROW = 2000
"""Steps without an overflow after which the scale doubles, as in torch's own scaler."""


@dataclass(frozen=True)
class Descent:
    """How the gradient of a step is computed; the defaults are one pass over one batch.

    Attributes:
        size: Clips of a micro-batch; None for the whole batch.
        halves: Whether to halve the micro-batch where memory runs out.
        scales: Whether to compute in fp16 and scale the loss.
        whole: Held while all parts of a batch are computed, for what has to see a batch once.
    """

    size: int | None = None
    halves: bool = False
    scales: bool = False
    whole: Callable[[], AbstractContextManager[None]] = nullcontext


ONE_PASS = Descent()
"""The whole batch at once."""


class Pace(nn.Module):
    """What a run has found out about its machine: buffers, so that a saved state holds it.

    Attributes:
        size: Clips of a micro-batch; 0 for the whole batch.
        scale: Factor of the loss in fp16.
        sound: Steps since the scale changed.
    """

    size: Tensor
    scale: Tensor
    sound: Tensor

    def __init__(self, size: int | None = None) -> None:
        super().__init__()
        self.register_buffer("size", torch.tensor(size or 0))
        self.register_buffer("scale", torch.tensor(FIRST_SCALE))
        self.register_buffer("sound", torch.tensor(0))


class Gradients:
    r"""Leave the gradient of a step at the parameters.

    In parts, each with its share of the clips:

    .. math:: \nabla L = \sum_i \frac{n_i}{n} \nabla L_i

    which is the gradient of the whole batch for every loss that is a mean over clips. What a
    normalisation takes from a batch it takes from a part, and moves its running statistics with
    each. The contrast compares all parts with the bank as it was before the step, which then stores
    the whole batch, once.

    Departure: the contrast is a mean over anchors that have something to compare, and parts are
    weighted by clips; the two are the same once every class has been seen.

    In fp16 the loss is multiplied before the backward pass, and gradients are divided after it
    (Micikevicius et al., Mixed Precision Training, ICLR 2018). A gradient that overflows halves the
    scale and skips the step; 2,000 steps without one double it.

    Args:
        network: In training, on any device.
        objective: Batch to losses.
        optimizer: Over the parameters to train.
        bf16: Whether to run under bfloat16 autocast.
        descent: Parts and scale.
        pace: Where the run stands with both; None where neither changes.
        beside: What the objective changes beside the network.
        told: Hears, once, that a micro-batch was halved.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        *,
        bf16: bool,
        descent: Descent = ONE_PASS,
        pace: Pace | None = None,
        beside: nn.Module | None = None,
        told: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._network = network
        self._objective = objective
        self._optimizer = optimizer
        self._kind = torch.float16 if descent.scales else torch.bfloat16
        self._amp = bf16 or descent.scales
        self._descent = descent
        self._pace = pace or Pace(descent.size)
        self._told = told
        self._buffers = [*network.buffers(), *(beside.buffers() if beside else ())]

    def __call__(self, batch: Batch, exchange: Exchange | None = None) -> Losses:
        """Return the losses; the gradient of their sum is at the parameters, unscaled.

        Args:
            batch: On the network's device.
            exchange: With other ranks, who compute as many parts and halve with this one.

        Raises:
            OutOfMemoryError: Of torch, when memory does not hold the batch, or where the
                micro-batch may be halved, a single clip.
        """
        if not self._descent.halves:
            return self._in_parts(batch, exchange)
        while True:
            before = [buffer.clone() for buffer in self._buffers], _generators(batch)
            losses = self._unless_memory_ends(batch, exchange)
            ends = losses is None
            if exchange is not None:
                ends = bool(exchange.ranks.highest(int(ends)))
            if losses is not None and not ends:
                return losses
            # outside of the handler, whose traceback would keep the tensors of the failed try
            self._undo(*before)
            self._halve(batch)

    def skips(self, losses: Losses) -> bool:
        """Lower the scale after a gradient that is not finite; False where that is no remedy."""
        pace = self._pace
        if not self._descent.scales or not bool(losses.total.isfinite()) or float(pace.scale) <= 1:
            return False
        pace.scale *= 0.5
        pace.sound.zero_()
        self._optimizer.zero_grad(set_to_none=True)
        return True

    def taken(self) -> None:
        """Count a step that was taken; the scale grows in time."""
        if not self._descent.scales:
            return
        self._pace.sound += 1
        if int(self._pace.sound) >= STEPS_TO_GROW:
            self._pace.scale.mul_(2).clamp_(max=LARGEST_SCALE)
            self._pace.sound.zero_()

    def _in_parts(self, batch: Batch, exchange: Exchange | None) -> Losses:
        found: list[tuple[Losses, float]] = []
        rank = exchange.ranks.rank if exchange is not None else 0
        with self._descent.whole():
            for given, share in parts_of(batch, int(self._pace.size), rank=rank):
                with nullcontext() if exchange is None else exchange.passing(given):
                    found.append((self._of_part(given, share, first=not found), share))
        if self._descent.scales:
            self._unscale()
        return found[0][0] if len(found) == 1 else _together(found)

    def _of_part(self, batch: Batch, share: float, *, first: bool) -> Losses:
        with torch.autocast(batch["label"].device.type, self._kind, enabled=self._amp):
            losses = self._objective(self._network, batch)
        if first:
            self._optimizer.zero_grad(set_to_none=True)
        total = losses.total if share == 1 else losses.total * share
        if self._descent.scales:
            total = total.float() * float(self._pace.scale)
        total.backward()  # type: ignore[no-untyped-call]
        return losses if share == 1 else losses.detached()

    def _unscale(self) -> None:
        parameters = (each for group in self._optimizer.param_groups for each in group["params"])
        gradients = [each.grad for each in parameters if each.grad is not None]
        torch._foreach_mul_(gradients, 1 / float(self._pace.scale))

    def _unless_memory_ends(self, batch: Batch, exchange: Exchange | None) -> Losses | None:
        try:
            return self._in_parts(batch, exchange)
        except RuntimeError as fault:
            if not memory_ended(fault):
                raise
            # of single clips of each rank there are no halves
            if self._now(batch) <= len(batch.get("counts", (1,))):
                raise
            return None

    @torch.no_grad()
    def _undo(self, buffers: list[Tensor], generators: tuple[Tensor, Tensor | None]) -> None:
        for buffer, kept in zip(self._buffers, buffers, strict=True):
            buffer.copy_(kept)
        cpu, cuda = generators
        torch.set_rng_state(cpu)
        self._optimizer.zero_grad(set_to_none=True)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda)
            torch.cuda.empty_cache()

    def _now(self, batch: Batch) -> int:
        """Return the clips of a micro-batch, of all ranks together."""
        clips = _clips(batch)
        return min(int(self._pace.size) or clips, clips)

    def _halve(self, batch: Batch) -> None:
        before = self._now(batch)
        self._pace.size.fill_(-(-before // 2))
        self._told(
            f"memory does not hold {before} clips at once: steps are computed in micro-batches of "
            f"{int(self._pace.size)} from here on; clips per step are as before"
        )


def descent_of(settings: Training, contrast: Contrast | None) -> Descent:
    """Return how a run computes its gradients."""
    return Descent(
        size=settings.part_size,
        halves=settings.micro_batch == "auto",
        scales=settings.amp == "fp16",
        whole=nullcontext if contrast is None else contrast.whole_batch,
    )


def parts_of(batch: Batch, size: int, *, rank: int = 0) -> list[tuple[Batch, float]]:
    """Return the parts of a batch, and the share of its clips that each has.

    Where several ranks share the batch, each is given its clips of every part, and all have as many
    parts: they are those of one process wherever the ranks' clips were handed out so
    (``clips.batches.places_of``), and even ones where some could not be read.

    Args:
        batch: Of this rank.
        size: Most clips of a part, of all ranks together; 0 for the whole batch.
        rank: Which one this is.
    """
    clips = _clips(batch)
    pieces = pieces_of(clips, size)
    if len(pieces) == 1:
        return [(batch, 1.0)]
    counts = batch.get("counts")
    if counts is None:
        return [(part_of(batch, piece), (piece.stop - piece.start) / clips) for piece in pieces]
    table = _clips_of_parts(pieces, counts)
    parts: list[tuple[Batch, float]] = []
    first = 0
    # a part of which no rank has a clip is none
    for column in filter(any, zip(*table, strict=True)):
        part = part_of(batch, slice(first, first + column[rank]))
        parts.append(({**part, "counts": column}, sum(column) / clips))
        first += column[rank]
    return parts


def _clips(batch: Batch) -> int:
    return sum(batch.get("counts", (len(batch["label"]),)))


def _clips_of_parts(pieces: list[slice], counts: Sequence[int]) -> list[list[int]]:
    """Return for each rank how many clips it has of each part."""

    def lengths(places: Iterable[slice]) -> list[int]:
        return [place.stop - place.start for place in places]

    handed = [
        lengths(share_of(piece.stop - piece.start, (rank, len(counts))) for piece in pieces)
        for rank in range(len(counts))
    ]
    if [sum(row) for row in handed] == list(counts):
        return handed
    return [lengths(share_of(own, (n, len(pieces))) for n in range(len(pieces))) for own in counts]


def part_of(batch: Batch, part: slice) -> Batch:
    """Return some clips of a batch; of none, a blank one that counts for nothing."""
    own = {name: batch[name][part] for name in ("label", "index", "id")}
    if part.stop > part.start:
        return {**batch, **own, "inputs": tuple(each[part] for each in batch["inputs"])}
    return {**batch, **own, "inputs": tuple(torch.zeros_like(each[:1]) for each in batch["inputs"])}


def _together(found: list[tuple[Losses, float]]) -> Losses:
    """Return the losses of a batch from those of its parts and their shares of the clips."""
    names = found[0][0].parts
    return Losses(
        torch.stack([losses.total * share for losses, share in found]).sum(),
        {
            name: torch.stack([losses.parts[name] * share for losses, share in found]).sum()
            for name in names
        },
        torch.cat([losses.logits for losses, _ in found]),
    )


def _generators(batch: Batch) -> tuple[Tensor, Tensor | None]:
    on_gpu = batch["label"].device.type == "cuda"
    return torch.get_rng_state(), torch.cuda.get_rng_state() if on_gpu else None
