import copy
import json

import pytest
from disturbed_scores import drawn_card
from hypothesis import given
from hypothesis import strategies as st

from poselens.checkpoint import write_json
from poselens.errors import InputError
from poselens.evaluation.robustness_figure import robustness_section
from poselens.evaluation.robustness_file import CARD_LIMIT, read_card

FACTS = json.loads(json.dumps(drawn_card().as_dict()))


def test_a_card_comes_back_as_it_was(tmp_path):
    write_json(tmp_path / "card.json", FACTS)
    found = read_card(tmp_path / "card.json")
    assert found.as_dict() == FACTS
    assert robustness_section(found) == robustness_section(drawn_card())


def places(value, path=()):
    """Every place of a JSON value."""
    yield path
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(below, (*path, key))


PLACES = list(places(FACTS))


def spoiled(place, value):
    facts = copy.deepcopy(FACTS)
    if not place:
        return value
    at = facts
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return facts


@given(
    place=st.sampled_from(PLACES),
    value=st.sampled_from([None, "x", -1, [], {}, [1], 1e400, True, {"a": 1}]),
)
def test_whatever_is_in_the_file_it_is_a_card_or_refused(tmp_path_factory, place, value):
    file = tmp_path_factory.getbasetemp() / "spoiled.json"
    file.write_text(json.dumps(spoiled(place, value)))
    try:
        found = read_card(file)
    except InputError:
        return
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "not a card"),
        (b"[]", "not a card"),
        (b"{}", "dataset is missing"),
        (b"\xff\xfe", "not a card"),
        (b"[" * 100_000, "not a card"),
        (json.dumps({**FACTS, "chance": float("nan")}).encode(), "NaN is no number"),
        (json.dumps(FACTS).replace("0.1,", "1e999,", 1).encode(), "1e999 is no number"),
        (json.dumps({**FACTS, "clips": "many"}).encode(), "clips: Input should be a valid integer"),
        (json.dumps(spoiled(("kinds", "occlusion", "streams", "rgb", "points"), [])).encode(),
         "occlusion has a stream that does not begin undisturbed"),
    ],
)  # fmt: skip
def test_what_is_no_card_is_refused(tmp_path, content, text):
    file = tmp_path / "card.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=text) as caught:
        read_card(file)
    assert caught.value.code == "EVAL-065"


def test_missing_and_too_large_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_card(tmp_path / "none.json")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(CARD_LIMIT + 1)
    with pytest.raises(InputError, match="larger than"):
        read_card(tmp_path / "large.json")
