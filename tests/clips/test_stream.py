import json

import pytest
import torch
from pydantic import ValidationError

from poselens.clips.stream import (
    RgbAugment,
    RgbInput,
    RgbNetworkSettings,
    RgbStream,
    SkeletonAugment,
    SkeletonInput,
    SkeletonNetworkSettings,
    SkeletonStream,
    build_network,
    read_stream,
)
from poselens.errors import CheckpointError, UsageError
from poselens.pose.layouts import get_layout
from poselens.rgb.network import RgbNetwork
from poselens.skeleton.network import CtrGcn

RGB = RgbStream(
    classes=("a", "b", "c"),
    input=RgbInput(segments=2, scale=36, size=32),
    network=RgbNetworkSettings(backbone="resnet18", width=0.125, dropout=0.0),
)
BONE = SkeletonStream(
    classes=("a", "b"),
    input=SkeletonInput(stream="bone", space="pixels", window=8, people=2),
    network=SkeletonNetworkSettings(width=8, blocks=(1, 1)),
    layout="coco-17",
    dimensions=2,
)


@pytest.mark.parametrize("stream", [RGB, BONE], ids=["rgb", "bone"])
def test_a_stream_survives_json(stream):
    facts = json.loads(json.dumps(stream.model_dump(mode="json")))
    assert read_stream(facts, file="run.json") == stream


def test_streams_have_names():
    assert RGB.name == "rgb"
    assert BONE.name == "bone"


def test_networks_are_built_as_described():
    network = build_network(RGB)
    assert isinstance(network, RgbNetwork)
    assert network(torch.zeros(1, 2, 3, 32, 32)).shape == (1, 3)
    network = build_network(BONE)
    assert isinstance(network, CtrGcn)
    assert network(torch.randn(1, 2, 8, 17, 2)).shape == (1, 2)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"classes": None}, "classes"),
        ({"input": {"segments": 0}}, "input.segments"),
        ({"input": {"segment": 3}}, "input.segment: Extra inputs"),
        ({"branch": "audio"}, "audio"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(change, told):
    facts = {**RGB.model_dump(mode="json"), **change}
    with pytest.raises(CheckpointError, match=f"run.json: .*not valid.*{told}.*version") as caught:
        read_stream(facts, file="run.json")
    assert caught.value.code == "CKPT-012"
    with pytest.raises(CheckpointError):
        read_stream({}, file="run.json")


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (RgbAugment, {"scales": []}),
        (RgbAugment, {"scales": [1.5]}),
        (RgbAugment, {"scales": [0.0]}),
        (RgbInput, {"margin": float("inf")}),
        (RgbInput, {"percentile": 50}),
        (SkeletonAugment, {"interval": [0.0, 1.0]}),
        (SkeletonAugment, {"rotation": [0.1, 0.1, 0.1, 0.1]}),
        (SkeletonAugment, {"rotation": [-0.1]}),
        (SkeletonAugment, {"shear": -0.1}),
        (SkeletonNetworkSettings, {"blocks": []}),
        (SkeletonNetworkSettings, {"blocks": [4, 0]}),
        (SkeletonNetworkSettings, {"width": 18}),
    ],
)
def test_values_that_would_fail_in_the_first_step_are_refused(model, values):
    with pytest.raises(ValidationError):
        model(**values)


def test_a_stream_that_the_layout_does_not_have_is_refused_beforehand():
    layout = get_layout("coco-17")
    reach = {"reach": (("left_wrist", "nose"),)}
    assert SkeletonInput(stream="bone-motion").pairs_of(layout) == {}
    own = SkeletonInput(stream="reach-motion", pairs=reach)
    assert own.pairs_of(layout) == {"reach": [(9, 0)]}
    with pytest.raises(UsageError, match="unknown stream 'raech'; did you mean 'reach'") as caught:
        own.model_copy(update={"stream": "raech"}).pairs_of(layout)
    assert caught.value.code == "CFG-021"
    with pytest.raises(
        UsageError, match="unknown joint 'left_wrist' in layout bandai-22"
    ) as caught:
        own.pairs_of(get_layout("bandai-22"))
    assert caught.value.code == "CFG-022"
