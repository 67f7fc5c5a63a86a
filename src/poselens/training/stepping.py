"""One step of the optimiser: taken as it is written, or recorded once and replayed on a GPU."""

from dataclasses import replace
from typing import NoReturn, Protocol

import torch
from torch import Tensor, nn

from poselens.errors import NumericFault
from poselens.training.gradients import Gradients
from poselens.training.objectives import Batch, Losses, Objective

_WARM_STEPS = 3


class TakeStep(Protocol):
    """Takes one step for a batch on the device, and says what it cost."""

    def __call__(self, batch: Batch) -> Losses:
        """Take a step, or queue it on the device."""

    def settle(self) -> None:
        """Make sure that the step was taken."""


class EagerStep:
    """Take steps as they are written.

    Args:
        network: On any device.
        objective: Batch to losses.
        optimizer: Over the parameters to train.
        amp: Whether to run under bfloat16 autocast.
        clip_norm: Largest gradient norm, or None.
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
        gradients: Gradients | None = None,
    ) -> None:
        self.optimizer = optimizer
        self._gradients = gradients or Gradients(network, objective, optimizer, bf16=amp)
        self._clip_norm = clip_norm

    def __call__(self, batch: Batch) -> Losses:
        """Take one step.

        Raises:
            NumericFault: ``NUM-001`` when the loss or a gradient is not finite; the parameters and
                the optimiser are as before.
        """
        losses, norm, finite = self.descend(batch)
        # one question to the device for both, after its work is queued
        if not bool(finite):
            if self._gradients.skips(losses):
                return replace(losses.detached(), taken=False)
            self.refuse(losses, norm, batch)
        self.finish(norm)
        self._gradients.taken()
        return losses.detached()

    def settle(self) -> None:
        """Do nothing: a step is settled when it has been taken."""

    def descend(self, batch: Batch) -> tuple[Losses, Tensor, Tensor]:
        """Leave gradients at the parameters; return losses, norm, and whether all is finite."""
        losses = self._gradients(batch)
        gradients = [each.grad for each in self._graded() if each.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        return losses, norm, torch.isfinite(losses.total.detach()) & torch.isfinite(norm)

    def finish(self, norm: Tensor) -> None:
        """Clip the gradients and move the parameters."""
        if self._clip_norm is not None:
            nn.utils.clip_grads_with_norm_(self._graded(), self._clip_norm, norm)
        self.optimizer.step()

    def refuse(self, losses: Losses, norm: Tensor, batch: Batch) -> NoReturn:
        """Raise what is wrong with a step, and forget its gradients."""
        self.optimizer.zero_grad(set_to_none=True)
        raise NumericFault(
            "NUM-001",
            f"the loss is {losses.total.item():.4g} and the gradient norm {norm.item():.4g} at "
            f"lr {float(self.optimizer.param_groups[0]['lr']):.4g}; the step was refused",
            where=f"clips {', '.join(batch['id'][:8])}",
            mend="lower training.lr, or set training.amp=off, and go on with --resume",
        )

    def _graded(self) -> list[Tensor]:
        parameters = (each for group in self.optimizer.param_groups for each in group["params"])
        return [each for each in parameters if each.grad is not None]


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
        self._seen: dict[tuple[torch.Size, ...], int] = {}
        self._recordings: dict[tuple[torch.Size, ...], _Recording] = {}
        self._queued: tuple[_Recording, Batch] | None = None

    def __call__(self, batch: Batch) -> Losses:
        """Queue one step; the losses are overwritten by the next one of the same shape."""
        shapes = tuple(tensor.shape for tensor in batch["inputs"])
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
            NumericFault: ``NUM-001`` as :class:`EagerStep`.
        """
        if self._queued is None:
            return
        recording, batch = self._queued
        self._queued = None
        if not bool(recording.finite):
            self._eager.refuse(recording.losses, recording.norm, batch)

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
        return _Recording(graph, own, losses, norm, finite)


class _Recording:
    """A recorded step, and the tensors it reads and writes."""

    def __init__(
        self,
        graph: torch.cuda.CUDAGraph,
        batch: Batch,
        losses: Losses,
        norm: Tensor,
        finite: Tensor,
    ) -> None:
        self.graph = graph
        self.losses = losses.detached()
        self.norm = norm
        self.finite = finite
        self._batch = batch

    def fill(self, batch: Batch) -> None:
        """Put a batch where the recording reads it."""
        for own, given in zip(self._batch["inputs"], batch["inputs"], strict=True):
            own.copy_(given, non_blocking=True)
        for name in ("label", "index"):
            self._batch[name].copy_(batch[name], non_blocking=True)
