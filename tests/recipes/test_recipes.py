import pytest
import torch

from poselens.clips.stream import RgbStream, SkeletonStream, build_network
from poselens.errors import UsageError
from poselens.recipes import FOLDER, load, names
from poselens.rgb.motion_attention import MotionAttention
from poselens.rgb.temporal_aggregation import TemporalAggregation
from poselens.rgb.temporal_shift import TemporalShift

CLAIM = ("Data", "Claim", "Cost", "Command")


def test_the_recipes_that_are_promised():
    assert {"paper", "tiny", "nw-ucla", "utd-mhad"} <= set(names())


@pytest.mark.parametrize("name", names())
def test_a_recipe_says_first_what_it_claims(name):
    comment = [
        line for line in (FOLDER / f"{name}.yaml").read_text().splitlines() if line.startswith("# ")
    ]
    said = [line[2:].split(":")[0] for line in comment if not line.startswith("#  ")]
    assert tuple(said) == CLAIM


@pytest.mark.parametrize("name", names())
def test_a_recipe_builds_its_networks(name):
    recipe = load(name)
    assert recipe.name == name
    classes = tuple("abcde")
    rgb = RgbStream(classes=classes, input=recipe.rgb.input, network=recipe.rgb.network)
    size = rgb.input.size
    clip = torch.zeros(2, rgb.input.segments, 3, size, size, device="meta")
    assert build_network(rgb).eval().to("meta")(clip).shape == (2, 5)
    skeleton = SkeletonStream(
        classes=classes,
        input=recipe.skeleton.input,
        network=recipe.skeleton.network,
        layout="ntu-25",
        dimensions=3,
    )
    people, window = skeleton.input.people, skeleton.input.window
    joints = torch.zeros(2, 3, window, 25, people, device="meta")
    assert build_network(skeleton).eval().to("meta")(joints).shape == (2, 5)


def test_the_literal_recipe_is_the_papers():
    paper = load("paper")
    rgb, skeleton = paper.rgb.training, paper.skeleton.training
    assert (paper.rgb.network.backbone, paper.rgb.network.dropout) == ("resnet50", 0.5)
    assert (paper.rgb.input.segments, paper.rgb.input.snippet_length) == (8, 6)
    assert (paper.rgb.input.margin, paper.rgb.input.scale, paper.rgb.input.size) == (0.3, 256, 224)
    assert (rgb.lr, rgb.momentum, rgb.weight_decay) == (0.01, 0.9, 5e-4)
    assert (rgb.epochs, rgb.milestones, rgb.batch_size) == (60, (30, 45, 55), 64)
    assert (rgb.clip_norm, rgb.amp) == (20.0, "auto")
    assert (skeleton.lr, skeleton.weight_decay, skeleton.nesterov) == (0.1, 4e-4, True)
    assert (skeleton.epochs, skeleton.milestones, skeleton.warmup_epochs) == (65, (35, 55), 5)
    assert paper.fusion.weights == "paper"


NO_MA = {"rgb.network.attend": False}
NO_TA = {"rgb.network.aggregate": False}
TABLE_4 = {
    "table4-tsm": {"rgb.input.crop": False} | NO_MA | NO_TA,
    "table4-crop": NO_MA | NO_TA,
    "table4-ma": NO_TA,
    "table4-staa": {},
    "table4-fused": {},
}
"""What makes each row, where the rest is the recipe ``paper``."""


def flat(settings, prefix=""):
    found = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


@pytest.mark.parametrize("name", TABLE_4)
def test_a_row_of_table_4_is_paper_but_for_what_makes_the_row(name):
    paper, row = flat(load("paper").model_dump()), flat(load(name).model_dump())
    assert row.keys() == paper.keys()
    changed = {key: value for key, value in row.items() if value != paper[key]}
    assert changed == {"name": name} | TABLE_4[name]


@pytest.mark.parametrize("name", TABLE_4)
def test_a_row_of_table_4_builds_the_parts_it_names(name):
    recipe = load(name)
    with torch.device("meta"):
        stream = RgbStream(classes=("a", "b"), input=recipe.rgb.input, network=recipe.rgb.network)
        kinds = [type(part) for part in build_network(stream).modules()]
    assert kinds.count(MotionAttention) == (0 if NO_MA.items() <= TABLE_4[name].items() else 1)
    assert kinds.count(TemporalAggregation) == (0 if NO_TA.items() <= TABLE_4[name].items() else 1)
    assert kinds.count(TemporalShift) == 16


def test_the_rows_of_table_4_are_all_there():
    assert {name for name in names() if name.startswith("table4")} == set(TABLE_4)


def test_an_unknown_recipe_has_a_neighbour():
    with pytest.raises(UsageError, match="unknown recipe 'tinny'; did you mean 'tiny'") as caught:
        load("tinny")
    assert caught.value.code == "CFG-008"
    assert "paper" in caught.value.mend


def test_a_recipe_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nrgb: {training: {epochs: 3}}\n")
    assert load(str(file)).rgb.training.epochs == 3
    file.write_text("name: mine\nrgb: {training: {epoch: 3}}\n")
    with pytest.raises(UsageError, match=r"unknown key 'rgb.training.epoch'; did you mean") as f:
        load(str(file))
    assert (f.value.code, f.value.file) == ("CFG-001", str(file))
    file.write_text("name: [")
    with pytest.raises(UsageError, match="cannot read the recipe"):
        load(str(file))
    with pytest.raises(UsageError, match="cannot read the recipe") as caught:
        load(str(tmp_path / "nowhere.yml"))
    assert caught.value.code == "CFG-015"
