"""The report in a real browser: offline, by keyboard, on a small screen."""

import re
import shutil
from dataclasses import dataclass, field

import pytest

from poselens.evaluation.report import write_report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(full_report, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(path, full_report)
    return path


@dataclass
class Heard:
    """What a page asked for and complained of."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
def opened(chromium, page_file):
    """Open the report; afterwards nothing was fetched and nothing complained of."""
    contexts, heard = [], Heard()

    def open_page(width=1280, **options):
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()

        def answer(route):
            url = route.request.url
            if url == page_file.as_uri():
                route.continue_()
                return
            heard.requests.append(url)
            route.abort()

        page.route("**/*", answer)
        page.on("console", lambda message: heard.complaints.append(message.text))
        page.on("pageerror", lambda error: heard.complaints.append(str(error)))
        page.goto(page_file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert heard.complaints == []
    assert [url for url in heard.requests if not url.startswith("data:")] == []


def first_pair(report):
    pair = report.pairs[-1]
    classes = list(report.opinions.classes)
    return classes.index(pair.label), classes.index(pair.predicted)


def cell_of(page, label, predicted):
    """The middle of a cell, in the page's coordinates."""
    return page.evaluate(
        """([label, predicted]) => {
          const facts = JSON.parse(document.getElementById("facts").textContent);
          const svg = document.querySelector("#matrix svg"), edge = svg.getBoundingClientRect();
          const scale = edge.width / svg.viewBox.baseVal.width, cell = Number(svg.dataset.cell);
          const at = (index) => (facts.order.indexOf(index) + 0.5) * cell;
          return [edge.left + (Number(svg.dataset.left) + at(predicted)) * scale,
                  edge.top + at(label) * scale];
        }""",
        [label, predicted],
    )


def test_a_click_on_a_cell_shows_the_clips_of_the_pair(opened, full_report):
    page = opened()
    label, predicted = first_pair(full_report)
    pair = page.locator(f"#pair-{label}-{predicted}")
    assert pair.get_attribute("open") is None
    page.locator("#matrix").scroll_into_view_if_needed()
    x, y = cell_of(page, label, predicted)
    page.mouse.move(x, y)
    told = page.locator("#cell").inner_text()
    expected = full_report.pairs[-1]
    assert told.startswith(f"{expected.label}, taken for {expected.predicted}: {expected.count} of")
    page.mouse.click(x, y)
    assert pair.get_attribute("open") is not None
    pictures = pair.locator("img")
    # two clips, the first with two attributions
    assert pictures.count() == len(expected.cards) + 2
    for number in range(pictures.count()):
        assert pictures.nth(number).is_visible()
        assert pictures.nth(number).evaluate("each => each.decode().then(() => each.naturalWidth)")
    assert page.evaluate("document.activeElement.parentElement.id") == f"pair-{label}-{predicted}"
    says = pair.locator(".beliefs").first.inner_text()
    assert all(stream in says for stream in ("rgb", "joint", "bone", "fused"))


def test_a_cell_without_pictures_shows_what_every_stream_says(opened, full_report):
    page = opened()
    found = full_report.opinions
    shown = {(pair.label, pair.predicted) for pair in full_report.pairs}
    clip = next(
        row
        for row in found.wrong.nonzero()[0].tolist()
        if (found.classes[found.labels[row]], found.classes[found.verdict[row]]) not in shown
    )
    label, predicted = int(found.labels[clip]), int(found.verdict[clip])
    assert page.locator(f"#pair-{label}-{predicted}").count() == 0
    page.locator("#matrix").scroll_into_view_if_needed()
    page.mouse.click(*cell_of(page, label, predicted))
    made = page.locator(f"#pair-{label}-{predicted}")
    assert made.get_attribute("open") is not None
    assert found.ids[clip] in made.inner_text()
    assert made.locator("thead th").all_inner_texts() == ["Clip", *found.streams]


def test_the_keyboard_alone_leads_to_the_clips_and_back(opened, full_report):
    page = opened()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "matrix":
            break
    else:
        pytest.fail("the matrix is not reached by the tab key")
    ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert ring == "solid"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    before = page.locator("#cell").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#cell").inner_text() != before
    page.keyboard.press("n")
    told = page.locator("#cell").inner_text()
    assert "taken for" in told
    page.keyboard.press("Enter")
    opened_pair = page.evaluate("document.activeElement.parentElement.innerText")
    label, predicted = re.match(r"(.+), taken for (.+): \d+ of", told).groups()
    assert re.match(rf"{re.escape(label)} taken for {re.escape(predicted)}", opened_pair)
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "matrix"
    assert page.locator("#cell").inner_text() == told


def test_everything_that_can_be_reached_shows_that_it_is(opened):
    page = opened()
    seen = []
    for _ in range(25):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                """() => {
                  const at = document.activeElement, style = getComputedStyle(at);
                  return [at.tagName, style.outlineStyle, at.getAttribute("aria-label")
                    || at.innerText || at.labels && at.labels[0].innerText];
                }"""
            )
        )
    assert seen[0][0] == "A"
    assert seen[0][2] == "Skip to the results"
    for tag, outline, name in seen:
        assert outline == "solid", (tag, name)
        assert name, tag


def test_a_class_can_be_chosen_and_all_its_pairs_come(opened, full_report):
    page = opened()
    confusion = full_report.fused.evaluation.confusion.copy()
    for place in range(len(confusion)):
        confusion[place, place] = 0
    label = int((confusion.sum(axis=0) + confusion.sum(axis=1)).argmax())
    page.locator("#of-class").select_option(str(label))
    visible = page.locator("#pairs > .pair:visible")
    expected = (confusion[label] > 0).sum() + (confusion[:, label] > 0).sum()
    assert visible.count() == expected
    page.locator("#of-class").select_option("")
    assert page.locator("#pairs > .pair:visible").count() == len(full_report.pairs)


def test_without_script_the_pairs_still_open(opened, full_report):
    page = opened(java_script_enabled=False)
    assert not page.locator("#keys").is_visible()
    assert not page.locator("#of-class").is_visible()
    label, predicted = first_pair(full_report)
    pair = page.locator(f"#pair-{label}-{predicted}")
    pair.locator("summary").first.click()
    assert pair.locator("img").first.is_visible()
    assert page.locator(f'#matrix a[href="#pair-{label}-{predicted}"]').count() == 1


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_never_scrolls_sideways(opened, width):
    page = opened(width)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # wide tables and figures scroll in boxes that the keyboard reaches
    loose = page.evaluate(
        """() => [...document.querySelectorAll("main *")].filter(each =>
          each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflowX === "auto"
          && each.tabIndex < 0).map(each => each.outerHTML.slice(0, 80))"""
    )
    assert loose == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_scheme_of_the_reader(opened, scheme):
    page = opened(color_scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}[scheme]


def test_whoever_wants_calm_gets_no_smooth_scrolling(opened):
    smooth = opened(reduced_motion="no-preference")
    assert smooth.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "smooth"
    calm = opened(reduced_motion="reduce")
    assert calm.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_the_contents_lead_to_every_part(opened, full_report):
    page = opened(390)
    links = page.locator("nav.contents a")
    anchors = [links.nth(each).get_attribute("href") for each in range(links.count())]
    assert {"#labels", "#worst", "#confidence", "#section-1", "#provenance"} <= set(anchors)
    for anchor in anchors:
        assert page.locator(anchor).count() == 1, anchor
    tops = [page.locator(anchor).bounding_box()["y"] for anchor in anchors]
    assert tops == sorted(tops)


def test_ids_are_given_once(opened):
    page = opened()
    twice = page.evaluate(
        """() => { const ids = [...document.querySelectorAll("[id]")].map(each => each.id);
          return ids.filter((id, place) => ids.indexOf(id) !== place); }"""
    )
    assert twice == []


def test_the_page_prints_with_its_pairs_open(opened):
    page = opened()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#pairs > .pair:not([open])").count() == 0
    assert not page.locator("nav.contents").is_visible()
