import numpy as np
import pytest
import torch

from poselens.explain.joint_cells import cascade_layers, joint_cells, keep_joints, stretches
from poselens.explain.joints import baseline_inputs
from poselens.pose.layouts import get_layout
from poselens.skeleton.build import build_skeleton_network

LAYOUT = get_layout("coco-17")


def network():
    torch.manual_seed(0)
    made = build_skeleton_network(
        layout=LAYOUT, num_classes=5, people=2, width=8, blocks=(1, 1)
    ).eval()
    with torch.no_grad():
        for block in made.blocks:
            block.space.norm.weight.fill_(1.0)
    return made


def clip():
    joints = torch.randn(3, 9, 17, 2, generator=torch.Generator().manual_seed(1))
    joints[..., 1] = torch.nan
    joints[:, 3:5, 7, 0] = torch.nan
    return joints


def test_stretches_cover_the_clip_once():
    for frames, parts in ((9, 4), (3, 8), (64, 8), (1, 1)):
        found = [frame for first, last in stretches(frames, parts) for frame in range(first, last)]
        assert found == list(range(frames))


def test_cells_are_means_over_stretches():
    attribution = np.random.default_rng(0).normal(size=(2, 9, 17))
    cells = joint_cells(attribution, 3)
    for place, (first, last) in enumerate(stretches(9, 3)):
        np.testing.assert_allclose(cells[:, place], attribution[:, first:last].mean(axis=1))


def test_everything_kept_is_the_clip_and_nothing_the_body_held_still():
    made, joints = network(), clip()
    keep = keep_joints(made, joints, 3, parts=4)
    masks = np.stack([np.ones((2, 4, 17), bool), np.zeros((2, 4, 17), bool)])
    whole, none = keep(masks)
    present = torch.tensor([[True, False]])
    with torch.no_grad():
        for found, inputs in ((whole, joints), (none, baseline_inputs(joints[None])[0])):
            want = made(inputs[None], present).softmax(dim=1)[0, 3]
            assert found == pytest.approx(float(want), abs=1e-6)
    assert whole != pytest.approx(none)


def test_one_cell_is_one_joint_for_a_stretch():
    made, joints = network(), clip()
    masks = np.ones((1, 2, 4, 17), bool)
    masks[0, 0, 1, 9] = False
    first, last = stretches(9, 4)[1]
    held = torch.nan_to_num(joints.clone())
    held[:, first:last, 9, 0] = joints[:, :, 9, 0].mean(dim=1, keepdim=True)
    with torch.no_grad():
        want = made(held[None], torch.tensor([[True, False]])).softmax(dim=1)[0, 2]
    found = keep_joints(made, joints, 2, parts=4)(masks)
    assert found[0] == pytest.approx(float(want), abs=1e-6)


def test_the_cascade_has_every_parameter_once():
    made = network()
    counted = sum(
        parameter.numel()
        for layer in cascade_layers(made)
        for parameter in made.get_submodule(layer).parameters()
    )
    assert counted == sum(parameter.numel() for parameter in made.parameters())
