import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from poselens.errors import UsageError
from poselens.evaluation.explorer import opinions, pairs_of
from poselens.evaluation.metrics import evaluate
from poselens.types import Scores

CLASSES = list("abcde")


def drawn(stream, seed, clips=80, strength=1.5):
    draw = np.random.default_rng(seed)
    labels = np.arange(clips) % 5
    logits = draw.normal(0, 1, (clips, 5)) + strength * np.eye(5)[labels]
    return Scores(
        logits.astype(np.float32), [f"c{row:02d}" for row in range(clips)], labels, CLASSES, stream
    )


@pytest.fixture
def three():
    return [drawn(name, seed) for seed, name in enumerate(("rgb", "joint", "fused"))]


def test_pairs_are_the_confusion_matrix_off_its_diagonal(three):
    found = opinions(three)
    confusion = evaluate(three[-1], resamples=10).confusion
    pairs = list(pairs_of(found))
    assert [n for *_, n in pairs] == sorted((n for *_, n in pairs), reverse=True)
    for label, predicted, count in pairs:
        assert confusion[label, predicted] == count == len(found.of_pair(label, predicted))
    assert sum(n for *_, n in pairs) == confusion.sum() - confusion.trace()
    assert list(pairs_of(found, 2)) == pairs[:2]


def test_who_is_right_is_counted_on_the_clips_of_the_pair(three):
    found = opinions(three)
    label, predicted, count = next(pairs_of(found))
    clips = [
        row
        for row in range(80)
        if three[-1].labels[row] == label and three[-1].logits[row].argmax() == predicted
    ]
    for fix, scores in zip(found.fixes(label, predicted), three, strict=True):
        said = scores.logits[clips].argmax(axis=1)
        assert (fix.stream, fix.clips) == (scores.stream, count)
        assert (fix.right, fix.same) == ((said == label).sum(), (said == predicted).sum())


def test_a_belief_is_the_softmax_of_the_stream(three):
    found = opinions(three)
    for place, each in enumerate(found.beliefs(7, 3)):
        shares = softmax(three[place].logits[7].astype(np.float64))
        assert each.says == CLASSES[shares.argmax()]
        assert each.confidence == pytest.approx(shares.max())
        assert (each.label, each.other) == pytest.approx((shares[2], shares[3]))


def test_the_worst_clips_have_the_highest_loss_among_the_wrong(three):
    found = opinions(three)
    loss = -log_softmax(three[-1].logits.astype(np.float64), axis=1)[
        np.arange(80), three[-1].labels
    ]
    np.testing.assert_allclose(found.loss, loss)
    wrong = three[-1].logits.argmax(axis=1) != three[-1].labels
    expected = sorted(np.flatnonzero(wrong).tolist(), key=lambda row: -loss[row])
    assert found.worst(5) == expected[:5]
    assert found.worst(1000) == expected


def test_streams_that_say_nothing_are_left_out_of_opinions(three):
    three[0].logits[7] = np.nan
    three[2].labels[:] = three[0].labels
    short = Scores(three[1].logits[:40], three[1].ids[:40], three[1].labels[:40], CLASSES, "joint")
    found = opinions([three[0], short, three[2]])
    assert [each.stream for each in found.beliefs(7, 0)] == ["joint", "fused"]
    assert [each.stream for each in found.beliefs(50, 0)] == ["rgb", "fused"]
    assert np.isnan(found.confidence[0, 7])
    label, predicted, _ = next(pairs_of(found))
    clips = found.of_pair(label, predicted)
    assert found.fixes(label, predicted)[1].clips == (clips < 40).sum()


def test_clips_without_label_or_verdict_are_left_out(three):
    for each in three:
        each.labels[:10] = -1
    three[2].logits[10:15] = np.nan
    assert len(opinions(three).ids) == 65
    with pytest.raises(UsageError, match="no clip has both a label and scores"):
        opinions([Scores(three[0].logits, three[0].ids, np.full(80, -1), CLASSES, "rgb")])
