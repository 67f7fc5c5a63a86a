import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from poselens.errors import EnvironmentFault
from poselens.evaluation.contrasted import ContrastHistory
from poselens.evaluation.explorer import ConfusedPair, FrameStrip
from poselens.evaluation.intervals import Difference, Interval
from poselens.evaluation.report import (
    contents,
    most_confused,
    render_report,
    summary,
    write_report,
)
from poselens.evaluation.sections import Section, SectionTable


class Balance(HTMLParser):
    """Checks that every element is closed in order, and gathers what is seen."""

    VOID = frozenset({"meta", "img", "br", "link", "hr", "input"})

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(page):
    reader = Balance()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_report_is_one_file_that_fetches_nothing(five_streams):
    page = render_report(five_streams)
    reader = parsed(page)
    tags = [tag for tag, _ in reader.seen]
    assert tags.count("svg") == 3
    assert tags.count("img") == 6
    assert tags.count("script") == 2
    assert not {"link", "iframe"} & set(tags)
    for tag, attributes in reader.seen:
        if tag == "img":
            assert attributes["src"].startswith("data:image/")
        assert not {"src", "onclick", "onload"} & attributes.keys() or tag == "img"
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"url\((?!#)", page)
    assert page == render_report(five_streams)


def test_every_number_of_the_results_is_on_the_page(five_streams):
    text = " ".join(parsed(render_report(five_streams)).text).replace("\u2009", " ")
    for result in [*five_streams.streams, five_streams.fused]:
        judged = result.evaluation
        low, high = judged.top1_interval.low, judged.top1_interval.high
        assert f"{100 * judged.top1:.1f} %" in text
        assert f"{100 * low:.1f} to {100 * high:.1f}" in text
        assert judged.stream in text
    for fact in ("utd-mhad", "432", "one H200", "2026-11-22", "VID-002", "poselens fuse runs/rgb"):
        assert fact in text
    assert five_streams.fingerprint in text
    assert five_streams.streams[0].evaluation.selection in text


def test_a_single_stream_makes_a_report_without_fusion(one_stream):
    text = " ".join(parsed(render_report(one_stream)).text)
    assert "The joint stream names the action correctly" in text
    assert "Most confused pairs" not in text
    assert "Fusion" not in text


def test_the_summary_says_what_the_numbers_say(five_streams):
    first, second, third = summary(five_streams)
    best = five_streams.fused.evaluation
    assert f"{100 * best.top1:.1f}\u2009% of 432 test clips" in first
    assert "27 classes would be right in 3.7\u2009%" in first
    assert f"{100 * five_streams.gain.value:.1f} points above the best single stream" in second
    label, predicted, count = most_confused(best, 1)[0]
    assert f"{label} taken for {predicted}, {count} times" in third


@pytest.mark.parametrize(
    ("low", "high", "value", "words"),
    [
        (-0.02, 0.03, 0.01, "inside the noise (95\u2009% interval −2.0 to +3.0)"),
        (-0.05, -0.01, -0.03, "3.0 points below the best single stream"),
        (0.01, 0.05, 0.03, "3.0 points above the best single stream"),
    ],
)
def test_a_gain_inside_the_noise_is_called_that(five_streams, low, high, value, words):
    gain = Difference(value, Interval(low, high, 0.95, "clip"), 432, 10, 3)
    assert words in summary(replace(five_streams, gain=gain))[1]


def test_selection_rules_that_differ_get_a_column(one_stream):
    first = one_stream.streams[0]
    other = replace(first, evaluation=replace(first.evaluation, selection="last epoch"))
    page = render_report(replace(one_stream, streams=[other, first]))
    assert "Chosen by" in page
    assert "last epoch" in page


def test_columns_that_would_be_empty_are_left_out(one_stream):
    (first,) = one_stream.streams
    assert "Epoch used" in render_report(one_stream)
    assert "Top-1 at" in render_report(one_stream)
    bare = replace(first, selected_epoch=None, last_top1=None)
    page = render_report(replace(one_stream, streams=[bare]))
    assert "Epoch used" not in page
    assert "Top-1 at" not in page
    parsed(page)


def test_most_confused_is_sorted_and_leaves_out_the_diagonal(five_streams):
    judged = five_streams.fused.evaluation
    pairs = most_confused(judged, 5)
    assert [count for *_, count in pairs] == sorted((count for *_, count in pairs), reverse=True)
    for label, predicted, count in pairs:
        row, column = (list(judged.classes).index(name) for name in (label, predicted))
        assert row != column
        assert judged.confusion[row, column] == count > 0
    perfect = replace(judged, confusion=np.diag(judged.confusion.sum(axis=1)))
    assert most_confused(perfect) == []


def test_names_and_captions_are_escaped(one_stream):
    bad = "<script>alert(1)</script>"
    strip = FrameStrip(np.zeros((8, 8, 3), np.uint8), bad)
    judged = one_stream.streams[0].evaluation
    pair = ConfusedPair(judged.classes[0], judged.classes[1], 1, [strip])
    page = render_report(replace(one_stream, dataset=bad, pairs=[pair], notes=[bad]))
    assert bad not in page
    assert page.count(html.escape(bad)) >= 4


def test_the_report_is_written_whole_or_not_at_all(tmp_path, one_stream):
    path = tmp_path / "report.html"
    write_report(path, one_stream)
    assert path.read_text(encoding="utf-8") == render_report(one_stream)
    with pytest.raises(EnvironmentFault):
        write_report(tmp_path / "missing" / "report.html", one_stream)


def contrasted(stream, classes):
    size = len(classes)
    similarity = np.random.default_rng(size).uniform(-1, 1, (2, size, size))
    taken = {"class-aware": 10 * np.ones((2, size, size), np.int64)}
    return ContrastHistory(stream, classes, [1, 2], similarity, taken)


def test_what_streams_were_contrasted_with_is_shown_for_each(five_streams):
    classes = five_streams.fused.evaluation.classes
    streams = [contrasted(name, classes) for name in ("joint", "bone")]
    streams[0].taken["class-aware"][1, 0] = 0
    page = render_report(replace(five_streams, contrasted=streams))
    reader = parsed(page)
    tags = [tag for tag, _ in reader.seen]
    assert tags.count("svg") == 3 + 2
    text = " ".join(reader.text)
    assert text.count("What each class was contrasted with") == 1
    assert text.count("The three classes each class was contrasted with most") == 2
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_without_contrast_there_is_no_such_section(five_streams, one_stream):
    for report in (five_streams, one_stream):
        assert "contrasted with" not in render_report(report)


def test_a_report_with_everything_lists_its_parts_in_their_order(full_report):
    page = render_report(full_report)
    reader = parsed(page)
    anchors = [anchor for anchor, _ in contents(full_report)]
    heads = [attributes["id"] for tag, attributes in reader.seen if tag == "h2" and attributes]
    assert [head for head in heads if head in anchors] == anchors
    text = " ".join(reader.text)
    for words in (
        "Robustness",
        "A note.",
        "On validation.",
        "CC BY",
        "All are in",
        "labels.csv",
        "joint, gradients, for",
    ):
        assert words in text
    assert page == render_report(full_report)


def test_parts_that_others_fill_may_hold_a_figure_and_text_is_escaped(one_stream):
    bad = "<script>alert(1)</script>"
    table = SectionTable([bad, bad], [[bad, bad]], bad)
    shown = Section(bad, bad, "<svg id='x'></svg>", table, [bad])
    page = render_report(replace(one_stream, sections=[shown], provenance=[shown]))
    assert bad not in page
    assert page.count("<svg id='x'></svg>") == 2
    assert page.count(html.escape(bad)) >= 12
    parsed(page)


def test_pictures_beyond_the_budget_are_left_out_and_counted(full_report):
    whole = render_report(full_report)
    strips = whole.count("<img ")
    small = render_report(replace(full_report, picture_budget=40_000))
    shown = small.count("<img ")
    assert 0 < shown < strips
    text = " ".join(parsed(small).text)
    assert f"{strips - shown} pictures are left out of this page" in text
    assert text.count("This picture is left out") == strips - shown
    assert len(small) < len(whole) - (strips - shown) * 1000


def test_a_pair_says_which_stream_has_its_clips_right(full_report):
    page = render_report(full_report)
    pair = full_report.pairs[0]
    place = page.index('<details class="pair"')
    part = page[place : page.index("</table>", place)]
    text = " ".join(" ".join(parsed(part + "</table></div></details>").text).split())
    for fix in pair.fixes:
        expected = f"{fix.stream} {fix.right} of {fix.clips} {fix.same} of {fix.clips}"
        assert expected in text


def test_a_clip_without_a_picture_is_still_told_of(full_report):
    card = replace(full_report.worst[0], strip=None)
    text = " ".join(parsed(render_report(replace(full_report, worst=[card]))).text)
    assert "No video and no joints to show." in text
    assert card.clip in text


def test_no_label_error_is_said_to_be_none(full_report):
    nothing = replace(full_report.review, cards=())
    text = " ".join(parsed(render_report(replace(full_report, review=nothing))).text)
    assert "None was found." in text
