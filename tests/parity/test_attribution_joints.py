"""Attributions of joints: the equations as loops over steps, joints and places."""

import numpy as np
import pytest
import torch
from torch import nn

from poselens.explain.joints import attribute_joints, baseline_inputs
from poselens.pose.layouts import get_layout
from poselens.skeleton.build import build_skeleton_network

CLASSES = [2, 0]


def lively(people=2):
    """A small network in which everything has a say, in float64."""
    torch.manual_seed(0)
    network = build_skeleton_network(
        layout=get_layout("coco-17"), num_classes=3, people=people, width=8, blocks=(1, 1)
    )
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for block in network.blocks:
            block.space.strength.fill_(0.5)
            block.space.norm.weight.fill_(1.0)
        for buffer in network.buffers():
            if buffer.dtype.is_floating_point:
                buffer.add_(0.2 * torch.rand(buffer.shape, generator=draw))
    return network.double().eval()


def clips():
    joints = torch.randn(
        2, 3, 7, 17, 2, generator=torch.Generator().manual_seed(1), dtype=torch.double
    )
    joints[0, :, 2:4, 5, 0] = torch.nan
    joints[0, :, :, 9, 0] = torch.nan
    joints[1, ..., 1] = torch.nan
    return joints


def score(network, joints, clip, present):
    return network(joints[None], present[clip : clip + 1])[0, CLASSES[clip]]


def present_of(joints):
    return (~torch.isnan(joints)).flatten(1, 3).any(dim=1)


def test_the_mean_pose_held_still_is_the_mean_over_known_frames():
    joints = clips()
    start = baseline_inputs(joints, "still")
    for n, c, v, m in np.ndindex(2, 3, 17, 2):
        seen = [float(x) for x in joints[n, c, :, v, m] if not torch.isnan(x)]
        for t in range(7):
            want = 0.0 if torch.isnan(joints[n, c, t, v, m]) else sum(seen) / len(seen)
            assert start[n, c, t, v, m] == pytest.approx(want)


@pytest.mark.parametrize("baseline", ["still", "zeros"])
def test_integrated_gradients_are_the_sum_along_the_line(baseline):
    network, joints = lively(), clips()
    steps = 12
    found = attribute_joints(network, joints, CLASSES, baseline=baseline, steps=steps)
    known, start = torch.nan_to_num(joints), baseline_inputs(joints, baseline)
    points, weights = np.polynomial.legendre.leggauss(steps)
    for n in range(2):
        total = torch.zeros_like(known[n])
        for point, weight in zip((1 + points) / 2, weights / 2, strict=True):
            at = (start[n] + point * (known[n] - start[n])).requires_grad_()
            value = score(network, at, n, present_of(joints))
            total += weight * torch.autograd.grad(value, at)[0]
        for m, t, v in np.ndindex(2, 7, 17):
            want = sum(float((known - start)[n, c, t, v, m] * total[c, t, v, m]) for c in range(3))
            assert found[n, m, t, v] == pytest.approx(want, abs=1e-9)


def test_gradient_times_input_is_the_slope_by_differences():
    network, joints = lively(), clips()
    found = attribute_joints(network, joints, CLASSES, method="gradient-input")
    known, start = torch.nan_to_num(joints), baseline_inputs(joints, "still")
    present, step = present_of(joints), 1e-6
    with torch.no_grad():
        for m, t, v in [(0, 0, 0), (0, 3, 5), (0, 6, 16), (1, 2, 8)]:
            want = 0.0
            for c in range(3):
                moved = [known[0].clone() for _ in range(2)]
                moved[0][c, t, v, m] += step
                moved[1][c, t, v, m] -= step
                more, less = (float(score(network, one, 0, present)) for one in moved)
                want += (more - less) / (2 * step) * float((known - start)[0, c, t, v, m])
            assert found[0, m, t, v] == pytest.approx(want, rel=1e-5, abs=1e-8)


def test_occlusion_is_the_drop_where_one_joint_is_held():
    network, joints = lively(), clips()
    found = attribute_joints(network, joints, CLASSES, method="occlusion", parts=3)
    known, start = torch.nan_to_num(joints), baseline_inputs(joints, "still")
    present = present_of(joints)
    with torch.no_grad():
        for n, m, v in np.ndindex(2, 2, 17):
            for stretch in (range(0, 2), range(2, 5), range(5, 7)):
                held = known[n].clone()
                for t in stretch:
                    held[:, t, v, m] = start[n, :, t, v, m]
                drop = score(network, known[n], n, present) - score(network, held, n, present)
                for t in stretch:
                    assert found[n, m, t, v] == pytest.approx(float(drop) / len(stretch), abs=1e-9)


def test_grad_cam_is_the_class_activation_map_of_the_last_block():
    network, joints = lively(), clips()
    found = attribute_joints(network, joints, CLASSES, method="grad-cam")
    kept = []
    handle = network.blocks[-1].register_forward_hook(lambda *told: kept.append(told[2][0]))
    with torch.no_grad():
        logits = network(joints)
    handle.remove()
    weights, bias = (value.detach() for value in network.classify.parameters())
    present = present_of(joints)
    steps = kept[0].shape[-1]
    assert steps == 4
    of_step = {0: [0], 1: [1, 2], 2: [3, 4], 3: [5, 6]}  # step s is about frame 2s
    for n in range(2):
        places = int(present[n].sum()) * 17 * steps
        want = np.zeros((2, 7, 17))
        for m, v, s in np.ndindex(2, 17, steps):
            feature = kept[0][2 * n + m, :, v, s]
            value = float(weights[CLASSES[n]] @ feature) / places if present[n, m] else 0.0
            for t in of_step[s]:
                want[m, t, v] = value / len(of_step[s])
        np.testing.assert_allclose(found[n], want, atol=1e-9)
        assert found[n].sum() == pytest.approx(float(logits[n, CLASSES[n]] - bias[CLASSES[n]]))


class _Squares(nn.Module):
    """A score of which the integral is known: the squares of the coordinates, weighed."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, joints, present):
        first = (self.weights * joints**2).flatten(1).sum(dim=1)
        return torch.stack([first, joints.flatten(1).sum(dim=1)], dim=1)


def test_integrated_gradients_of_squares_are_the_differences_of_squares():
    weights = torch.randn(3, 7, 17, 2, generator=torch.Generator().manual_seed(2)).double()
    joints = torch.nan_to_num(clips(), nan=0.25)
    start = baseline_inputs(joints, "still")
    found = attribute_joints(_Squares(weights), joints, [0, 0], steps=2)
    want = (weights * (joints**2 - start**2)).sum(dim=1).permute(0, 3, 1, 2).numpy()
    np.testing.assert_allclose(found, want, atol=1e-10)
