"""The published network, written from its equations on its own names, against ours."""

import pytest
import torch
from ctr_gcn_file import PUBLISHED, published_checkpoint
from torch.nn import functional as F

from poselens.pose.layouts import get_layout
from poselens.skeleton.build import build_skeleton_network
from poselens.skeleton.published import from_published


def convolved(w, place, x, **how):
    return F.conv2d(x, w[f"{place}.weight"], w[f"{place}.bias"], **how)


def normalised(w, place, x):
    """(x - mean) / sqrt(var + 1e-5) * weight + bias, over channels."""
    column = (1, -1) + (1,) * (x.dim() - 2)
    mean, var, weight, bias = (
        w[f"{place}.{leaf}"].view(column)
        for leaf in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def space(w, place, x):
    """Sum over subsets of (A_k + alpha W_k tanh(theta_k - phi_k)) T_k x; x is (n, c, t, v)."""
    total = 0
    for k in range(3):
        theta = convolved(w, f"{place}.convs.{k}.conv1", x).mean(dim=2)
        phi = convolved(w, f"{place}.convs.{k}.conv2", x).mean(dim=2)
        relation = torch.tanh(theta[:, :, :, None] - phi[:, :, None, :])
        refined = (
            w[f"{place}.alpha"] * convolved(w, f"{place}.convs.{k}.conv4", relation)
            + w[f"{place}.PA"][k]
        )
        message = convolved(w, f"{place}.convs.{k}.conv3", x)
        total = total + torch.einsum("ncij,nctj->ncti", refined, message)
    short = x
    if f"{place}.down.0.weight" in w:
        short = normalised(w, f"{place}.down.1", convolved(w, f"{place}.down.0", x))
    return F.relu(normalised(w, f"{place}.bn", total) + short)


def time(w, place, x, stride):
    """Two dilated convolutions, a maximum of three, and a plain branch, side by side."""
    seen = []
    for branch, dilation in ((0, 1), (1, 2)):
        head = f"{place}.branches.{branch}"
        entered = F.relu(normalised(w, f"{head}.1", convolved(w, f"{head}.0", x)))
        looked = convolved(
            w,
            f"{head}.3.conv",
            entered,
            stride=(stride, 1),
            padding=(2 * dilation, 0),
            dilation=(dilation, 1),
        )
        seen.append(normalised(w, f"{head}.3.bn", looked))
    head = f"{place}.branches.2"
    entered = F.relu(normalised(w, f"{head}.1", convolved(w, f"{head}.0", x)))
    padded = F.pad(entered, (0, 0, 1, 1), value=-torch.inf)
    peaks = torch.stack([padded[:, :, tap : tap + x.shape[2]] for tap in range(3)]).amax(dim=0)
    seen.append(normalised(w, f"{head}.4", peaks[:, :, ::stride]))
    head = f"{place}.branches.3"
    plain = convolved(w, f"{head}.0", x, stride=(stride, 1))
    seen.append(normalised(w, f"{head}.1", plain))
    return torch.cat(seen, dim=1)


def published_logits(w, joints, channels=PUBLISHED):
    """Evaluation mode, the mean over every person's slot; joints are (n, c, t, v, m)."""
    n, c, t, v, m = joints.shape
    flat = joints.permute(0, 4, 3, 1, 2).reshape(n, m * v * c, t)
    x = normalised(w, "data_bn", flat).reshape(n, m, v, c, t)
    x = x.permute(0, 1, 3, 4, 2).reshape(n * m, c, t, v)
    for number, (inputs, outputs) in enumerate(channels, 1):
        place = f"l{number}"
        stride = 2 if number > 1 and inputs != outputs else 1
        looked = time(w, f"{place}.tcn1", space(w, f"{place}.gcn1", x), stride)
        if f"{place}.residual.conv.weight" in w:
            short = convolved(w, f"{place}.residual.conv", x, stride=(stride, 1))
            looked = looked + normalised(w, f"{place}.residual.bn", short)
        elif number > 1:
            looked = looked + x
        x = F.relu(looked)
    pooled = x.reshape(n, m, x.shape[1], -1).mean(dim=3).mean(dim=1)
    return pooled @ w["fc.weight"].T + w["fc.bias"]


def pair(tmp_path, layout, people, classes, dtype=torch.float64):
    """A published checkpoint, and our network with its weights."""
    joints = get_layout(layout)
    w = published_checkpoint(joints=len(joints), people=people, classes=classes, dtype=dtype)
    network = build_skeleton_network(layout=joints, people=people, num_classes=classes).to(dtype)
    state, _ = from_published(w, network, file=tmp_path)
    network.load_state_dict(state)
    return w, network.eval()


def clips(network_joints, people, dtype=torch.float64, frames=8):
    draw = torch.Generator().manual_seed(2)
    return torch.randn(2, 3, frames, network_joints, people, generator=draw, dtype=dtype)


@pytest.mark.parametrize(
    ("layout", "joints", "people", "classes"), [("ntu-25", 25, 2, 60), ("ucla-20", 20, 1, 10)]
)
def test_our_logits_are_the_published_networks(tmp_path, layout, joints, people, classes):
    w, network = pair(tmp_path, layout, people, classes)
    seen = clips(joints, people, frames=11 if people == 1 else 8)
    with torch.no_grad():
        expected = published_logits(w, seen)
        found = network(seen)
    assert expected.std() > 0.05
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_it_holds_in_single_precision(tmp_path):
    w, network = pair(tmp_path, "ucla-20", 1, 10, dtype=torch.float32)
    seen = clips(20, 1, dtype=torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(network(seen), published_logits(w, seen), rtol=1e-5, atol=1e-5)


def test_an_absent_person_is_averaged_in_there_and_here_only_when_called_present(tmp_path):
    w, network = pair(tmp_path, "ntu-25", 2, 5)
    seen = clips(25, 2)
    seen[..., 1] = 0.0
    with torch.no_grad():
        expected = published_logits(w, seen)
        everyone = torch.ones(2, 2, dtype=torch.bool)
        torch.testing.assert_close(network(seen, everyone), expected, rtol=1e-8, atol=1e-8)
        assert (network(seen) - expected).abs().max() > 1e-3
