import numpy as np
import pytest
import torch
from torch import nn

from poselens.errors import NumericFault, UsageError
from poselens.explain.joints import (
    METHODS,
    attribute_joints,
    baseline_inputs,
    baseline_of,
    completeness_gap,
)
from poselens.pose.layouts import get_layout
from poselens.skeleton import fused
from poselens.skeleton.build import build_skeleton_network
from poselens.skeleton.streams import STREAMS, stream

LAYOUT = get_layout("coco-17")


def lively(people=1):
    torch.manual_seed(0)
    network = build_skeleton_network(
        layout=LAYOUT, num_classes=5, people=people, width=8, blocks=(1, 1), dropout=0.5
    )
    with torch.no_grad():
        for block in network.blocks:
            block.space.strength.fill_(0.5)
            block.space.norm.weight.fill_(1.0)
    return network


def clips(people=1, n=3, frames=8):
    draw = torch.Generator().manual_seed(1)
    # a pose, and how it moves
    return torch.randn(n, 3, 1, 17, people, generator=draw) + 0.3 * torch.randn(
        n, 3, frames, 17, people, generator=draw
    )


@pytest.mark.parametrize("name", STREAMS)
def test_the_sum_is_the_change_of_the_logit(name):
    joints = stream(clips(2), name, LAYOUT)
    network = lively(2)
    found = attribute_joints(network, joints, [0, 1, 4], baseline=baseline_of(name), steps=64)
    gap = completeness_gap(network, joints, [0, 1, 4], found, baseline=baseline_of(name))
    with torch.no_grad():
        network.eval()
        change = network(joints) - network(
            baseline_inputs(joints, baseline_of(name)), torch.ones(3, 2, dtype=torch.bool)
        )
    change = change[range(3), [0, 1, 4]].numpy()
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)) - gap, change, atol=1e-5)
    assert (np.abs(gap) < 0.02 * np.abs(change) + 0.01).all()


@pytest.mark.parametrize("method", METHODS)
def test_one_class_against_another_is_the_difference_of_both(method):
    network, joints = lively(), clips()
    both = [attribute_joints(network, joints, [k] * 3, method=method) for k in (1, 3)]
    found = attribute_joints(network, joints, [1] * 3, against=[3] * 3, method=method)
    np.testing.assert_allclose(found, both[0] - both[1], atol=1e-5)
    assert np.abs(found).max() > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_missing_joints_and_absent_people_get_nothing_but_where_the_feature_lies(method):
    joints = clips(2)
    joints[0, ..., 1] = torch.nan
    joints[1, :, 2:5, 7, 0] = torch.nan
    found = attribute_joints(lively(2), joints, [0, 1, 2], method=method)
    assert found.shape == (3, 2, 8, 17)
    assert not found[0, 1].any()
    assert found[0, 0].any()
    if method != "grad-cam":
        assert not found[1, 0, 2:5, 7].any()


@pytest.mark.parametrize("method", METHODS)
def test_an_attribution_does_not_depend_on_the_clips_beside(method):
    network, joints = lively(), clips(n=5)
    together = attribute_joints(network, joints, [0, 1, 2, 3, 4], method=method)
    for clip in range(5):
        alone = attribute_joints(network, joints[clip : clip + 1], [clip], method=method)
        np.testing.assert_allclose(alone[0], together[clip], atol=1e-5)


@pytest.mark.parametrize("method", ["integrated-gradients", "gradient-input", "occlusion"])
def test_what_stands_still_explains_nothing(method):
    joints = clips()
    joints[:] = joints[:, :, :1]
    found = attribute_joints(lively(), joints, [0, 1, 2], method=method)
    np.testing.assert_allclose(found, 0, atol=1e-5)


def test_of_bones_the_centre_gets_nothing_and_of_motion_the_last_frame():
    bones = stream(clips(), "bone", LAYOUT)
    assert not attribute_joints(lively(), bones, [0] * 3)[..., LAYOUT.centre].any()
    steps = stream(clips(), "joint-motion", LAYOUT)
    found = attribute_joints(lively(), steps, [0] * 3, baseline="zeros")
    assert not found[:, :, -1].any()
    assert found[:, :, :-1].any()
    assert [baseline_of(name) for name in STREAMS] == ["still", "still", "zeros", "zeros"]


def test_a_network_is_left_as_it_was_and_its_statistics_with_it():
    network = lively().train()
    network.dropout.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        joints = clips()
        found = attribute_joints(network, joints, [0] * 3)
    assert found.any()
    assert network.training
    assert not network.dropout.training
    assert all(value.grad is None for value in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_no_clips_have_no_attribution():
    found = attribute_joints(lively(), clips()[:0], [])
    assert found.shape == (0, 1, 8, 17)


class _Broken(nn.Module):
    def forward(self, joints, present):
        return joints.flatten(1)[:, :5].sqrt()


@pytest.mark.parametrize(
    ("kind", "code", "text", "changed"),
    [
        (UsageError, "EXP-030", "unknown method 'saliency'", {"method": "saliency"}),
        (UsageError, "EXP-030", "unknown baseline 'mean'", {"baseline": "mean"}),
        (UsageError, "EXP-030", "a baseline of shape", {"baseline": clips(n=2)}),
        (UsageError, "EXP-030", "expected a CtrGcn", {"method": "grad-cam", "network": _Broken()}),
        (UsageError, "EXP-031", "found 2 classes for 3 clips", {"classes": [0, 1]}),
        (UsageError, "EXP-031", "found class 5, expected 0 to 4", {"classes": [0, 1, 5]}),
        (UsageError, "EXP-031", "found class -1", {"against": [0, -1, 2]}),
        (NumericFault, "EXP-032", "attributions that are not finite", {"network": _Broken()}),
    ],
)
def test_what_cannot_be_explained_is_refused(kind, code, text, changed):
    given = {"network": lively(), "classes": [0, 1, 2], **changed}
    with pytest.raises(kind, match=text) as caught:
        attribute_joints(given.pop("network"), clips() - 9, given.pop("classes"), **given)
    assert caught.value.code == code


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_the_kernels_of_a_gpu_give_the_same(method, monkeypatch):
    network, joints = lively(2), clips(2)
    joints[0, ..., 1] = torch.nan
    want = attribute_joints(network, joints, [0, 1, 2], method=method)
    assert fused.is_quick(torch.ones(1, device="cuda"))
    network, joints = network.cuda(), joints.cuda()
    found = attribute_joints(network, joints, [0, 1, 2], method=method)
    # the kernels multiply in TF32
    assert np.abs(found - want).max() < 0.02 * np.abs(want).max()
