import pytest
import torch
from torch import nn

from poselens.errors import PoselensError, UsageError
from poselens.evaluation.collect import collect_scores


class Sum(nn.Module):
    """Adds its inputs; drops out in training, so that evaluation mode shows."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.9)
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, first, second):
        return self.dropout(first + second) * self.weight


def batch(rows, start=0):
    values = torch.arange(start, start + rows, dtype=torch.float32)
    inputs = (torch.stack([values, -values], dim=1), torch.ones(rows, 2))
    return {
        "inputs": inputs,
        "label": torch.full((rows,), -1),
        "id": [f"c{start + row}" for row in range(rows)],
    }


def test_scores_come_in_order_without_dropout_and_the_mode_is_given_back():
    network = Sum().train()
    scores = collect_scores(network, [batch(3), batch(2, 3)], classes=["a", "b"], stream="rgb")
    assert network.training
    assert scores.ids == ["c0", "c1", "c2", "c3", "c4"]
    assert scores.logits.tolist() == [[1 + i, 1 - i] for i in range(5)]
    assert scores.labels.tolist() == [-1] * 5
    assert scores.stream == "rgb"


def test_mixed_precision_gives_float32():
    network = nn.Linear(2, 2)
    one = {"inputs": (torch.ones(1, 2),), "label": torch.zeros(1, dtype=torch.long), "id": ["x"]}
    scores = collect_scores(network, [one], classes=["a", "b"], stream="rgb", amp=True)
    assert scores.logits.dtype == "float32"


def test_scores_that_are_not_finite_name_their_clips_and_the_mode_is_given_back():
    broken = batch(3)
    broken["inputs"][0][1, 0] = float("nan")
    network = Sum().train()
    with pytest.raises(PoselensError, match="not finite for 1 clips: c1") as caught:
        collect_scores(network, [broken], classes=["a", "b"], stream="rgb")
    assert caught.value.code == "EVAL-005"
    assert network.training


def test_a_network_of_other_classes_is_refused():
    with pytest.raises(UsageError, match=r"shape \(3, 2\), expected \(3, 4\)"):
        collect_scores(Sum(), [batch(3)], classes=list("abcd"), stream="rgb")


def test_no_clip_is_refused():
    with pytest.raises(UsageError, match="no clip to score with stream 'rgb'"):
        collect_scores(Sum(), [], classes=["a"], stream="rgb")
