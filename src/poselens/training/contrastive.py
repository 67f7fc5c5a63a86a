"""Contrast beside cross entropy: Eq. (13)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from poselens.contrast.class_similarity import class_similarity, comparable_slots
from poselens.contrast.losses import info_nce, mean_over_anchors
from poselens.contrast.memory_bank import MemoryBank, fifo_bank, per_sample_bank
from poselens.contrast.negatives import (
    Chosen,
    Rivals,
    Sampler,
    class_aware,
    hard,
    mixed,
    random,
)
from poselens.contrast.positives import least_similar
from poselens.contrast.ranks import gathered
from poselens.contrast.tally import Tally
from poselens.skeleton.projection import GraphProjection
from poselens.training.config import ContrastSettings
from poselens.training.objectives import (
    UNBALANCED,
    Balance,
    Batch,
    Losses,
    Objective,
    mean_cross_entropy,
)

SamplerName = Literal["hard", "random", "class-aware"]

_SAMPLERS: dict[SamplerName, Sampler] = {
    "hard": hard,
    "random": random,
    "class-aware": class_aware,
}


_Held = tuple[Tensor, Tensor, Tensor, Sequence[int] | None]


class Contrast(nn.Module):
    """Compare a batch of graphs with the bank, then store them. Paper, Section 3.3.

    Every sampler gives a loss of its own, with the same positives; they are averaged. All
    arithmetic is in float32, also under autocast; gradients reach the anchors alone.

    Departure: how two samplers are combined is not said; the relatives' code averages two losses.

    Attributes:
        step: Batches seen. With the run's seed it is the seed of the random negatives.

    Args:
        projection: Head g of Eq. (9), trained.
        bank: What the batch is compared with: earlier batches, of all ranks.
        samplers: Where negatives come from.
        temperature: tau of Eq. (12).
        positives: Most positives per anchor, N+.
        negatives: Most negatives per anchor and sampler, Nc.
        cap: Most negatives of one class, for ``class-aware``; None for no limit.
        seed: The run's seed.
    """

    step: Tensor

    def __init__(
        self,
        *,
        projection: GraphProjection,
        bank: MemoryBank,
        samplers: Sequence[SamplerName],
        temperature: float,
        positives: int,
        negatives: int,
        cap: int | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.projection = projection
        self.bank = bank
        self.tally = Tally(num_classes=bank.clips.shape[0], samplers=samplers)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._samplers = [_SAMPLERS[name] for name in samplers]
        self._temperature = temperature
        self._positives = positives
        self._negatives = negatives
        self._cap = cap
        # neighbouring seeds must not run through the same sequence, one step apart
        self._seed = int(mixed(torch.tensor(seed)))
        self._held: list[_Held] | None = None

    def forward(
        self,
        graph: Float[Tensor, "n 3 v v"],
        labels: Int[Tensor, " n"],
        clips: Int[Tensor, " n"],
        counts: Sequence[int] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss against the bank as it was before this batch.

        Args:
            graph: The last block's topologies.
            labels: Classes of the views, after mirroring.
            clips: Positions in the data set.
            counts: Clips of each rank, where there are several.
        """
        with torch.autocast(graph.device.type, enabled=False):
            feature = self.projection(graph)
            # a copy: the backward pass needs the bank as it was, and comes after the writing
            known = self.bank.features.flatten(0, 1).clone()
            loss = self._compare(feature @ known.T, labels, clips)
        if self._held is None:
            self._store((feature, labels, clips, counts))
        else:
            self._held.append((feature.detach(), labels, clips, counts))
        return loss

    @contextmanager
    def whole_batch(self) -> Iterator[None]:
        """Take what the block compares as one batch: all of it is stored when the block ends.

        Every part is compared with the bank as it was before, with the same seed. A block that
        fails stores nothing.
        """
        self._held = []
        try:
            yield
            if self._held:
                self._store(*self._held)
        finally:
            self._held = None

    def _store(self, *parts: _Held) -> None:
        # part by part, so that several ranks store in the order of the batch
        everything = [
            gathered(feature.detach().float(), labels, clips, counts)
            for feature, labels, clips, counts in parts
        ]
        self.bank.store(*map(torch.cat, zip(*everything, strict=True)))
        self.step += 1

    def _compare(self, similarity: Float[Tensor, "n ks"], labels: Tensor, clips: Tensor) -> Tensor:
        positives, negatives = self._choose(similarity.detach(), labels, clips)
        sets = [positives, *negatives]
        # one gather for all sets, for its gradient is as large as the similarities
        picked = similarity.gather(1, torch.cat([chosen.place for chosen in sets], dim=1))
        positive, *others = torch.split(picked, [chosen.place.shape[1] for chosen in sets], dim=1)
        losses = [
            mean_over_anchors(
                *info_nce(
                    positive, positives.taken, values, chosen.taken, temperature=self._temperature
                )
            )
            for values, chosen in zip(others, negatives, strict=True)
        ]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def _choose(
        self, similarity: Float[Tensor, "n ks"], labels: Tensor, clips: Tensor
    ) -> tuple[Chosen, list[Chosen]]:
        classes, slots = self.bank.clips.shape
        similarity = similarity.view(len(labels), classes, slots)
        comparable = comparable_slots(self.bank.clips, clips)
        closeness = class_similarity(similarity, comparable)
        other = torch.arange(classes, device=labels.device) != labels[:, None]
        rivals = Rivals(similarity, comparable & other[:, :, None], closeness, clips)
        seed = self.step + self._seed
        positives = least_similar(similarity, comparable, labels, count=self._positives)
        negatives = [
            sampler(rivals, count=self._negatives, cap=self._cap, seed=seed)
            for sampler in self._samplers
        ]
        self.tally.add(labels, closeness, negatives, slots=slots)
        return positives, negatives


def build_contrast(
    settings: ContrastSettings,
    *,
    labels: Int[np.ndarray, " n"],
    clips: Int[np.ndarray, " n"],
    num_classes: int,
    joints: int,
    seed: int,
) -> Contrast:
    """Wire the contrast for the training clips of a run.

    Args:
        settings: The recipe's section.
        labels: Classes of the training clips.
        clips: Their positions in the data set, as in ``index`` of a batch.
        num_classes: Classes of the data set.
        joints: Joints of the layout.
        seed: The run's seed.
    """
    if settings.bank == "fifo":
        bank = fifo_bank(
            num_classes=num_classes, length=settings.fifo_length, dimensions=settings.dimensions
        )
    else:
        bank = per_sample_bank(
            labels=labels, clips=clips, num_classes=num_classes, dimensions=settings.dimensions
        )
    return Contrast(
        projection=GraphProjection(
            joints=joints, dimensions=settings.dimensions, kind=settings.projection
        ),
        bank=bank,
        samplers=settings.samplers,
        temperature=settings.temperature,
        positives=settings.positives,
        negatives=settings.negatives,
        cap=settings.cap,
        seed=seed,
    )


def contrastive(
    contrast: Contrast,
    *,
    weight: float,
    label_smoothing: float,
    balance: Balance = UNBALANCED,
) -> Objective:
    r"""Return the objective of Eq. (13): cross entropy plus the contrast of graphs.

    .. math:: L = L_{CE} + w L_{NCE}

    Departure: w is not in the equation; 1, the default of the recipes, is the equation.

    Args:
        contrast: On the network's device; its projection is in the optimiser.
        weight: w.
        label_smoothing: As in cross entropy alone.
        balance: As in cross entropy alone.
    """

    def objective(network: Any, batch: Batch) -> Losses:
        logits, graph = network.forward_with_graph(*batch["inputs"])
        labels = batch["label"]
        clips = batch["index"].to(labels.device, non_blocking=True)
        logits, graph = logits[: len(labels)], graph[: len(labels)]
        ce = mean_cross_entropy(logits, batch, label_smoothing=label_smoothing, balance=balance)
        pushed = contrast(graph, labels, clips, batch.get("counts"))
        return Losses(ce + weight * pushed, {"ce": ce, "contrast": pushed}, logits)

    return objective
