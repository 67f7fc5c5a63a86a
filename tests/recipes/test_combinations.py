import pytest

from poselens.errors import UsageError
from poselens.recipes.combinations import Axis, combinations, label, parse_axes, split_values
from poselens.training.config import ContrastSettings, SkeletonSection


def names(*axes: str, section: SkeletonSection | None = None, settings: tuple[str, ...] = ()):
    made = combinations(section or SkeletonSection(), parse_axes(axes), settings)
    return [each.name for each in made]


def made(*axes: str, section: SkeletonSection | None = None, settings: tuple[str, ...] = ()):
    return combinations(section or SkeletonSection(), parse_axes(axes), settings)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("0,1,2", ["0", "1", "2"]),
        ("[hard],[random, class-aware], none", ["[hard]", "[random, class-aware]", "none"]),
        ("{samplers: [hard], cap: null},null", ["{samplers: [hard], cap: null}", "null"]),
        ("'a,b',\"c,d\"", ["'a,b'", '"c,d"']),
        ("", [""]),
    ],
)
def test_commas_inside_brackets_part_nothing(text, parts):
    assert split_values(text) == parts


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["training.seed"], "found 'training.seed'"),
        (["=1"], "found '=1'"),
        (["training.seed="], "training.seed has an empty value"),
        (["training.seed=0,,1"], "training.seed has an empty value"),
        (["a=[1,2"], "brackets or quotes that do not close"),
        (["a=1],[2"], "brackets or quotes that do not close"),
        (["a='1"], "brackets or quotes that do not close"),
        (["a={b: c: d}"], "is not valid YAML"),
        (["training.seed=0", "training.seed=1"], "training.seed is there twice"),
    ],
)
def test_axes_that_cannot_be_read(texts, message):
    with pytest.raises(UsageError, match=message) as caught:
        parse_axes(texts)
    assert caught.value.code == "SWP-001"


def test_axes():
    assert parse_axes([" training.seed = 0, 1"]) == [Axis("training.seed", ("0", "1"))]


def test_every_combination_with_a_readable_name():
    found = made("input.stream=joint,bone", "training.seed=0,1", settings=("training.epochs=3",))
    assert [each.name for each in found] == [
        "stream=joint_seed=0", "stream=joint_seed=1", "stream=bone_seed=0", "stream=bone_seed=1",
    ]  # fmt: skip
    assert found[2].values == {"input.stream": "bone", "training.seed": 0}
    assert (found[2].section.input.stream, found[2].section.training.epochs) == ("bone", 3)


def test_none_switches_a_section_off():
    found = made("contrast.samplers=[hard],[random, class-aware],none", "training.seed=0")
    assert [each.name for each in found] == [
        "samplers=hard_seed=0", "samplers=random+class-aware_seed=0", "samplers=none_seed=0",
    ]  # fmt: skip
    contrasts = [each.section.contrast for each in found]
    assert contrasts[0] == ContrastSettings(samplers=("hard",))
    assert contrasts[2] is None
    assert found[2].values == {"contrast.samplers": None, "training.seed": 0}
    # a recipe that has the section has it switched off alike
    with_contrast = SkeletonSection(contrast=ContrastSettings(weight=0.5))
    found = made("contrast.samplers=[hard],null", section=with_contrast)
    assert found[0].section.contrast == ContrastSettings(samplers=("hard",), weight=0.5)
    assert found[1].section.contrast is None


def test_a_whole_section_is_a_value_too():
    found = made("contrast=none,{samplers: [hard], weight: 0.1}")
    assert [each.section.contrast for each in found] == [
        None, ContrastSettings(samplers=("hard",), weight=0.1),
    ]  # fmt: skip
    assert [each.name for each in found] == ["contrast=none", "contrast=samplers-hard+weight-0.1"]


def test_none_is_null_where_the_setting_takes_it_and_text_where_that_is_a_value():
    assert [each.section.training.clip_norm for each in made("training.clip_norm=none,5")] == [
        None, 5.0,
    ]  # fmt: skip
    (held, none) = made("training.validation=hold-out,none")
    assert none.section.training.validation == "none"
    assert none.values == {"training.validation": "none"}
    assert held.name == "validation=hold-out"
    (capped, free) = made("contrast.cap=8,null")
    assert (capped.section.contrast.cap, free.section.contrast.cap) == (8, None)
    with pytest.raises(UsageError, match=r"training.lr: .*found 'none'") as caught:
        made("training.lr=none")
    assert (caught.value.code, caught.value.where) == ("CFG-002", "training.lr=none")


def test_two_keys_of_an_absent_section():
    found = made("contrast.samplers=[hard],[random]", "contrast.weight=0.1,1")
    assert [each.section.contrast.weight for each in found] == [0.1, 1.0, 0.1, 1.0]
    assert found[2].section.contrast.samplers == ("random",)
    (one,) = made("training.seed=3", settings=("contrast.weight=0.1", "contrast.cap=4"))
    assert one.section.contrast == ContrastSettings(weight=0.1, cap=4)


@pytest.mark.parametrize(
    "axes",
    [
        ("training.seed=0,0",),
        ("training.lr=0.1,1e-1",),
        ("contrast.samplers=[hard],none", "contrast.weight=0.1,1"),
    ],
)
def test_the_same_settings_twice(axes):
    with pytest.raises(UsageError, match="two combinations are the same settings") as caught:
        made(*axes)
    assert caught.value.code == "SWP-002"


@pytest.mark.parametrize(
    ("axes", "settings", "code", "message"),
    [
        (("training.sed=0,1",), (), "CFG-001", "did you mean 'seed'"),
        (("training.seed=0,-1",), (), "CFG-002", "--sweep:training.seed=-1: training.seed"),
        (("contrst.cap=1",), (), "CFG-001", "did you mean 'contrast'"),
        (("training.momentum=0,0.9",), ("training.nesterov=true",), "CFG-002", "above 0"),
        (("training.seed=0",), ("training.epochs",), "CFG-006", "expects key=value"),
    ],
)
def test_wrong_settings_are_refused_before_any_training(axes, settings, code, message):
    with pytest.raises(UsageError, match=message) as caught:
        made(*axes, settings=settings)
    assert caught.value.code == code


def test_names_are_safe_short_and_never_shared():
    section = SkeletonSection()
    assert names("input.stream=joint", "training.seed=0") == ["stream=joint_seed=0"]
    assert names("weights=../../a b.pt,/c:d") == ["weights=..-..-ab.pt", "weights=-c-d"]
    alike = names("weights=a:b,a;b")
    assert len(set(alike)) == 2
    assert all(name.startswith("weights=a-b~") for name in alike)
    (long,) = names(f"weights={'x' * 300}", section=section)
    assert len(long) < 180
    both = names("training.lr=0.1", "training.momentum=0.9")
    assert both == ["lr=0.1_momentum=0.9"]
    assert names("network.dropout=0.1", "training.seed=1") == ["dropout=0.1_seed=1"]


def test_labels():
    assert [label(value) for value in (None, 0.1, True, "joint", ["a", "b"], {"cap": None})] == [
        "none", "0.1", "true", "joint", "[a, b]", "cap=none",
    ]  # fmt: skip
