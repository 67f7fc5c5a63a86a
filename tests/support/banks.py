"""Small banks and batches for tests of the contrast."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class Scene:
    """A batch and a partly filled bank; anchor i may be the clip of some slots."""

    features: Tensor
    labels: Tensor
    clips: Tensor
    bank: Tensor
    held: Tensor

    @property
    def similarity(self) -> Tensor:
        return torch.einsum("nd,ksd->nks", self.features, self.bank)


def scene(
    seed: int = 0, *, n: int = 6, k: int = 4, s: int = 7, d: int = 5, filled: float = 0.8
) -> Scene:
    generator = torch.Generator().manual_seed(seed)
    held = torch.randperm(k * s, generator=generator).view(k, s)
    held[torch.rand(k, s, generator=generator) >= filled] = -1
    return Scene(
        features=F.normalize(torch.randn(n, d, generator=generator), dim=1),
        labels=torch.randint(0, k, (n,), generator=generator),
        clips=torch.randint(0, k * s, (n,), generator=generator),
        bank=F.normalize(torch.randn(k, s, d, generator=generator), dim=2),
        held=held,
    )


def rivals(scene: Scene):
    """What negatives are chosen from, and the slots that may be compared at all."""
    from poselens.contrast.class_similarity import class_similarity, comparable_slots
    from poselens.contrast.negatives import Rivals

    comparable = comparable_slots(scene.held, scene.clips)
    other = torch.arange(len(scene.held)) != scene.labels[:, None]
    closeness = class_similarity(scene.similarity, comparable)
    return Rivals(scene.similarity, comparable & other[:, :, None], closeness, scene.clips)


def places(chosen, anchor: int) -> list[int]:
    """Return the places taken for one anchor."""
    return chosen.place[anchor][chosen.taken[anchor]].tolist()
