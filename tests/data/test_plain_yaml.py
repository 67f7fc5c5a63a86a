import pytest
import yaml

from poselens.data.info import read_info
from poselens.data.plain_yaml import DEPTH_LIMIT, VALUE_LIMIT, plain_yaml, read_plain_yaml
from poselens.errors import AnnotationError


@pytest.mark.parametrize(
    "text",
    ["", "a: 1", "[1, 2.5, null, true, 2026-11-26]", "a: {b: [c, d]}\ne: |\n  two\n  lines\n",
     "x: &kept [1]\n"],
)  # fmt: skip
def test_plain_files_read_as_ever(text):
    assert read_plain_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("a: &a [x]\nb: *a\n", r"an alias \(\*name\), which is not read", 1),
        ("a: &a {x: 1}\nb:\n  <<: *a\n", "an alias", 2),
        ("[" * (DEPTH_LIMIT + 1) + "]" * (DEPTH_LIMIT + 1), "more than 20 lists", 0),
        ("- 1\n" * (VALUE_LIMIT + 1), "more than 100,000 keys and values", VALUE_LIMIT),
    ],
)
def test_what_could_grow_is_refused_with_its_line(text, words, line):
    with pytest.raises(yaml.MarkedYAMLError, match=words) as caught:
        read_plain_yaml(text)
    assert caught.value.problem_mark.line == line


def test_as_deep_and_as_many_as_allowed():
    assert read_plain_yaml("[" * DEPTH_LIMIT + "]" * DEPTH_LIMIT)
    assert len(read_plain_yaml("- 1\n" * VALUE_LIMIT)) == VALUE_LIMIT


def test_a_data_set_names_the_line(tmp_path):
    (tmp_path / "dataset.yaml").write_text("name: a\nclasses: &x [b]\nmirror: *x\n")
    with pytest.raises(AnnotationError, match=r"line 3: not valid YAML: found an alias") as caught:
        read_info(tmp_path)
    assert caught.value.code == "DATA-003"


def test_what_is_written_is_read_again_also_where_a_value_is_there_twice():
    shared = {"subject": "everybody acts before every camera"}
    content = {"protocols": {"a": {"shares": shared}, "b": {"shares": shared}}, "classes": ["ä"]}
    assert "*" in yaml.safe_dump(content)
    for flow in (False, True):
        assert read_plain_yaml(plain_yaml(content, flow=flow)) == content
    assert list(read_plain_yaml(plain_yaml({"z": 1, "a": 2}))) == ["z", "a"]
