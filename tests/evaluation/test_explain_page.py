import re
import xml.etree.ElementTree as ElementTree

from poselens.evaluation.explain_page import (
    ExplainedClip,
    ExplainPage,
    ShownCheck,
    check_figure,
    write_explain_page,
)

CHECK = ShownCheck(
    "rgb",
    ["random weights: passes", "deletion: fails", "insertion: undecided"],
    [True, False, None],
    ["fc", "backbone.layer4", "backbone.conv1"],
    [0.9, None, 0.1],
    [0.8, 0.3, 0.1],
    [("deletion", [0, 0.5, 1], [0.9, 0.2, 0.1], [0.9, 0.6, 0.1]),
     ("insertion", [0, 0.5, 1], [0.1, 0.8, 0.9], [0.1, 0.4, 0.9])],
)  # fmt: skip


def page(**more):
    clips = [
        ExplainedClip("<a & b>", "taken for <i>", True, "clips/001.png", "clips/001.mp4"),
        ExplainedClip("c", "d", False, "clips/002.png"),
        ExplainedClip("e", "f", None, "clips/003.png"),
    ]
    return ExplainPage("set", {"Method": "gradcam"}, clips, **more)


def test_names_are_escaped_and_pictures_have_words(tmp_path):
    path = tmp_path / "index.html"
    write_explain_page(path, page(checks=[CHECK], skipped=["x: VID-001"], commands=["poselens a"]))
    text = path.read_text()
    assert "&lt;a &amp; b&gt;" in text
    assert "<a & b>" not in text
    assert len(re.findall(r'<img [^>]*alt="[^"]+', text)) == 3
    assert text.count("<video") == 1
    tones = re.findall(r"--tone: var\(--(\w+)\)", text)
    assert tones == ["good", "wrong", "muted"]
    assert "VID-001" in text
    assert "poselens a" in text
    # nothing is fetched from elsewhere
    assert set(re.findall(r'(?:src|href)="([^"#]+)"', text)) == {
        "clips/001.png", "clips/001.mp4", "clips/002.png", "clips/003.png",
    }  # fmt: skip


def test_without_checks_the_page_says_so(tmp_path):
    write_explain_page(tmp_path / "index.html", page())
    assert "They were not tested" in (tmp_path / "index.html").read_text()


def test_the_figure_of_the_checks_names_the_layers():
    svg = check_figure(CHECK)
    texts = {"".join(e.itertext()) for e in ElementTree.fromstring(svg).iter() if "text" in e.tag}
    assert {"fc", "layer4", "conv1", "Deletion: probability of the class"} <= texts
    assert svg == check_figure(CHECK)
    assert "#0102" not in svg
