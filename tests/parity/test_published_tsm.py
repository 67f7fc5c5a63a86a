"""Published networks with a shift, by their equations on their own names, against ours."""

import pytest
import torch
from rgb_files import DEPTHS, INVERTED, mmaction_tensors, tsm_tensors
from torch.nn import functional as F

from poselens.rgb.build import build_rgb_network
from poselens.rgb.published import load_published


def normalised(w, place, x):
    leaves = ("running_mean", "running_var", "weight", "bias")
    mean, var, weight, bias = (w[f"{place}.{leaf}"] for leaf in leaves)
    return F.batch_norm(x, mean, var, weight, bias, training=False, eps=1e-5)


def mixed(x, n):
    """An eighth of the channels from the next frame, an eighth from the last; zero outside."""
    clips = x.unflatten(0, (n, -1))
    moved = clips.clone()
    fold = x.shape[1] // 8
    for t in range(clips.shape[1]):
        ahead, behind = t + 1 < clips.shape[1], t > 0
        moved[:, t, :fold] = clips[:, t + 1, :fold] if ahead else 0.0
        moved[:, t, fold : 2 * fold] = clips[:, t - 1, fold : 2 * fold] if behind else 0.0
    return moved.flatten(0, 1)


def resnet_logits(w, clip, backbone, names):
    """Evaluation mode; (n, t, 3, h, w) frame by frame, then the mean of the logits."""
    prefix, convolution, norm, down, last = names
    n = clip.shape[0]

    def conv(place, number, x, **how):
        place = f"{prefix}{place}{convolution.format(number)}"
        name = f"{place}.net.weight" if f"{place}.net.weight" in w else f"{place}.weight"
        x = mixed(x, n) if ".net." in name else x
        return F.conv2d(x, w[name], **how)

    def bn(place, number, x):
        return normalised(w, f"{prefix}{place}{norm.format(number)}", x)

    x = F.relu(bn("", 1, conv("", 1, clip.flatten(0, 1), stride=2, padding=3)))
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for stage, depth in enumerate(DEPTHS[backbone], 1):
        for block in range(depth):
            place = f"layer{stage}.{block}."
            stride = 2 if stage > 1 and block == 0 else 1
            if backbone == "resnet50":
                y = F.relu(bn(place, 1, conv(place, 1, x)))
                y = F.relu(bn(place, 2, conv(place, 2, y, stride=stride, padding=1)))
                y = bn(place, 3, conv(place, 3, y))
            else:
                y = F.relu(bn(place, 1, conv(place, 1, x, stride=stride, padding=1)))
                y = bn(place, 2, conv(place, 2, y, padding=1))
            if f"{prefix}{place}{down[0]}.weight" in w:
                x = F.conv2d(x, w[f"{prefix}{place}{down[0]}.weight"], stride=stride)
                x = normalised(w, f"{prefix}{place}{down[1]}", x)
            x = F.relu(x + y)
    logits = x.mean(dim=(2, 3)) @ w[f"{last}.weight"].T + w[f"{last}.bias"]
    return logits.unflatten(0, (n, -1)).mean(dim=1)


TSM = ("module.base_model.", "conv{}", "bn{}", ("downsample.0", "downsample.1"), "module.new_fc")
MMACTION = ("backbone.", "conv{}.conv", "conv{}.bn", ("downsample.conv", "downsample.bn"),
            "cls_head.fc_cls")  # fmt: skip


def mobilenet_logits(w, clip, layer, last):
    """``layer(stage, block, step)`` names a convolution and its norm; stage 0 is the stem."""
    n = clip.shape[0]

    def conv(place, x, **how):
        convolution, norm = layer(*place)
        return normalised(w, norm, F.conv2d(x, w[f"{convolution}.weight"], **how))

    x = F.relu6(conv((0, 0, 0), clip.flatten(0, 1), stride=2, padding=1))
    inputs = 32
    for stage, (expansion, outputs, depth, first) in enumerate(INVERTED, 1):
        for block in range(depth):
            stride = first if block == 0 else 1
            shortcut = stride == 1 and inputs == outputs
            y, step = x, 0
            if shortcut:
                assert ".net" in layer(stage, block, 0)[0]
                y = mixed(x, n)
            if expansion > 1:
                y, step = F.relu6(conv((stage, block, 0), y)), 1
            y = conv((stage, block, step), y, stride=stride, padding=1, groups=inputs * expansion)
            y = conv((stage, block, step + 1), F.relu6(y))
            x, inputs = x + y if shortcut else y, outputs
    x = F.relu6(conv((8, 0, 0), x))
    logits = x.mean(dim=(2, 3)) @ w[f"{last}.weight"].T + w[f"{last}.bias"]
    return logits.unflatten(0, (n, -1)).mean(dim=1)


def tsm_layer(stage, block, step):
    if stage in (0, 8):
        return tuple(f"module.base_model.features.{18 if stage else 0}.{part}" for part in (0, 1))
    number = sum(depth for _, _, depth, _ in INVERTED[: stage - 1]) + block + 1
    place = f"module.base_model.features.{number}.conv"
    wrap = ".net" if number in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16) and step == 0 else ""
    return f"{place}.{3 * step}{wrap}", f"{place}.{3 * step + 1}"


def mmaction_layer(stage, block, step):
    if stage in (0, 8):
        return tuple(f"backbone.conv{2 if stage else 1}.{part}" for part in ("conv", "bn"))
    wrap = ".net" if block and step == 0 else ""
    return tuple(
        f"backbone.layer{stage}.{block}.conv.{step}{wrap}.{part}" for part in ("conv", "bn")
    )


def logits_of(w, clip, backbone, names):
    if backbone == "mobilenetv2":
        layer = tsm_layer if names is TSM else mmaction_layer
        return mobilenet_logits(w, clip, layer, names[-1])
    return resnet_logits(w, clip, backbone, names)


def ours(w, backbone, *, planes=64, dtype=torch.float32, **options):
    settings = {"num_classes": 7, "attend": False, "aggregate": False, "width": planes / 64}
    network = build_rgb_network(backbone=backbone, **(settings | options)).to(dtype)
    loaded = load_published(network, w)
    return network.eval(), loaded


def clips(dtype=torch.float32, frames=4, size=32):
    draw = torch.Generator().manual_seed(2)
    return torch.randn(2, frames, 3, size, size, generator=draw, dtype=dtype)


@torch.no_grad()
@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize(("fabricate", "names"), [(tsm_tensors, TSM), (mmaction_tensors, MMACTION)])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet50"])
def test_logits_are_those_of_the_network_built_by_hand(backbone, fabricate, names, shift):
    w = fabricate(backbone, classes=7, planes=16, shift=shift)
    network, loaded = ours(w, backbone, planes=16, shift=shift)
    assert (len(loaded.taken), loaded.left_out, loaded.kept) == (len(w), {}, ())
    expected = logits_of(w, clips(), backbone, names)
    assert expected.std() > 0.05
    torch.testing.assert_close(network(clips()), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("fabricate", "names"), [(tsm_tensors, TSM), (mmaction_tensors, MMACTION)])
@pytest.mark.parametrize("backbone", ["resnet50", "mobilenetv2"])
def test_it_holds_at_the_published_width(backbone, fabricate, names):
    w = fabricate(backbone, classes=7)
    network, loaded = ours(w, backbone)
    assert (len(loaded.taken), loaded.left_out, loaded.kept) == (len(w), {}, ())
    assert loaded.shift_blocks == (10 if backbone == "mobilenetv2" else 16)
    expected = logits_of(w, clips(), backbone, names)
    assert expected.std() > 0.05
    torch.testing.assert_close(network(clips()), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["resnet50", "mobilenetv2"])
def test_it_holds_in_double_precision_and_odd_sizes(backbone):
    planes = 16 if backbone == "resnet50" else 64
    w = tsm_tensors(backbone, classes=7, planes=planes, dtype=torch.float64)
    network, _ = ours(w, backbone, planes=planes, dtype=torch.float64)
    seen = clips(torch.float64, frames=5, size=45)
    expected = logits_of(w, seen, backbone, TSM)
    torch.testing.assert_close(network(seen), expected, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_staa_added_changes_nothing_at_first():
    w = tsm_tensors("resnet50", classes=7, planes=16)
    network, loaded = ours(
        w, "resnet50", planes=16, attend=True, aggregate=True, staa_blocks="every-second"
    )
    assert len(loaded.kept) == 8
    assert all(name.endswith(".staa.*") for name in loaded.kept)
    expected = resnet_logits(w, clips(), "resnet50", TSM)
    torch.testing.assert_close(network(clips()), expected, rtol=1e-5, atol=1e-5)
