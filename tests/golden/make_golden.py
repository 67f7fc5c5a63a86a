"""Writes ``trace_tiny.json``: the losses of the first 20 steps of four tiny trainings.

Two go through everything that ``poselens train`` does, with a network of few layers. Two are steps
of a deep one with STAA in every second block, ordinary and causal, on clips of noise.

Run it as ``python tests/golden/make_golden.py`` after a change that is meant to change how a
training runs, and say in the commit why the losses moved.
"""

import importlib.util
import json
import tempfile
from pathlib import Path

import torch
from torch import nn

from poselens.data.folder import open_folder
from poselens.rgb.build import build_rgb_network
from poselens.training import run, wiring
from poselens.training.config import Recipe, RgbSection, SkeletonSection

TRACE = Path(__file__).parent / "trace_tiny.json"
STEPS = 20

RECIPE = {
    "name": "golden",
    "rgb": {
        "network": {
            "backbone": "resnet18",
            "width": 0.125,
            "staa_blocks": "every-second",
            "dropout": 0.2,
        },
        "input": {"segments": 4, "snippet_length": 3, "snippet": "random", "scale": 36, "size": 32},
        "augment": {"scales": [1.0, 0.9], "brightness": 0.2},
        "training": {
            "epochs": 10,
            "batch_size": 4,
            "lr": 0.001,
            "milestones": [5],
            "warmup_epochs": 1,
            "clip_norm": 5.0,
            "label_smoothing": 0.1,
            "workers": 0,
            "seed": 11,
        },
    },
    "skeleton": {
        "network": {"width": 8, "blocks": [1, 1, 1], "dropout": 0.2},
        "input": {"window": 8, "footing": "body", "stream": "joint"},
        "augment": {"noise": 0.1, "flip": 0.5, "scaling": 0.1},
        "training": {
            "epochs": 10,
            "batch_size": 4,
            "lr": 0.0005,
            "nesterov": True,
            "schedule": "cosine",
            "clip_norm": None,
            "workers": 0,
            "seed": 11,
        },
    },
}


def trace(section: RgbSection | SkeletonSection, root: Path, out: Path) -> list[float]:
    """Train on the CPU with one thread and return the loss of each step."""
    losses: list[float] = []
    plain = wiring.cross_entropy

    def recording(**options):
        inner = plain(**options)

        def objective(network, batch):
            found = inner(network, batch)
            losses.append(found.total.item())
            return found

        return objective

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    wiring.cross_entropy = recording
    try:
        request = run.Request(root, "p", "golden", out, "cpu", resume=False)
        run.train(open_folder(root), section, request)
    finally:
        wiring.cross_entropy = plain
        torch.set_num_threads(threads)
    return losses[:STEPS]


def deep_trace(*, causal: bool) -> list[float]:
    """Train a narrow ResNet-50 on four clips of noise and return the loss of each step.

    A deep network without pretrained weights multiplies a rounding error a thousandfold in a few
    steps. Residual branches of a fifth and small steps keep it below the tolerance, and a
    classifier of large weights makes the loss depend on every part.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        network = build_rgb_network(
            backbone="resnet50",
            num_classes=4,
            width=0.125,
            staa_blocks="every-second",
            causal=causal,
            dropout=0.2,
        )
        nn.init.normal_(network.fc.weight, std=0.1)
        for name, parameter in network.named_parameters():
            if name.endswith(("gamma", "scale")):
                nn.init.constant_(parameter, 0.5)
            if name.endswith("bn3.weight"):
                nn.init.constant_(parameter, 0.2)
        clips, labels = torch.randn(4, 4, 3, 40, 40), torch.arange(4)
        optimiser = torch.optim.SGD(network.parameters(), lr=1e-5, momentum=0.9)
        losses: list[float] = []
        for _ in range(STEPS):
            loss = nn.functional.cross_entropy(network(clips), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    torch.set_num_threads(threads)
    return losses


def traces(root: Path, folder: Path) -> dict[str, list[float]]:
    """Trace all trainings, on the data set in ``root``; runs are written into ``folder``."""
    recipe = Recipe.model_validate(RECIPE)
    return {
        "rgb": trace(recipe.rgb, root, folder / "rgb"),
        "skeleton": trace(recipe.skeleton, root, folder / "skeleton"),
        "rgb-deep": deep_trace(causal=False),
        "rgb-deep-causal": deep_trace(causal=True),
    }


def main() -> None:
    """Draw the tiny data set of the tests, train, and write the file."""
    place = Path(__file__).parents[1] / "conftest.py"
    spec = importlib.util.spec_from_file_location("tiny_folder", place)
    assert spec is not None
    assert spec.loader is not None
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = traces(drawing.write_tiny_folder(folder / "data"), folder)
    content = {"torch": torch.__version__, **found}
    TRACE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
