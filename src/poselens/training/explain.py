"""What a run folder says of itself: where and with what it was made, and how to go on."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from poselens.checkpoint import write_bytes
from poselens.training.config import Training
from poselens.training.freeze import counted
from poselens.training.journal import read_rows

EXPLAINED_FILE = "RUN.md"
_PACKAGES = ("av", "numpy", "safetensors", "triton")
_DRIVER = Path("/proc/driver/nvidia/version")


def environment(device: torch.device) -> dict[str, Any]:
    """Return what this run is made with, for ``run.json``.

    The command line is this process's own. The commit is that of poselens, where it runs from a
    checkout; data sets and the folders around them are not looked at.
    """
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "command": " ".join(map(_quoted, ["poselens", *sys.argv[1:]])),
        "started": now(),
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "device": _device(device),
        "versions": versions,
        "commit": commit(Path(__file__).resolve().parents[3]),
    }


def now() -> str:
    """Return the time, in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _quoted(word: str) -> str:
    # not shlex.quote: brackets and stars of --set are as easily read without
    return f"'{word}'" if not word or any(letter in word for letter in " \t\n'\"$`\\;&|") else word


def _in_a_cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _device(device: torch.device) -> dict[str, Any]:
    if device.type != "cuda":
        return {"type": "cpu", "name": platform.machine()}
    about = torch.cuda.get_device_properties(device)
    try:
        driver = _DRIVER.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError):
        driver = None
    return {
        "type": "cuda",
        "name": about.name,
        "memory_bytes": about.total_memory,
        "cuda": torch.version.cuda,
        "driver": driver,
    }


def commit(root: Path) -> str | None:
    """Return the commit of a checkout of poselens, with ``+`` where files differ from it.

    Args:
        root: Folder that holds ``src/poselens``; anything but a checkout's own has none.
    """
    if not (root / ".git").exists() or not (root / "src" / "poselens").is_dir():
        return None
    found = _git(root, "rev-parse", "HEAD")
    if found is None:
        return None
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "src")
    return found + ("+" if changed else "")


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def mean_data_wait(folder: Path) -> float | None:
    """Return the share of training's time that was spent waiting for data, None without a row."""
    rows = [row for row in read_rows(folder / "log.jsonl") if row.get("split") == "train"]
    seconds = sum(float(row.get("seconds") or 0) for row in rows)
    waited = sum(float(row.get("seconds") or 0) * float(row.get("data_wait") or 0) for row in rows)
    return round(waited / seconds, 4) if seconds else None


def explain(out: Path, root: Path, config: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write ``RUN.md``: what was trained on what, with what, and what to do next.

    Args:
        out: The run's folder.
        root: Data set folder as it was given.
        config: The resolved settings.
        facts: ``run.json``; while the run is under way its ``environment`` alone.
    """
    branch, protocol = config["branch"], config["protocol"]
    training, made = config["training"], facts["environment"]
    lines = [
        f"# {branch} on {root.name}, protocol {protocol}",
        "",
        f"Recipe {config['recipe']}, seed {training['seed']}, {training['epochs']} epochs of "
        f"batches of {training['batch_size']}.",
        "",
        *_result(out, root, branch, config, facts),
        "",
        "| | |",
        "|---|---|",
        f"| started | {made['started']} |",
        *([f"| ended | {made['ended']} |"] if "ended" in made else []),
        f"| command | `{_in_a_cell(made['command'])}` |",
        f"| device | {made['device']['name']}, {made['cores']} cores |",
        f"| versions | {', '.join(f'{k} {v}' for k, v in made['versions'].items())} |",
        *([f"| commit | {made['commit']} |"] if made["commit"] else []),
        "",
        "`config.yaml` has every setting, `log.csv` a row per epoch, `skipped.jsonl` the clips "
        "left out, `run.json` the facts of this page.",
        "",
    ]
    write_bytes(out / EXPLAINED_FILE, "\n".join(lines).encode())


def _result(out: Path, root: Path, branch: str, config: Mapping[str, Any], facts: Any) -> list[str]:
    protocol = config["protocol"]
    if not facts.get("complete"):
        return [
            "**Not finished.** If nothing trains here any more, go on with:",
            "",
            "```",
            f"poselens train {branch} {_quoted(str(root))} --recipe {config['recipe']} "
            f"--protocol {protocol} --out {_quoted(str(out))} --resume",
            "```",
            "",
            "and the `--set` options of the command below.",
        ]
    data, trained = facts["data"], facts["trained_params"]
    return [
        f"Trained on {data['train']} clips, {data['val']} held out for validation, "
        f"{data['skipped']} skipped; data fingerprint {data['fingerprint']}.",
        f"Weights: {facts['selection']}. {trained:,} of {facts['params']:,} parameters trained.",
        f"Waited {_waited(facts)} of the time for data.",
        "",
        "```",
        f"poselens evaluate {_quoted(str(out))} {_quoted(str(root))} --protocol {protocol}",
        f"poselens predict {_quoted(str(out))} VIDEO",
        "```",
    ]


def _waited(facts: Mapping[str, Any]) -> str:
    waited = facts["environment"]["data_wait"]
    return "an unknown share" if waited is None else f"{waited:.1%}"


def told_at_start(network: nn.Module, settings: Training) -> tuple[str, ...]:
    """Return what is told before the first step."""
    told = []
    if settings.freeze != "none":
        trained, everything = counted(network)
        told.append(f"{trained:,} of {everything:,} parameters are trained")
    if settings.scale_lr_from is not None:
        told.append(
            f"learning rate {settings.base_rate:g}: {settings.lr:g} at {settings.scale_lr_from} "
            f"clips a step, of which there are {settings.batch_size}"
        )
    return tuple(told)
