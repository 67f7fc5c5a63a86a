"""What is taken from a published checkpoint, and what is refused."""

from pathlib import Path

import pytest
import torch
from ctr_gcn_file import published_checkpoint, published_shapes

from poselens.errors import CheckpointError
from poselens.pose.layouts import get_layout
from poselens.skeleton.build import build_skeleton_network
from poselens.skeleton.published import from_published, is_published, under_published_names

SMALL = ((3, 64), (64, 128))
FILE = Path("published.pt")


def network(layout="ucla-20", people=1, classes=4, **settings):
    torch.manual_seed(0)
    return build_skeleton_network(
        layout=get_layout(layout),
        people=people,
        num_classes=classes,
        **{"blocks": (1, 1), **settings},
    )


def checkpoint(joints=20, people=1, classes=4, **settings):
    return published_checkpoint(
        joints=joints, people=people, classes=classes, **{"channels": SMALL, **settings}
    )


def norm_after(name):
    """The published normalisation that follows the convolution of a bias, or None."""
    place, _, leaf = name.rpartition(".")
    if leaf != "bias" or place.startswith("data_bn"):
        return None
    for convolution, norm in (("down.0", "down.1"), ("residual.conv", "residual.bn"),
                              ("3.conv", "3.bn")):  # fmt: skip
        if place.endswith(convolution):
            return place.removesuffix(convolution) + norm
    branch, _, number = place.rpartition(".")
    return f"{branch}.1" if ".branches." in branch and number == "0" else None


@pytest.mark.parametrize(("layout", "joints", "people"), [("ntu-25", 25, 2), ("coco-17", 17, 1)])
def test_ours_has_a_place_for_every_published_weight_and_no_other(layout, joints, people):
    ours = network(layout, people, classes=60, blocks=(4, 3, 3)).state_dict()
    views = under_published_names(ours)
    shapes = published_shapes(joints=joints, people=people, classes=60)
    # all but the biases that a running mean takes in: 4 + 2 per block, 3 + 2 where shapes change
    folded = {name for name in shapes if norm_after(name)}
    assert len(folded) == 10 * 6 + 3 + 2
    assert {name: tuple(view.shape) for name, view in views.items()} == {
        name: shape for name, shape in shapes.items() if name not in folded
    }
    # together the views are all of our numbers, each once; merged counters share a place
    for view in views.values():
        view.copy_(torch.zeros_like(view))
    assert all(bool((values == 0).all()) for values in ours.values())
    numbers = sum(view.numel() for view in views.values() if view.dim())
    assert numbers == sum(values.numel() for values in ours.values() if values.dim())


def test_what_goes_in_comes_out():
    given = checkpoint()
    state, report = from_published(given, network(), file=FILE)
    assert (report.taken, report.left_out) == (len(given), ())
    back = under_published_names(state)
    folded = {norm_after(name): name for name in given if norm_after(name)}
    assert back.keys() == given.keys() - set(folded.values())
    for name, values in back.items():
        norm, _, leaf = name.rpartition(".")
        expected = given[name]
        if leaf == "running_mean" and norm in folded:
            expected = expected - given[folded.pop(norm)]
        assert torch.equal(values, expected), name
    assert not folded


def test_the_network_is_left_alone():
    ours = network()
    before = {name: values.clone() for name, values in ours.state_dict().items()}
    from_published(checkpoint(), ours, file=FILE)
    assert all(torch.equal(values, before[name]) for name, values in ours.state_dict().items())


def test_the_prefix_of_data_parallel_makes_no_difference():
    plain = checkpoint()
    prefixed = {f"module.{name}": values for name, values in plain.items()}
    assert is_published(plain)
    assert is_published(prefixed)
    assert not is_published(network().state_dict())
    state, _ = from_published(prefixed, network(), file=FILE)
    expected, _ = from_published(plain, network(), file=FILE)
    assert all(torch.equal(state[name], values) for name, values in expected.items())


def test_a_classifier_of_other_classes_is_left_out_and_named():
    ours = network(classes=4)
    state, report = from_published(checkpoint(classes=9), ours, file=FILE)
    assert report.left_out == ("fc.weight", "fc.bias")
    assert report.taken == len(checkpoint()) - 2
    assert torch.equal(state["classify.weight"], ours.classify.weight)
    ours.load_state_dict(state)


@pytest.mark.parametrize(
    ("ours", "told"),
    [
        (
            {"layout": "ntu-25"},
            "found 20 joints, people: 1, coordinates: 3, expected 25 joints, people: 1",
        ),
        ({"people": 2}, "people: 1, coordinates: 3, expected 20 joints, people: 2"),
        ({"dimensions": 2}, "people: 1, coordinates: 3, expected .* coordinates: 2"),
    ],
)
def test_another_body_is_refused(ours, told):
    with pytest.raises(CheckpointError, match=rf"published.pt: .*{told}.*Mend: use the joint la"):
        from_published(checkpoint(), network(**ours), file=FILE)
    with pytest.raises(CheckpointError) as caught:
        from_published(checkpoint(), network(**ours), file=FILE)
    assert caught.value.code == "CKPT-016"


def missing(tensors):
    del tensors["l2.gcn1.PA"], tensors["l1.tcn1.branches.2.4.bias"]


def unknown(tensors):
    tensors["l3.gcn1.PA"] = torch.ones(3, 20, 20)


def misshapen(tensors):
    tensors["l2.tcn1.branches.0.3.conv.weight"] = torch.ones(32, 32, 9, 1)


def narrow_classifier(tensors):
    tensors["fc.weight"] = torch.ones(4, 64)


def without_a_bias(tensors):
    del tensors["l2.tcn1.branches.1.3.conv.bias"]


def misshapen_bias(tensors):
    tensors["l2.residual.conv.bias"] = torch.ones(64)


def one_key(tensors):
    tensors.clear()
    tensors["data_bn.weight"] = torch.ones(60)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (missing, r"2 missing: l1.tcn1.branches.2.4.bias, l2.gcn1.PA\)"),
        (unknown, r"1 unexpected: l3.gcn1.PA"),
        (misshapen, r"l2.tcn1.branches.0.3.conv.weight \(32, 32, 9, 1\) for \(32, 32, 5, 1\)"),
        (narrow_classifier, r"fc.weight \(4, 64\) for \(4, 128\)"),
        (without_a_bias, r"1 missing: l2.tcn1.branches.1.3.conv.bias"),
        (misshapen_bias, r"l2.residual.conv.bias \(64,\) for \(128,\)"),
        (one_key, r"missing: .*l1.gcn1"),
    ],
)
def test_names_and_shapes_of_another_network_are_refused(spoil, told):
    tensors = checkpoint()
    spoil(tensors)
    with pytest.raises(CheckpointError, match=told) as caught:
        from_published(tensors, network(), file=FILE)
    assert caught.value.code == "CKPT-004"
