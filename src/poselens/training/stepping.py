"""One step of the optimiser: taken as it is written, or recorded once and replayed on a GPU."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from poselens.training.exchange import Exchange
from poselens.training.gradients import Gradients
from poselens.training.objectives import Batch, Losses, Objective
from poselens.training.ranks import ALONE, Ranks
from poselens.training.refused import RefusedStep, refused_step

_WARM_STEPS = 3
_Shape = tuple[torch.Size | int, ...]


class TakeStep(Protocol):
    """Takes one step for a batch on the device, and says what it cost."""

    def __call__(self, batch: Batch) -> Losses:
        """Take a step, or queue it on the device."""

    def settle(self) -> None:
        """Make sure that the step was taken.

        Raises:
            RefusedStep: ``NUM-001`` when the loss or a gradient is not finite; parameters, buffers
                and optimiser are as before.
        """


class EagerStep:
    """Take steps as they are written.

    Args:
        network: On any device.
        objective: Batch to losses.
        optimizer: Over the parameters to train.
        amp: Whether to run under bfloat16 autocast.
        clip_norm: Largest gradient norm, or None.
        beside: What the objective trains or remembers, such as a contrast.
        ranks: Those that take the step together, each with its part of the batch.
        gradients: How the gradient is computed; None for one pass over the whole batch.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        *,
        amp: bool,
        clip_norm: float | None,
        beside: nn.Module | None = None,
        ranks: Ranks = ALONE,
        gradients: Gradients | None = None,
    ) -> None:
        self.optimizer = optimizer
        self._network = network
        self._gradients = gradients or Gradients(network, objective, optimizer, bf16=amp)
        self._clip_norm = clip_norm
        self._exchange = Exchange(ranks, network)
        self._beside = beside
        self._refused: RefusedStep | None = None
        # a step changes statistics and memory before it is known whether it is taken
        self._kept = _Kept([*network.buffers(), *(beside.buffers() if beside else ())])

    def __call__(self, batch: Batch) -> Losses:
        """Take one step, unless it is not finite."""
        losses, norm, finite = self.descend(batch)
        # one question to the device for both, after its work is queued
        if bool(finite):
            self.finish(norm)
            self._gradients.taken()
        elif self._gradients.skips(losses):
            self._kept.put_back()
            return replace(losses.detached(), taken=False)
        else:
            gradients = [each.grad for _, each in self.named_parameters()]
            self._refused = self.refuse(losses, norm, batch, gradients)
        return losses.detached()

    def settle(self) -> None:
        """Raise what was wrong with the last step, once.

        Raises:
            RefusedStep: ``NUM-001``, as :class:`TakeStep`.
        """
        refused, self._refused = self._refused, None
        if refused is not None:
            raise refused

    def descend(self, batch: Batch) -> tuple[Losses, Tensor, Tensor]:
        """Leave gradients at the parameters; return losses, norm, and whether all is finite."""
        self._kept.keep()
        losses = self._gradients(batch, self._exchange)
        gradients = [each.grad for each in self._graded() if each.grad is not None]
        losses = self._exchange(losses, gradients, batch)
        norm = nn.utils.get_total_norm(gradients)
        return losses, norm, torch.isfinite(losses.total.detach()) & torch.isfinite(norm)

    def finish(self, norm: Tensor) -> None:
        """Clip the gradients and move the parameters."""
        if self._clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self._graded(), self._clip_norm, norm)
        self.optimizer.step()

    def refuse(
        self, losses: Losses, norm: Tensor, batch: Batch, gradients: Sequence[Tensor | None]
    ) -> RefusedStep:
        """Undo what a step changed; return what was wrong with it."""
        names = [name for name, _ in self.named_parameters()]
        named = dict(zip(names, gradients, strict=True))
        lr = float(self.optimizer.param_groups[0]["lr"])
        refused = refused_step(losses, norm, batch, named, lr=lr)
        self._kept.put_back()
        self.optimizer.zero_grad(set_to_none=True)
        return refused

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield what is trained, in the order of the forward pass as it is written."""
        yield from self._network.named_parameters()
        if self._beside is not None:
            for name, parameter in self._beside.named_parameters():
                yield f"beside.{name}", parameter

    def _graded(self) -> list[Tensor]:
        parameters = (each for group in self.optimizer.param_groups for each in group["params"])
        return [each for each in parameters if each.grad is not None]


class _Kept:
    """A copy of buffers, made in one go for each kind of number: a copy each would be hundreds."""

    def __init__(self, buffers: Sequence[Tensor]) -> None:
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for buffer in buffers:
            kinds.setdefault(buffer.dtype, []).append(buffer)
        self._pairs = [(own, [torch.empty_like(each) for each in own]) for own in kinds.values()]

    @torch.no_grad()
    def keep(self) -> None:
        for buffers, copies in self._pairs:
            torch._foreach_copy_(copies, buffers)

    @torch.no_grad()
    def put_back(self) -> None:
        for buffers, copies in self._pairs:
            torch._foreach_copy_(buffers, copies)


class ReplayedStep:
    """Take steps by replaying a recording of one, for every shape of batch that comes often.

    A step of a small network is a thousand short kernels, and a host that queues them one by one
    is slower than the GPU. A CUDA graph queues all of them at once. The first steps of a shape are
    taken as they are written, and so is every step of a shape that comes rarely, such as the last
    one of an epoch.

    Nothing that a step does may depend on what the host sees: the optimiser has to be a fused one
    with its rate in a tensor (``build_optimizer`` on a GPU). A step that is not finite is refused
    on the device by the optimiser itself.

    Args:
        eager: The step, of a network on a GPU, with tensors of fixed shapes.
    """

    def __init__(self, eager: EagerStep) -> None:
        self._eager = eager
        self._seen: dict[_Shape, int] = {}
        self._recordings: dict[_Shape, _Recording] = {}
        self._queued: tuple[_Recording, Batch] | None = None

    def __call__(self, batch: Batch) -> Losses:
        """Queue one step; the losses are overwritten by the next one of the same shape."""
        # every rank records the same steps: what one of them adds up, all do
        shapes = (*(tensor.shape for tensor in batch["inputs"]), *batch.get("counts", ()))
        if shapes not in self._recordings:
            self._seen[shapes] = self._seen.get(shapes, 0) + 1
            if self._seen[shapes] <= _WARM_STEPS:
                return self._take(batch)
            self._recordings[shapes] = self._record(batch)
        recording = self._recordings[shapes]
        recording.fill(batch)
        recording.graph.replay()
        self._queued = recording, batch
        return recording.losses

    def settle(self) -> None:
        """Wait for the step.

        Raises:
            RefusedStep: ``NUM-001``, as :class:`TakeStep`.
        """
        if self._queued is None:
            self._eager.settle()
            return
        recording, batch = self._queued
        self._queued = None
        if not bool(recording.finite):
            raise self._eager.refuse(recording.losses, recording.norm, batch, recording.gradients)

    def _take(self, batch: Batch) -> Losses:
        """Take a step as it is written, away from the default stream, as a recording needs."""
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            losses = self._eager(batch)
        torch.cuda.current_stream().wait_stream(beside)
        return losses

    def _record(self, batch: Batch) -> "_Recording":
        """Record a step without taking it."""
        inputs = tuple(tensor.clone() for tensor in batch["inputs"])
        own = {**batch, "inputs": inputs}
        own |= {name: batch[name].clone() for name in ("label", "index")}
        graph, optimizer = torch.cuda.CUDAGraph(), self._eager.optimizer
        optimizer.zero_grad(set_to_none=True)
        # what the threads that pin batches ask of CUDA meanwhile is no part of the recording
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            losses, norm, finite = self._eager.descend(own)
            # what a gradient scaler says to a fused optimiser, which then leaves all as it is
            optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
            self._eager.finish(norm)
        del optimizer.found_inf  # type: ignore[attr-defined]
        gradients = [each.grad for _, each in self._eager.named_parameters()]
        return _Recording(graph, own, losses, norm, finite, gradients)


class _Recording:
    """A recorded step, and the tensors it reads and writes."""

    def __init__(
        self,
        graph: torch.cuda.CUDAGraph,
        batch: Batch,
        losses: Losses,
        norm: Tensor,
        finite: Tensor,
        gradients: Sequence[Tensor | None],
    ) -> None:
        self.graph = graph
        self.losses = losses.detached()
        self.norm = norm
        self.finite = finite
        self.gradients = gradients
        self._batch = batch

    def fill(self, batch: Batch) -> None:
        """Put a batch where the recording reads it."""
        for own, given in zip(self._batch["inputs"], batch["inputs"], strict=True):
            own.copy_(given, non_blocking=True)
        for name in ("label", "index"):
            self._batch[name].copy_(batch[name], non_blocking=True)
