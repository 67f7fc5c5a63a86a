import base64
import hashlib
import json
import re

import numpy as np
import pytest

from poselens.evaluation import explorer_page
from poselens.evaluation.explorer import opinions
from poselens.evaluation.explorer_page import (
    embedded,
    explorer_facts,
    page_policy,
    page_script,
    pair_rows,
)
from poselens.evaluation.metrics import evaluate
from poselens.types import Scores


def drawn(stream, seed, clips=60, classes=("a", "b", "c")):
    draw = np.random.default_rng(seed)
    labels = np.arange(clips) % len(classes)
    logits = draw.normal(0, 1, (clips, len(classes))) + np.eye(len(classes))[labels]
    ids = [f"c{row:02d}" for row in range(clips)]
    return Scores(logits.astype(np.float32), ids, labels, list(classes), stream)


@pytest.fixture
def two():
    return [drawn("joint", 0), drawn("fused", 1)]


def test_the_script_is_told_every_confusion_and_every_wrong_clip(two):
    judged, found = evaluate(two[-1], resamples=10), opinions(two)
    facts = explorer_facts(judged, [2, 0, 1], found)
    confusion = np.zeros((3, 3), int)
    for row, column, count in facts["counts"]:
        confusion[row, column] = count
    np.testing.assert_array_equal(confusion, judged.confusion)
    assert facts["order"] == [2, 0, 1]
    assert facts["streams"] == ["joint", "fused"]
    wrong = judged.confusion.sum() - judged.confusion.trace()
    assert len(facts["mistakes"]) == wrong
    assert facts["unnamed"] == 0
    clip, label, predicted, said, own, other = facts["mistakes"][0]
    row = two[1].ids.index(clip)
    assert (label, predicted) == (two[1].labels[row], two[1].logits[row].argmax())
    assert said == [int(each.logits[row].argmax()) for each in two]
    for place, belief in enumerate(found.beliefs(row, predicted)):
        assert own[place] == pytest.approx(100 * belief.label, abs=0.5)
        assert other[place] == pytest.approx(100 * belief.other, abs=0.5)


def test_of_very_many_mistakes_some_have_no_name(two, monkeypatch):
    monkeypatch.setattr(explorer_page, "MISTAKES_KEPT", 5)
    judged = evaluate(two[-1], resamples=10)
    facts = explorer_facts(judged, [0, 1, 2], opinions(two))
    wrong = judged.confusion.sum() - judged.confusion.trace()
    assert (len(facts["mistakes"]), facts["unnamed"]) == (5, wrong - 5)


def test_no_text_ends_the_facts_early():
    told = {"classes": ["</script><script>alert(1)</script>", "<!--", "a & b \u2028"]}
    text = embedded(told)
    assert not re.search(r"[<>&\u2028]", text)
    assert json.loads(text) == told


def test_only_the_own_script_may_run_and_nothing_is_fetched():
    script = page_script()
    policy = page_policy(script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
    ]
    assert "innerHTML" not in script
    assert "http://www.w3.org/2000/svg" in script
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|fetch\(|import\(", script)


def test_rows_of_a_pair_say_who_is_right(two, monkeypatch):
    monkeypatch.setattr(explorer_page, "ROWS_OF_A_PAIR", 2)
    two[0].logits[:] = np.where(np.arange(60)[:, None] == 59, np.nan, two[0].logits)
    found = opinions(two)
    label, predicted = int(found.labels[found.wrong][0]), int(found.verdict[found.wrong][0])
    rows, more = pair_rows(found, label, predicted)
    assert (len(rows), more) == (2, len(found.of_pair(label, predicted)) - 2)
    for clip, (joint, fused) in rows:
        row = two[1].ids.index(clip)
        best = int(two[0].logits[row].argmax())
        assert joint == ("abc"[best], best == label)
        assert fused == ("abc"[predicted], False)
