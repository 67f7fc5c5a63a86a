import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from poselens.errors import AnnotationError, UsageError
from poselens.evaluation.label_errors import find_suspects, write_suspects
from poselens.types import Scores

CLASSES = [f"k{index}" for index in range(10)]


def planted(clips=1000, share=0.05, strength=4.0, seed=0, names=("rgb", "joint")):
    """Scores of streams that see the true class, and labels of which some are wrong.

    Noise of the streams is independent, and some clips are hard for all.
    """
    draw = np.random.default_rng(seed)
    truth = np.arange(clips) % len(CLASSES)
    labels = truth.copy()
    wrong = draw.choice(clips, round(share * clips), replace=False)
    labels[wrong] = (truth[wrong] + draw.integers(1, len(CLASSES), len(wrong))) % len(CLASSES)
    clear = draw.beta(4, 1, clips)[:, None]
    ids = [f"clip{row:04d}" for row in range(clips)]
    scores = [
        Scores(
            (draw.normal(0, 1, (clips, 10)) + strength * clear * np.eye(10)[truth]).astype(
                np.float32
            ),
            ids,
            labels,
            CLASSES,
            name,
        )
        for name in names
    ]
    return scores, {ids[row] for row in wrong.tolist()}, truth


def quality(found, wrong):
    named = {entry.clip for entry in found}
    return len(named & wrong) / max(len(named), 1), len(named & wrong) / len(wrong)


def naive(scores):
    """Clips whose mean probability prefers another class than the label."""
    mean = np.mean([softmax(each.logits, axis=1) for each in scores], axis=0)
    rows = np.flatnonzero(mean.argmax(axis=1) != scores[0].labels)
    return {scores[0].ids[row] for row in rows}


def test_planted_errors_are_found_more_precisely_than_by_disagreement_alone():
    ours, plain = [], []
    for seed in range(10):
        scores, wrong, _ = planted(seed=seed)
        found = find_suspects(scores)
        others = naive(scores)
        assert found.disagreeing == len(others)
        ours.append(quality(found.entries, wrong))
        plain.append(len(others & wrong) / len(others))
    precision, recall = np.mean(ours, axis=0)
    # 50 wrong labels among 1,000: 1.00 and 0.62 here, and 0.61 of the naive list are errors
    assert precision > 0.97
    assert recall > 0.55
    assert np.mean(plain) < 0.7


def test_what_is_suggested_is_mostly_the_truth():
    scores, wrong, truth = planted()
    right = [
        entry.suggested == CLASSES[truth[int(entry.clip[4:])]]
        for entry in find_suspects(scores).entries
        if entry.clip in wrong
    ]
    assert np.mean(right) > 0.95


@pytest.mark.parametrize("rank", ["margin", "self-confidence"])
def test_the_likeliest_come_first(rank):
    scores, wrong, _ = planted(strength=3.0)
    found = find_suspects(scores, rank=rank)
    key = [entry.margin if rank == "margin" else entry.self_confidence for entry in found.entries]
    assert key == sorted(key)
    half = len(found.entries) // 2
    assert quality(found.entries[:half], wrong)[0] >= quality(found.entries, wrong)[0]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.sampled_from([0.0, 0.1, 0.4]))
def test_every_suspect_is_what_the_definition_says(seed, share):
    scores, _, _ = planted(clips=120, share=share, seed=seed, names=("a", "b", "c"))
    labels, shares = (
        scores[0].labels,
        [softmax(each.logits.astype(np.float64), axis=1) for each in scores],
    )
    mean, expected = sum(shares) / 3, set()
    for row, label in enumerate(labels.tolist()):
        reached = [k for k in range(10) if mean[row, k] >= mean[labels == k, k].mean()]
        best = max(reached, key=lambda k: mean[row, k], default=label)
        if best != label and all(each[row].argmax() == best for each in shares):
            expected.add((scores[0].ids[row], CLASSES[label], CLASSES[best]))
    found = find_suspects(scores)
    assert {(e.clip, e.label, e.suggested) for e in found.entries} == expected
    for entry in found.entries:
        assert -1 <= entry.margin <= entry.self_confidence <= 1


def test_clips_are_matched_by_id_and_those_a_stream_lacks_are_left_out():
    (first, second), _, _ = planted()
    turned = Scores(second.logits[::-1], second.ids[::-1], second.labels[::-1], CLASSES, "joint")
    assert find_suspects([first, turned]).entries == find_suspects([first, second]).entries
    some = Scores(second.logits[:300], second.ids[:300], second.labels[:300], CLASSES, "joint")
    found = find_suspects([first, some])
    assert found.n == 300
    first.labels[:50] = some.labels[:50] = -1
    assert find_suspects([first, some]).n == 250


def test_a_class_without_a_clip_is_never_suggested():
    scores, _, _ = planted(clips=200)
    for each in scores:
        each.labels[each.labels == 3] = -1
    assert all(entry.suggested != "k3" for entry in find_suspects(scores).entries)


def test_one_stream_cannot_contradict_a_label():
    scores, _, _ = planted(clips=20)
    with pytest.raises(UsageError, match="found 1 streams, expected at least 2") as told:
        find_suspects(scores[:1])
    assert told.value.code == "EVAL-081"


def test_streams_without_a_common_clip_and_labels_that_differ_are_refused():
    (first, second), _, _ = planted(clips=20)
    other = Scores(second.logits, [f"x{each}" for each in second.ids], second.labels, CLASSES, "b")
    with pytest.raises(UsageError, match="no labelled clip is common"):
        find_suspects([first, other])
    changed = Scores(second.logits, second.ids, (second.labels + 1) % 10, CLASSES, "b")
    with pytest.raises(AnnotationError):
        find_suspects([first, changed])


def test_the_table_holds_every_suspect_in_order(tmp_path):
    scores, _, _ = planted(clips=300)
    found = find_suspects(scores)
    write_suspects(tmp_path / "s.csv", found)
    rows = list(csv.DictReader((tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["clip"] for row in rows] == [entry.clip for entry in found.entries]
    assert [int(row["rank"]) for row in rows] == list(range(1, len(rows) + 1))
    first, entry = rows[0], found.entries[0]
    assert (first["label"], first["suggested"]) == (entry.label, entry.suggested)
    assert float(first["margin"]) == pytest.approx(entry.margin, abs=1e-4)
    assert float(first["joint suggested"]) == pytest.approx(entry.witnesses[1].other, abs=1e-4)
