import re
from html.parser import HTMLParser

import numpy as np
import pytest

from poselens.evaluation.check_page import (
    CheckPage,
    ClassTable,
    Histogram,
    Problem,
    Row,
    Tile,
    histogram_svg,
    render_check,
)

HOSTILE = '<script>alert("1")</script>'
VOID = frozenset({"meta", "img", "br", "link", "hr", "input"})


class Reader(HTMLParser):
    """Checks that every element is closed in order, and gathers tags and what is read."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.seen]


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (150, 200, 3)).astype(np.uint8)


def page(name: str = "clip", rows: int = 3, **changes) -> CheckPage:
    told = {
        "dataset": name,
        "verdict": f"3 clips: 1 fine; {name}",
        "level": "error",
        "facts": {"Clips": "3", name: name},
        "problems": [
            Problem("CHK-001", "error", name, f"mend `{name}`", 120, "clips",
                    [Row(name, name, name, "VID-003")] * rows),
            Problem("CHK-022", "warning", "shared", "split again", 1, "leak",
                    [Row("", "", name, "CHK-022")]),
        ],
        "histograms": [
            Histogram(name, name, np.linspace(0, 2, 21), np.arange(20)),
            Histogram("Rate", "fps", np.array([25.0, 25.0]), np.array([3])),
        ],
        "tables": [ClassTable(name, name, ("train", "val", "test", "in none"),
                              [(name, (1, 0, 2, 0))], 4, [name])],
        "groups": [(name, [Tile(picture(), name, name)] * 2)],
        "left_out": 2,
        "gallery": [Tile(picture(), name, name)],
        "gallery_note": name,
        "subjects": [(name, 3)],
        "footer": name,
    }  # fmt: skip
    return CheckPage(**{**told, **changes})


def test_the_page_is_one_file_that_fetches_nothing_and_runs_nothing():
    text = render_check(page())
    reader = Reader(text)
    assert not {"script", "link", "iframe", "object", "form"} & set(reader.tags)
    for tag, attributes in reader.seen:
        for name, value in attributes.items():
            assert not name.startswith("on"), tag
            if name in ("src", "href"):
                assert value is not None
                assert value.startswith(("data:image/", "#"))
    assert not re.search(r"https?://|@import|url\(", text.replace("http://www.w3.org/", ""))
    anchors = {values["href"] for tag, values in reader.seen if tag == "a"}
    assert anchors == {f"#{values['id']}" for _, values in reader.seen if "id" in values}


def test_hostile_names_are_text():
    text = render_check(page(HOSTILE))
    assert "<script" not in text.lower()
    reader = Reader(text)
    assert "script" not in reader.tags
    assert "".join(reader.text).count(HOSTILE) > 12


def test_what_is_wrong_says_how_bad_how_many_and_what_to_do():
    text = " ".join("".join(Reader(render_check(page())).text).split())
    assert (
        "ERROR clip 120 clips · CHK-001 Mend clip. The first 3 of 120; all are in bad.csv" in text
    )
    assert "WARNING shared 1 leak · CHK-022 Split again. Which" in text
    assert "VID-003" in text
    assert "Rate: 25 fps in all 3 clips." in text
    assert "2 more groups are in bad.csv" in text
    assert "1 classes, 4 more are in check.json" in text


def test_pictures_have_words_and_tables_can_be_reached_by_keyboard():
    reader = Reader(render_check(page()))
    assert all(values.get("alt") for tag, values in reader.seen if tag == "img")
    scrolls = [values for _, values in reader.seen if values.get("class") == "scroll"]
    assert scrolls
    assert all(values["tabindex"] == "0" for values in scrolls)
    assert [values["lang"] for tag, values in reader.seen if tag == "html"] == ["en"]
    assert any(values.get("name") == "viewport" for _, values in reader.seen)


def test_nothing_wrong():
    bare = page(
        level=None, problems=(), histograms=(), tables=(), groups=(), gallery=(), subjects=()
    )
    text = render_check(bare)
    Reader(text)
    assert "Nothing is wrong" in text
    assert 'class="verdict fine"' in text
    assert "href=" not in text


@pytest.mark.parametrize("counts", [[0, 0], [1, 100_000], [5, 5]])
def test_bars_are_as_high_as_their_counts_and_none_is_lost(counts):
    drawn = histogram_svg(Histogram("t", "s", np.array([0.0, 1.0, 2.0]), np.array(counts)))
    bars = [float(tall) for tall in re.findall(r'height="([\d.]+)" rx', drawn)]
    assert len(bars) == 2
    for tall, count in zip(bars, counts, strict=True):
        assert (tall == 0) == (count == 0)
    if counts[1] == 100_000:
        assert bars[0] == 2
    if counts[0] == counts[1]:
        assert bars[0] == bars[1]
