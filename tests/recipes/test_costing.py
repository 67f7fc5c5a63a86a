import pytest
import torch
import yaml

from poselens.clips.stream import build_network
from poselens.errors import UsageError
from poselens.evaluation.cost import count_cost, count_macs
from poselens.recipes import load, names
from poselens.recipes.costing import (
    COUNTS,
    FEWEST_CALLS,
    MOST_CALLS,
    _clip_shape,
    _timed,
    measured_cost,
    recipe_cost,
    stream_cost,
)
from poselens.recognition.streams import load_run
from poselens.skeleton.projection import GraphProjection
from poselens.training.config import load_recipe

NTU60 = {"layout": "ntu-25", "classes": 60}
FINEGYM = {"layout": "coco-17", "classes": 99}
TINY = {"layout": "coco-17", "classes": 2}


@pytest.mark.parametrize(
    ("dataset", "settings"),
    [
        (NTU60, ["skeleton.input.people=2"]),
        (FINEGYM, ["skeleton.input.people=1"]),
        (FINEGYM, ["skeleton.input.people=1", "skeleton.input.space=pixels"]),
    ],
)
def test_the_literal_recipe_costs_no_more_than_published(dataset, settings):
    cost = recipe_cost(load("paper"), settings, **dataset)
    assert cost["gmacs"] <= 35.1
    assert cost["gmacs"] == pytest.approx(cost["rgb"]["gmacs"] + cost["skeleton"]["gmacs"])
    # TSM-ResNet50 alone, eight frames: 32.7
    assert cost["rgb"]["gmacs"] > 32.7
    assert cost["params"] == cost["rgb"]["params"] + cost["skeleton"]["params"]


@pytest.mark.parametrize("name", ["tiny", "utd-mhad"])
def test_parts_add_up_to_their_branch(name):
    cost = recipe_cost(load(name), **TINY)
    assert set(COUNTS) == {"gmacs", "params", "kept_mb", "peak_mb"}
    for branch in (cost["rgb"], cost["skeleton"]):
        parts = branch["parts"]
        assert branch["gmacs"] == pytest.approx(sum(part["gmacs"] for part in parts))
        assert branch["params"] == sum(part["params"] for part in parts)
        for precision in ("fp32", "bf16"):
            kept = [part["kept_mb"][precision] for part in parts]
            peak = [part["peak_mb"][precision] for part in parts]
            assert branch["kept_mb"][precision] == pytest.approx(sum(kept))
            assert branch["peak_mb"][precision] == max(peak)
        assert 0.5 * branch["kept_mb"]["fp32"] <= branch["kept_mb"]["bf16"]
        assert branch["kept_mb"]["bf16"] < 0.6 * branch["kept_mb"]["fp32"]


def test_parts_are_named_as_the_networks_are_described():
    def listed(name, *settings):
        cost = recipe_cost(load(name), settings, **TINY)
        return [[part["part"] for part in cost[branch]["parts"]] for branch in ("rgb", "skeleton")]

    stages = ["input", "stage 1", "stage 2", "stage 3", "classifier"]
    assert listed("tiny") == [
        ["stem", "layer1", "layer2", "layer3", "layer3: STAA", "layer4", "classifier"],
        stages,
    ]
    mobile, skeleton = listed("utd-mhad", "skeleton.network.blocks=[1,2]")
    assert mobile == [
        "stem",
        *(f"stage {stage}" for stage in range(1, 7)),
        "stage 6: STAA",
        "stage 7",
        "last",
        "classifier",
    ]
    assert skeleton == [part for part in stages if part != "stage 3"]


def test_stages_hold_the_blocks_they_should():
    one, two = (
        {
            part["part"]: part
            for part in recipe_cost(
                load("tiny"), [f"skeleton.network.blocks={blocks}"], branches=["skeleton"], **TINY
            )["skeleton"]["parts"]
        }
        for blocks in ("[2, 1, 2]", "[2, 3, 2]")
    )
    assert one["stage 1"] == two["stage 1"]
    assert one["stage 3"]["params"] == two["stage 3"]["params"]
    assert one["stage 2"]["params"] < two["stage 2"]["params"]


def test_what_is_counted_follows_the_question():
    few = recipe_cost(load("tiny"), **TINY)
    other = recipe_cost(load("tiny"), layout="ntu-25", classes=50)
    assert other["skeleton"]["gmacs"] > few["skeleton"]["gmacs"]
    assert other["params"] > few["params"]
    assert (few["layout"], few["classes"], few["recipe"]) == ("coco-17", 2, "tiny")
    flat = recipe_cost(load("tiny"), ["skeleton.input.space=pixels"], **TINY)
    assert flat["skeleton"]["params"] < few["skeleton"]["params"]


def test_settings_change_what_is_counted():
    plain, dense = (
        recipe_cost(load("tiny"), [f"rgb.network.staa_blocks={blocks}"], **TINY)
        for blocks in ("once", "all")
    )
    assert dense["rgb"]["gmacs"] > plain["rgb"]["gmacs"]
    assert dense["settings"] == ["rgb.network.staa_blocks=all"]
    assert sum("STAA" in part["part"] for part in dense["rgb"]["parts"]) == 4
    with pytest.raises(UsageError, match="unknown key 'network'"):
        recipe_cost(load("tiny"), ["network.width=0.5"], **TINY)


def test_a_branch_that_the_recipe_does_not_name_is_left_out(tmp_path):
    alone = recipe_cost(load("nw-ucla"), **TINY)
    assert alone["rgb"] is None
    assert alone["gmacs"] == alone["skeleton"]["gmacs"]
    assert recipe_cost(load("nw-ucla"), ["skeleton.network.width=16"], **TINY)["rgb"] is None
    named = recipe_cost(
        load("nw-ucla"), ["rgb.network.backbone=resnet18", "rgb.input.size=64"], **TINY
    )
    assert named["rgb"] is not None
    asked = recipe_cost(load("tiny"), branches=["rgb"], **TINY)
    assert asked["skeleton"] is None
    assert asked["params"] == asked["rgb"]["params"]
    file = tmp_path / "bare.yaml"
    file.write_text(yaml.safe_dump({"name": "bare"}))
    bare = recipe_cost(load_recipe(file), ["name=other"], **TINY)
    assert None not in (bare["rgb"], bare["skeleton"])


def test_views_multiply_the_arithmetic_of_rgb_alone():
    one, three = (recipe_cost(load("tiny"), views=views, **TINY) for views in (1, 3))
    assert three["rgb"]["gmacs"] == pytest.approx(3 * one["rgb"]["gmacs"])
    assert three["skeleton"] == one["skeleton"]
    assert three["gmacs"] == pytest.approx(one["gmacs"] + 2 * one["rgb"]["gmacs"])
    for entry, other in zip(one["rgb"]["parts"], three["rgb"]["parts"], strict=True):
        assert other["gmacs"] == pytest.approx(3 * entry["gmacs"])
        assert (other["params"], other["peak_mb"]) == (entry["params"], entry["peak_mb"])


def test_a_stem_for_differences_reads_every_frame_of_a_snippet():
    settings = ["rgb.input.snippet=difference-stem", "rgb.input.segments=2"]
    assert recipe_cost(load("tiny"), settings, **TINY)["rgb"]["frames"] == 2 * 6
    assert recipe_cost(load("tiny"), settings[1:], **TINY)["rgb"]["frames"] == 2


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_head_of_the_contrast_is_told_apart(kind):
    import torch

    settings = [f"skeleton.contrast={{projection: {kind}, dimensions: 32}}"]
    with_head = recipe_cost(load("tiny"), settings, **TINY)
    head = GraphProjection(joints=17, dimensions=32, kind=kind)
    cost = count_macs(head.enter, torch.zeros(1, 3 * 17 * 17))
    expected = cost.macs + (32 * 32 if kind == "mlp" else 0)
    assert with_head["skeleton"]["projection"]["params"] == expected
    assert with_head["skeleton"]["projection"]["gmacs"] == pytest.approx(expected / 1e9)
    assert with_head["params"] == recipe_cost(load("tiny"), **TINY)["params"]


def test_every_recipe_can_be_counted():
    assert {"paper", "tiny"} <= set(names())
    for name in names():
        assert recipe_cost(load(name), **TINY)["gmacs"] > 0


def test_an_unknown_layout():
    with pytest.raises(UsageError, match="did you mean 'ntu-25'"):
        recipe_cost(load("tiny"), layout="ntu25", classes=3)


# --- measured -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rgb", "joint"])
def test_a_trained_stream_is_counted_and_measured(drawn, name):
    trained = load_run(getattr(drawn, name), device=torch.device("cpu"))
    cost = measured_cost(trained)
    assert cost.stream == trained.stream.name
    assert (cost.gmacs, cost.params) == (
        pytest.approx(stream_cost(trained.stream).macs / 1e9),
        sum(parameter.numel() for parameter in build_network(trained.stream).parameters()),
    )
    assert FEWEST_CALLS <= cost.calls <= MOST_CALLS
    low, high = cost.quartiles
    assert 0 < low <= cost.milliseconds <= high
    held = [*trained.network.parameters(), *trained.network.buffers()]
    assert cost.weight_bytes == sum(tensor.nbytes for tensor in held)
    with torch.device("meta"):
        network = build_network(trained.stream)
    memory = count_cost(network, torch.empty(_clip_shape(trained.stream), device="meta"))[1]
    assert cost.activation_bytes == memory.peak.fp32
    assert (cost.memory_by, cost.precision) == ("counted by operation, float32", "float32")
    assert cost.hardware.endswith("CPU, 1 threads")
    assert cost.as_dict()["quartiles"] == [low, high]


def test_slow_calls_are_few_and_time_is_bounded(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("poselens.recipes.costing.time.perf_counter", lambda: now[0])

    def call(seconds):
        def taken():
            now[0] += seconds
            calls.append(seconds)

        return taken

    for seconds, warm, timed in ((10.0, 1, FEWEST_CALLS), (0.125, 3, 10), (0.001, 3, MOST_CALLS)):
        calls = []
        times = _timed(call(seconds), torch.device("cpu"))
        assert (len(calls), len(times)) == (warm + timed, timed)
        assert times == pytest.approx([1e3 * seconds] * timed)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_memory_of_a_gpu_is_that_of_its_allocator(drawn):
    trained = load_run(drawn.joint, device=torch.device("cuda"))
    cost = measured_cost(trained)
    assert cost.memory_by == "torch.cuda.max_memory_allocated"
    clip = 4
    for size in _clip_shape(trained.stream):
        clip *= size
    assert cost.activation_bytes > clip
    assert cost.hardware == torch.cuda.get_device_name()
