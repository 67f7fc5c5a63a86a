"""The whole CTR-GCN: normalise joints, ten blocks, mean over time, joints and people, classify."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from poselens.errors import UsageError
from poselens.skeleton import fused
from poselens.skeleton.ctr_gcn import Block


class CtrGcn(nn.Module):
    """Recognise an action from joints. Chen et al., ICCV 2021, Section 3.3; paper, Section 3.3.

    Missing joints are NaN up to here, and read as 0 after every stream has been formed, so that a
    bone towards a missing joint is missing too. A person of whom every coordinate is NaN or 0 is
    absent, unless ``present`` says otherwise. Absent people take part neither in the statistics of
    the blocks nor in the mean over people; a clip without anybody gets the classifier's bias.

    Departure: the published network averages absent people in as zeros.

    Args:
        adjacency: Start of the three topologies (``graph.spatial_partition``).
        dimensions: Coordinates per joint.
        people: Most people in a clip, m.
        num_classes: Columns of the logits.
        width: Channels of the first stage; doubled at each further one. A multiple of 4.
        blocks: Blocks per stage; every stage but the first halves time.
        dropout: Share of the pooled feature dropped before the classifier.

    Raises:
        UsageError: ``CFG-020`` for a width that four branches cannot share.
    """

    def __init__(
        self,
        *,
        adjacency: Float[Tensor, "3 v v"],
        dimensions: int,
        people: int,
        num_classes: int,
        width: int = 64,
        blocks: Sequence[int] = (4, 3, 3),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if width < 4 or width % 4:
            raise UsageError(
                "CFG-020",
                f"found width {width}, expected a positive multiple of 4",
                mend="the temporal part splits its channels into four; use 16, 32 or 64",
            )
        self.data_norm = nn.BatchNorm1d(people * adjacency.shape[-1] * dimensions)
        self.blocks = nn.ModuleList()
        channels = dimensions
        for stage, count in enumerate(blocks):
            for position in range(count):
                self.blocks.append(
                    Block(
                        channels=channels,
                        out_channels=width * 2**stage,
                        adjacency=adjacency,
                        stride=2 if stage > 0 and position == 0 else 1,
                        shortcut=len(self.blocks) > 0,
                    )
                )
                channels = width * 2**stage
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(channels, num_classes)
        self.apply(_start)
        nn.init.normal_(self.classify.weight, 0.0, math.sqrt(2.0 / num_classes))
        nn.init.zeros_(self.classify.bias)

    def forward(
        self, joints: Float[Tensor, "n c t v m"], present: Bool[Tensor, "n m"] | None = None
    ) -> Float[Tensor, "n k"]:
        """Return logits."""
        feature, _, present = self._encode(joints, present)
        return self._score(feature, present)

    def forward_with_graph(
        self, joints: Float[Tensor, "n c t v m"], present: Bool[Tensor, "n m"] | None = None
    ) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n 3 v v"]]:
        r"""Return logits, and the graph that the contrast compares. Eq. (9).

        The graph is the last block's :math:`W_k\tanh(\cdot)`, averaged over channels and over the
        people present.

        Departure: Eq. (9) adds the learned topologies, the same for every clip, and is garbled.
        Only the part that depends on the clip is kept, unscaled (SkeletonGCL, ICLR 2023): with the
        scale, which starts at 0, the contrast would have no gradient.
        """
        feature, terms, present = self._encode(joints, present)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        graph = _mean_over_people(last.space.graph(terms), present)
        return self._score(feature, present), graph

    def _encode(
        self, joints: Tensor, present: Tensor | None
    ) -> tuple[Tensor, Tensor, Bool[Tensor, "n m"]]:
        joints = torch.nan_to_num(joints, nan=0.0, posinf=0.0, neginf=0.0)
        if present is None:
            present = (joints != 0).flatten(1, 3).any(dim=1)
        else:
            # the first normalisation takes its statistics over every slot
            joints = joints.masked_fill(~present[:, None, None, None], 0.0)
        feature = self._normalise(joints)
        counted = None
        # an absent person is a constant that would bend the statistics of every normalisation;
        # with fixed statistics the mask of the mean is enough
        if self.training and present.shape[1] > 1:
            first = self.blocks[0]
            assert isinstance(first, Block)
            if fused.takes_mask(feature, first.space.norm):
                # shapes stay the same whoever is there: the step can be replayed as a graph
                counted = present.flatten().float()
            elif bool(present.any()):
                feature = feature[present.flatten()]
        terms = feature
        for block in self.blocks:
            feature, terms = block(feature, counted)
        return feature, terms, present

    def _normalise(self, joints: Tensor) -> Float[Tensor, "nm c v t"]:
        people = joints.permute(0, 4, 3, 1, 2)  # (n, m, v, c, t)
        normal: Tensor = self.data_norm(people.flatten(1, 3)).view_as(people)
        return normal.flatten(0, 1).transpose(1, 2).contiguous()

    def _score(self, feature: Tensor, present: Tensor) -> Float[Tensor, "n k"]:
        pooled = _mean_over_people(feature.mean(dim=(2, 3)), present)
        logits: Tensor = self.classify(self.dropout(pooled))
        return logits


def _mean_over_people(
    rows: Float[Tensor, "p ..."], present: Bool[Tensor, "n m"]
) -> Float[Tensor, "n ..."]:
    """Average the rows of each clip's people; rows hold everybody, or only who is present."""
    here = present.flatten()
    if rows.shape[0] < here.shape[0]:
        everybody = rows.new_zeros((here.shape[0], *rows.shape[1:]))
        everybody[here] = rows
        rows = everybody
    mask = here.to(rows.dtype).view(-1, *[1] * (rows.dim() - 1))
    total = (rows * mask).reshape(*present.shape, *rows.shape[1:]).sum(dim=1)
    count = present.sum(dim=1).clamp(min=1).to(rows.dtype)
    mean: Tensor = total / count.view(-1, *[1] * (rows.dim() - 1))
    return mean


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
