"""Files with the names and shapes of published RGB networks, spelled out from their layouts."""

from collections import OrderedDict

import numpy as np
import torch

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
INVERTED = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip
"""Expansion, channels, blocks and first stride of MobileNetV2."""


def norm_shapes(place, channels):
    return {
        **{f"{place}.{leaf}": (channels,) for leaf in ("weight", "bias")},
        **{f"{place}.{leaf}": (channels,) for leaf in ("running_mean", "running_var")},
        f"{place}.num_batches_tracked": (),
    }


def resnet_shapes(backbone, *, classes, planes=64, names="torchvision", shift=False):
    """The whole of a ResNet; ``planes`` are the channels of its stem, 64 where published."""
    convolution, norm, down = {
        "torchvision": ("conv{}", "bn{}", ("downsample.0", "downsample.1")),
        "mmaction": ("conv{}.conv", "conv{}.bn", ("downsample.conv", "downsample.bn")),
    }[names]
    shapes = OrderedDict()
    shapes[f"{convolution.format(1)}.weight"] = (planes, 3, 7, 7)
    shapes.update(norm_shapes(norm.format(1), planes))
    inputs, wide = planes, 4 if backbone == "resnet50" else 1
    for stage, depth in enumerate(DEPTHS[backbone]):
        inner = planes * 2**stage
        for block in range(depth):
            place = f"layer{stage + 1}.{block}"
            sizes = (
                [(inner, inputs, 1, 1), (inner, inner, 3, 3), (4 * inner, inner, 1, 1)]
                if wide == 4
                else [(inner, inputs, 3, 3), (inner, inner, 3, 3)]
            )
            for number, size in enumerate(sizes, 1):
                wrap = ".net" if shift and number == 1 else ""
                shapes[f"{place}.{convolution.format(number)}{wrap}.weight"] = size
                shapes.update(norm_shapes(f"{place}.{norm.format(number)}", size[0]))
            if block == 0 and inputs != wide * inner:
                shapes[f"{place}.{down[0]}.weight"] = (wide * inner, inputs, 1, 1)
                shapes.update(norm_shapes(f"{place}.{down[1]}", wide * inner))
            inputs = wide * inner
    shapes["fc.weight"], shapes["fc.bias"] = (classes, inputs), (classes,)
    return shapes


def mobilenet_shapes(*, classes, names="torchvision", shift=False):
    """The whole of MobileNetV2, under torchvision's, ``flat`` (TSM's) or mmaction2's names."""
    shapes = OrderedDict()

    def layer(place, norm, size):
        shapes[f"{place}.weight"] = size
        shapes.update(norm_shapes(norm, size[0]))

    ours = names == "mmaction"
    layer(*(("conv1.conv", "conv1.bn") if ours else ("features.0.0", "features.0.1")),
          (32, 3, 3, 3))  # fmt: skip
    inputs, number = 32, 0
    for stage, (expansion, outputs, depth, first) in enumerate(INVERTED, 1):
        for block in range(depth):
            number += 1
            inner = inputs * expansion
            sizes = [(inner, inputs, 1, 1)] if expansion > 1 else []
            sizes += [(inner, 1, 3, 3), (outputs, inner, 1, 1)]
            shortcut = (first == 1 or block > 0) and inputs == outputs
            for step, size in enumerate(sizes):
                wrap = ".net" if shift and shortcut and step == 0 else ""
                if ours:
                    place = f"layer{stage}.{block}.conv.{step}{wrap}"
                    layer(f"{place}.conv", f"{place}.bn", size)
                    continue
                place = f"features.{number}.conv"
                if names == "flat":
                    layer(f"{place}.{3 * step}{wrap}", f"{place}.{3 * step + 1}", size)
                elif step == len(sizes) - 1:
                    layer(f"{place}.{step}", f"{place}.{step + 1}", size)
                else:
                    layer(f"{place}.{step}.0", f"{place}.{step}.1", size)
            inputs = outputs
    layer(*(("conv2.conv", "conv2.bn") if ours else ("features.18.0", "features.18.1")),
          (1280, 320, 1, 1))  # fmt: skip
    last = {"torchvision": "classifier.1", "flat": "classifier", "mmaction": "fc"}[names]
    shapes[f"{last}.weight"], shapes[f"{last}.bias"] = (classes, 1280), (classes,)
    return shapes


def filled(shapes, *, seed=0, dtype=torch.float32):
    """Random weights and statistics that keep the scale; no two values agree."""
    draw = torch.Generator().manual_seed(seed)
    tensors = OrderedDict()
    for name, shape in shapes.items():
        leaf = name.rpartition(".")[2]
        if leaf == "num_batches_tracked":
            tensors[name] = torch.tensor(4000)
            continue
        values = torch.randn(shape, generator=draw, dtype=dtype)
        if leaf == "running_var" or (leaf == "weight" and len(shape) == 1):
            values = 0.5 + torch.rand(shape, generator=draw, dtype=dtype)
        elif leaf in ("bias", "running_mean"):
            values = 0.2 * values
        elif leaf == "weight":
            values = values * (2 / values[0].numel()) ** 0.5
        tensors[name] = values
    return tensors


def renamed(table, *, prefix, classifier):
    """Put a prefix before the backbone's names, and give the classifier its name."""
    names = OrderedDict()
    for name, values in table.items():
        layer, _, leaf = name.rpartition(".")
        last = layer in ("fc", "classifier", "classifier.1")
        names[f"{classifier}.{leaf}" if last else f"{prefix}{name}"] = values
    return names


def tsm_shapes(backbone, *, classes=400, planes=64, shift=True):
    """The state dict of TSM's main.py: its network inside DataParallel."""
    shapes = (
        mobilenet_shapes(classes=classes, names="flat", shift=shift)
        if backbone == "mobilenetv2"
        else resnet_shapes(backbone, classes=classes, planes=planes, shift=shift)
    )
    return renamed(shapes, prefix="module.base_model.", classifier="module.new_fc")


def mmaction_shapes(backbone, *, classes=400, planes=64, shift=True):
    """The state dict of mmaction2's recogniser."""
    shapes = (
        mobilenet_shapes(classes=classes, names="mmaction", shift=shift)
        if backbone == "mobilenetv2"
        else resnet_shapes(backbone, classes=classes, planes=planes, names="mmaction", shift=shift)
    )
    return renamed(shapes, prefix="backbone.", classifier="cls_head.fc_cls")


def tsm_tensors(backbone, *, seed=0, dtype=torch.float32, **size):
    return filled(tsm_shapes(backbone, **size), seed=seed, dtype=dtype)


def mmaction_tensors(backbone, *, seed=0, dtype=torch.float32, **size):
    return filled(mmaction_shapes(backbone, **size), seed=seed, dtype=dtype)


def tsm_file(tensors, arch):
    """What TSM's main.py saves: momenta under the numbers that Python gave the parameters."""
    weights = [values for name, values in tensors.items() if name.endswith(".weight")][:3]
    numbers = [140_234_567_890_120 + 72 * place for place in range(len(weights))]
    group = {"lr": 1e-4, "momentum": 0.9, "dampening": 0, "weight_decay": 1e-4, "nesterov": False}
    return {
        "epoch": 50,
        "arch": arch,
        "state_dict": tensors,
        "optimizer": {
            "state": {
                number: {"momentum_buffer": torch.zeros_like(values)}
                for number, values in zip(numbers, weights, strict=True)
            },
            "param_groups": [
                {
                    **group,
                    "params": numbers,
                    "lr_mult": 1,
                    "decay_mult": 1,
                    "name": "normal_weight",
                },
                {**group, "params": [], "lr_mult": 5, "decay_mult": 1, "name": "lr5_weight"},
            ],
        },
        "best_prec1": torch.tensor(71.16),
    }


def mmaction_file(tensors):
    """What mmaction2 publishes; runs that keep their best epoch also write numbers of numpy."""
    return {
        "meta": {
            "env_info": "sys.platform: linux\nPython: 3.7.4",
            "config": "model = dict(type='Recognizer2D')",
            "seed": None,
            "exp_name": "tsm_r50.py",
            "mmaction_version": "0.24.0+1a2b3c4",
            "CLASSES": ["abseiling", "air drumming"],
            "epoch": 50,
            "iter": 94_000,
            "hook_msgs": {"best_score": np.float64(0.7116), "best_ckpt": "best.pth"},
        },
        "state_dict": tensors,
    }
