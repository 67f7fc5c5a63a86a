"""Writes the run folder beside this file: one of format 1, stopped after step 4 of 6.

To be run with the code of commit 68e1f29, the last that wrote this format::

    PYTHONPATH=src:tests python tests/training/format_1/make.py
"""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import torch

from conftest import write_tiny_folder
from poselens.data.folder import open_folder
from poselens.training import run as run_module
from poselens.training.config import Recipe
from poselens.training.run import Request, train

SECTION = {
    "network": {"width": 8, "blocks": [1, 1], "dropout": 0.2},
    "input": {"window": 8, "footing": "body"},
    "augment": {"noise": 0.01, "flip": 0.5},
    "contrast": {"dimensions": 8, "positives": 4, "negatives": 4},
    "training": {
        "epochs": 2,
        "batch_size": 3,
        "lr": 0.05,
        "workers": 0,
        "milestones": [1],
        "select": "best",
    },
}


def main() -> None:
    torch.set_num_threads(1)
    done = []
    real = run_module.contrastive

    def stopping(*arguments, **options):
        objective = real(*arguments, **options)

        def counted(network, batch):
            done.append(batch["id"])
            if len(done) == 4:
                os.kill(os.getpid(), signal.SIGTERM)
            return objective(network, batch)

        return counted

    run_module.contrastive = stopping
    with tempfile.TemporaryDirectory() as folder:
        root = write_tiny_folder(Path(folder) / "data")
        out = Path(folder) / "run"
        section = Recipe(name="format-1", skeleton=SECTION).skeleton
        request = Request(root, "p", "format-1", out, "cpu", resume=False)
        assert train(open_folder(root), section, request).exit_code == 143
        for name in ("config.yaml", "state.safetensors", "log.jsonl"):
            shutil.copyfile(out / name, Path(__file__).parent / name)


if __name__ == "__main__":
    main()
