import numpy as np
import pytest
from table_run import some_scores

from poselens.errors import UsageError
from poselens.evaluation.published import published
from poselens.evaluation.tables import Entry, On, Unmatched, accuracy_table, cost_table, own_rows
from poselens.types import Scores

HERE = On("tiny", "p", "test", "f00")
THERE = On("tiny", "q", "test", "f00")


def entry(row, seed, *, setting="s", on=HERE, accuracy=0.7, clips=40):
    scores = some_scores("joint", accuracy, int(seed), clips)
    return Entry(row, setting, seed, scores, on, "last of 2 epochs", (f"run-{seed}",))


def lines(facts):
    return {line["key"]: line for line in facts["rows"]}


def test_nothing_is_invented_where_nothing_was_run():
    facts = accuracy_table(4, published(4), [])
    assert [line["key"] for line in facts["rows"]] == own_rows(published(4))
    assert all(line["measured"] == [] for line in facts["rows"])
    assert lines(facts)["baseline"]["printed"] == [92.3, 95.8]
    assert facts["on"] == []
    assert "nothing was measured: the columns of our own are empty" in facts["remarks"]


def test_seeds_are_averaged_and_few_are_said_to_be_few():
    entries = [entry("pose", str(seed)) for seed in range(3)]
    facts = accuracy_table(4, published(4), [*entries, entry("crop", "0")])
    (measured,) = lines(facts)["pose"]["measured"]
    (cell,) = measured["cells"]
    each = [
        float((e.scores.logits.argmax(1) == e.scores.labels).mean()) for e in entries
    ]  # fmt: skip
    assert cell["top1"]["mean"] == pytest.approx(np.mean(each))
    assert cell["top1"]["deviation"] == pytest.approx(np.std(each, ddof=1))
    assert cell["top1"]["interval"][0] < cell["top1"]["mean"] < cell["top1"]["interval"][1]
    assert (cell["n"], cell["seeds"], cell["sources"]) == (
        40, ["0", "1", "2"], ["run-0", "run-1", "run-2"],
    )  # fmt: skip
    assert lines(facts)["crop"]["measured"][0]["cells"][0]["top1"]["deviation"] is None
    assert lines(facts)["ma"]["measured"] == []
    few = next(text for text in facts["remarks"] if text.startswith("fewer than 3 seeds"))
    assert few.endswith("Baseline + Crop")
    assert "rows differ in their seeds" in facts["remarks"]
    assert "how ours were chosen: last of 2 epochs" in facts["remarks"]


def test_two_seeds_have_no_deviation():
    facts = accuracy_table(4, published(4), [entry("pose", "0"), entry("pose", "1")])
    assert lines(facts)["pose"]["measured"][0]["cells"][0]["top1"]["deviation"] is None


def test_data_stand_side_by_side_and_settings_below_each_other():
    entries = [
        entry("pose", "0"), entry("pose", "0", on=THERE), entry("pose", "0", setting="t"),
        entry("ours", "0", on=THERE),
    ]  # fmt: skip
    facts = accuracy_table(4, published(4), entries)
    assert [place["protocol"] for place in facts["on"]] == ["p", "q"]
    first, second = lines(facts)["pose"]["measured"]
    assert (first["setting"], [cell is not None for cell in first["cells"]]) == ("s", [True, True])
    assert (second["setting"], [cell is not None for cell in second["cells"]]) == (
        "t", [True, False],
    )  # fmt: skip
    (ours,) = lines(facts)["ours"]["measured"]
    assert [cell is not None for cell in ours["cells"]] == [False, True]


def test_a_subset_is_never_the_full_set():
    part = On("NW-UCLA", "nw-ucla", "test", "f", of=464)
    facts = accuracy_table(4, published(4), [entry("pose", "0", on=part)])
    assert "a subset of the protocol's clips (Pose: 40 of 464)" in facts["remarks"]
    assert any("95 of 464 test clips equal a training clip" in text for text in facts["remarks"])


def test_whole_groups_are_drawn_where_there_are_groups():
    one = entry("pose", "0", clips=60)
    groups = {clip: str(row // 20) for row, clip in enumerate(one.scores.ids)}
    facts = accuracy_table(4, published(4), [one], groups=groups, unit="subject")
    alone = accuracy_table(4, published(4), [one])
    assert (facts["interval_unit"], alone["interval_unit"]) == ("subject", "clip")
    ends = [lines(f)["pose"]["measured"][0]["cells"][0]["top1"]["interval"] for f in (facts, alone)]
    assert ends[0] != ends[1]
    narrow = "intervals of tiny over 3 subjects, fewer than 10, are too narrow"
    assert narrow in facts["remarks"]
    assert narrow not in alone["remarks"]


def test_a_row_that_is_not_of_the_table_is_refused():
    with pytest.raises(UsageError, match="table 5 has no row 'pose'") as caught:
        accuracy_table(5, published(5), [entry("pose", "0")])
    assert caught.value.code == "EVAL-042"


def test_a_comparison_ends_in_rows_of_our_own():
    assert own_rows(published(2)) == ["rgb", "skeleton", "fused"]
    facts = accuracy_table(2, published(2), [entry("skeleton", "0")], [Unmatched("x", "why")])
    keys = [line["key"] for line in facts["rows"]]
    # a branch that was not run has no row; the whole method has an empty one
    assert keys[-3:] == ["MFCF", "skeleton", "fused"]
    assert lines(facts)["skeleton"]["printed"] == [None]
    assert lines(facts)["fused"]["measured"] == []
    assert facts["unmatched"] == [{"source": "x", "reason": "why"}]


def test_scores_over_views_are_told():
    scores = some_scores("joint", 0.7, 0)
    seen = Scores(
        scores.logits, scores.ids, scores.labels, scores.classes, scores.stream, "3-crops"
    )
    one = Entry("pose", "s", "0", seen, HERE, "last", ("run",))
    facts = accuracy_table(4, published(4), [one])
    assert "some scores are means over views: 3-crops" in facts["remarks"]


def test_costs_stand_below_the_printed_ones():
    line = {"setting": "x", "gmacs": 1.0, "rgb_gmacs": 1.0, "skeleton_gmacs": None, "params": 2}
    facts = cost_table(3, published(3), [line])
    assert [row["printed"] for row in facts["rows"]][-1] == [35.1]
    assert facts["measured"] == [line]
