import pytest
import yaml

from poselens.errors import UsageError
from poselens.recipes import names as recipe_names
from poselens.training.config import (
    Recipe,
    RgbSection,
    SkeletonSection,
    Training,
    flat,
    load_recipe,
    override,
    parse,
    to_yaml,
)


def refused(call, code, told):
    with pytest.raises(UsageError, match=told) as caught:
        call()
    assert caught.value.code == code
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"name": "x", "rbg": {}}, "unknown key 'rbg'; did you mean 'rgb'.*fusion, name, rgb, sk"),
        (
            {"name": "x", "rgb": {"training": {"epoch": 3}}},
            "unknown key 'rgb.training.epoch'; did you mean 'epochs'.*amp, batch_size",
        ),
        (
            {"name": "x", "skeleton": {"network": {"zzz": 3}}},
            "unknown key 'skeleton.network.zzz'. ",
        ),
        ({"nam": "x"}, "unknown key 'nam'; did you mean 'name'"),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_known(content, told):
    refused(lambda: parse(Recipe, content, file="r.yaml"), "CFG-001", f"r.yaml: {told}")


@pytest.mark.parametrize(
    ("training", "told"),
    [
        ({"epochs": 0}, "training.epochs: .*greater than or equal to 1, found 0"),
        ({"lr": "fast"}, "training.lr: .*valid number.*found 'fast'"),
        ({"lr": float("inf")}, "training.lr: .*finite"),
        ({"lr": float("nan")}, "training.lr: "),
        ({"schedule": "linear"}, "training.schedule: .*'step' or 'cosine', found 'linear'"),
        ({"batch_size": 2.5}, "training.batch_size"),
        ({"seed": -1}, "training.seed"),
        ({"seed": 2**63}, "training.seed"),
        ({"nesterov": True, "momentum": 0}, "training: .*nesterov needs a momentum above 0$"),
    ],
)
def test_bad_values_are_refused(training, told):
    refused(lambda: parse(RgbSection, {"training": training}, file=None), "CFG-002", told)


def test_something_that_is_no_recipe_at_all_is_refused():
    refused(
        lambda: parse(Recipe, None, file="r.yaml"), "CFG-002", "r.yaml: the whole: .*found None"
    )
    refused(lambda: parse(Recipe, {}, file="r.yaml"), "CFG-002", "name: Field required$")


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        (b"name: [", "CFG-015", "cannot read the recipe"),
        (b"name: \xff\xfe", "CFG-015", "cannot read the recipe"),
        (b"name: 2020-99-99", "CFG-015", "cannot read the recipe"),
        (b"", "CFG-002", "the whole"),
        (b"[1, 2]", "CFG-002", "the whole"),
    ],
)
def test_unreadable_recipes_are_refused(tmp_path, content, code, told):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    refused(lambda: load_recipe(path), code, f"r.yaml: {told}")


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    refused(lambda: load_recipe(tmp_path / "none.yaml"), "CFG-015", "cannot read the recipe")
    refused(lambda: load_recipe(tmp_path), "CFG-015", "cannot read the recipe")


@pytest.mark.parametrize("key", ["amp", "replay", "compile"])
def test_yamls_off_is_the_word(key):
    section = override(RgbSection(), [f"training.{key}=off"])
    assert getattr(section.training, key) == "off"
    if key == "amp":
        refused(lambda: override(RgbSection(), ["training.amp=on"]), "CFG-002", "found 'on'|amp")
    else:
        assert getattr(override(section, [f"training.{key}=on"]).training, key) == "on"


def test_settings_are_read_as_yaml():
    section = override(
        RgbSection(),
        [
            "training.epochs=7",
            "training.lr=1e-3",
            "training.milestones=[3, 5]",
            "training.clip_norm=null",
            "network.backbone=resnet18",
            "weights=a=b.pth",
        ],
    )
    assert section.training.epochs == 7
    assert section.training.lr == 1e-3
    assert section.training.milestones == (3, 5)
    assert section.training.clip_norm is None
    assert section.network.backbone == "resnet18"
    assert section.weights == "a=b.pth"
    assert override(section, []) == section


@pytest.mark.parametrize(
    ("setting", "code", "told"),
    [
        ("training.epochs", "CFG-006", "expects key=value, found 'training.epochs'"),
        ("=3", "CFG-006", "expects key=value, found '=3'"),
        ("training.epochs.x=3", "CFG-006", "training.epochs.x: 'epochs' holds a value, not keys"),
        ("training.milestones=[3,", "CFG-006", "training.milestones: '\\[3,' is not valid YAML"),
        (
            "training.epoch=3",
            "CFG-001",
            "--set: unknown key 'training.epoch'; did you mean 'epochs",
        ),
        ("trainin.epochs=3", "CFG-001", "--set: unknown key 'trainin'; did you mean 'training'"),
        ("training.epochs=many", "CFG-002", "--set: training.epochs: .*found 'many'"),
        ("training=3", "CFG-002", "--set: training: .*found 3"),
    ],
)
def test_bad_settings_are_refused(setting, code, told):
    refused(lambda: override(SkeletonSection(), [setting]), code, told)


def test_resolved_settings_read_back_the_same():
    section = SkeletonSection()
    content = yaml.safe_load(to_yaml(section.model_dump(mode="json")))
    assert parse(SkeletonSection, content, file=None) == section
    assert list(content) == ["network", "input", "augment", "training", "contrast", "weights"]


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_is_valid(name):
    from poselens.recipes import load

    assert load(name).name == name


def test_the_paper_preset_of_the_loop():
    settings = Training()
    assert (settings.epochs, settings.batch_size, settings.lr) == (60, 64, 0.01)
    assert (settings.momentum, settings.weight_decay) == (0.9, 5e-4)
    assert (settings.milestones, settings.gamma, settings.clip_norm) == ((30, 45, 55), 0.1, 20.0)
    assert settings.select == "last"
    assert settings.validation == "hold-out"


def test_settings_are_named_by_their_whole_names():
    assert flat({"a": 1, "b": {"c": [2], "d": {"e": None}}}) == {"a": 1, "b.c": [2], "b.d.e": None}
