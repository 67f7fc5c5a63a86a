import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from poselens.data.info import ProtocolInfo
from poselens.data.protocol_text import with_protocols, without_protocols

NEW = {"q": ProtocolInfo(description="new: 'quoted', with # and ü", group="subject", chance=0.5)}
SAID = {"description": "new: 'quoted', with # and ü", "group": "subject", "chance": 0.5}

BLOCK = """\
# our gestures
name: ward   # as the ward calls it
protocols:   # two of them
  # the first
  p:
    description: one   # by hand
    shares:
      source: two cameras   # really

# what follows is about classes
classes: [a, b]  # all
"""


def test_a_protocol_is_added_and_every_other_line_stays():
    text, kept = with_protocols(BLOCK, NEW)
    assert kept
    assert yaml.safe_load(text)["protocols"]["q"] == SAID
    lines = text.splitlines()
    added = [line for line in lines if line not in BLOCK.splitlines()]
    assert [line for line in lines if line not in added] == BLOCK.splitlines()
    assert lines.index("      source: two cameras   # really") + 1 == lines.index("  q:")
    assert without_protocols(text, ["q"]) == (BLOCK, True)


@pytest.mark.parametrize(
    "text",
    [
        "name: x\nclasses: [a]\n",
        "name: x\nclasses: [a]",
        "name: x\nprotocols: {}  # none yet\nclasses: [a]\n",
        "name: x\nprotocols:\nclasses: [a]\n",
        "name: x\nprotocols: {p: {description: d}}\nclasses: [a]\n",
        "name: x\nclasses: [a]\nprotocols:\n    p: {description: d}",
        "name: x\nclasses: [a]\nprotocols:\n  p:\n    description: |\n      d\n      e\n# end\n",
        "name: x\nclasses: [a]\nprotocols:\n  p:\n    description: >-\n      d\n\n\n",
        "name: x\r\nclasses: [a]\r\nprotocols:\r\n  p:\r\n    description: d\r\n",
        "--- # start\nname: x\nclasses: [a]\nprotocols:\n  p:\n    description: d\n",
    ],
)
def test_unusual_texts_are_added_to(text):
    before = yaml.safe_load(text)
    result, kept = with_protocols(text, NEW)
    assert kept
    expected = {**before, "protocols": {**(before.get("protocols") or {}), "q": SAID}}
    assert yaml.safe_load(result) == expected
    comments = [line[line.index("#") :] for line in text.splitlines() if "#" in line]
    assert all(comment in result for comment in comments)
    again, _ = without_protocols(result, ["q"])
    assert yaml.safe_load(again)["protocols"] == (before.get("protocols") or {})


@pytest.mark.parametrize(
    "text",
    [
        "{name: x, classes: [a], protocols: {p: {description: d}}}",
        "name: x\nclasses: [a]\nprotocols:\n  ? p\n  : description: d\n",
        "name: x\nclasses: [a]\nprotocols: &all\n  p: &p {description: d}\n  r: *p\n...\n",
    ],
)
def test_what_cannot_be_added_to_is_written_anew_and_that_is_said(text):
    before = yaml.safe_load(text)
    result, kept = with_protocols(text, NEW)
    assert yaml.safe_load(result)["protocols"] == {**before["protocols"], "q": SAID}
    assert yaml.safe_load(result)["name"] == "x"
    assert kept in (True, False)


def test_a_flow_mapping_at_the_top_loses_its_form():
    _, kept = with_protocols("{name: x, classes: [a]}  # note", NEW)
    assert not kept


names = st.lists(st.from_regex(r"[a-z]{1,4}", fullmatch=True), unique=True, max_size=4)
descriptions = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=30
)


@given(names, descriptions, st.booleans())
def test_adding_and_removing_say_what_they_are_to_say(found, description, flow):
    content = {
        "name": "x",
        "protocols": {name: {"description": description} for name in found},
        "licence": "mine",
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=flow)
    about = ProtocolInfo(description=description, group="id")
    result, _ = with_protocols(text, {"zzzzz": about})
    protocols = {**content["protocols"], "zzzzz": {"description": description}}
    assert yaml.safe_load(result) == {**content, "protocols": protocols}
    for name in found[:1]:
        fewer, _ = without_protocols(result, [name])
        del protocols[name]
        assert yaml.safe_load(fewer) == {**content, "protocols": protocols}
