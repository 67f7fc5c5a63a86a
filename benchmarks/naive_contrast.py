"""The contrast of graphs written straight from the equations: one anchor after the other.

The slow side of benchmarks. The bank has our layout, so that both sides can be given the same one;
only the random draws differ.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def naive_contrast(
    features: Tensor,
    labels: Tensor,
    clips: Tensor,
    *,
    bank: Tensor,
    held: Tensor,
    samplers: Sequence[str] = ("random", "class-aware"),
    positives: int = 128,
    negatives: int = 512,
    cap: int | None = 64,
    temperature: float = 0.8,
) -> Tensor:
    """Return the loss of a batch: Eq. (10), (12), the samplers' losses averaged.

    Args:
        features: ``(n, d)`` projected graphs of unit length.
        labels: ``(n,)`` classes.
        clips: ``(n,)`` positions in the data set.
        bank: ``(k, s, d)`` features of earlier steps.
        held: ``(k, s)`` their clips, -1 where a slot is empty.
        samplers: ``hard``, ``random``, ``class-aware``.
        positives: Most positives per anchor.
        negatives: Most negatives per anchor and sampler.
        cap: Most negatives of one class, for ``class-aware``.
        temperature: tau.
    """
    slots = bank.flatten(0, 1)
    classes = torch.arange(len(bank), device=bank.device).repeat_interleave(bank.shape[1])
    found = []
    for feature, label, clip in zip(features, labels.tolist(), clips.tolist(), strict=True):
        similarity = slots @ feature
        usable = (held.flatten() >= 0) & (held.flatten() != clip)
        pulled = (usable & (classes == label)).nonzero().flatten()
        pulled = pulled[similarity[pulled].detach().argsort()[:positives]]
        candidates = (usable & (classes != label)).nonzero().flatten()
        if len(pulled) == 0 or len(candidates) == 0:
            continue
        for sampler in samplers:
            pushed = _negatives(
                sampler, similarity.detach(), candidates, classes, count=negatives, cap=cap
            )
            found.append(_info_nce(similarity[pulled], similarity[pushed], temperature))
    return torch.stack(found).mean() if found else features.sum() * 0


def _negatives(
    sampler: str,
    similarity: Tensor,
    candidates: Tensor,
    classes: Tensor,
    *,
    count: int,
    cap: int | None,
) -> Tensor:
    """Return the places of one anchor's negatives."""
    if sampler == "random":
        return candidates[torch.randperm(len(candidates), device=candidates.device)[:count]]
    nearest = candidates[similarity[candidates].argsort(descending=True)]
    if sampler == "hard":
        return nearest[:count]
    members = {int(c): nearest[classes[nearest] == c] for c in classes[nearest].unique()}
    ranked = sorted(members, key=lambda c: float(similarity[members[c]].mean()), reverse=True)
    return torch.cat([members[c][:cap] for c in ranked])[:count]


def _info_nce(positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """Return the mean over positives of Eq. (12)."""
    losses = []
    for one in positive:
        row = torch.cat([one[None], negative]) / temperature
        losses.append(row.logsumexp(0) - row[0])
    return torch.stack(losses).mean()
