"""``poselens doctor``: what this machine has, and what is missing."""

from collections.abc import Callable
from importlib import metadata, util
from typing import Any

from poselens.cli.output import Json, give_json, give_table

PACKAGES = ("torch", "av", "numpy", "scipy", "scikit-learn", "pydantic", "ai-edge-litert")


def doctor(as_json: Json = False) -> int:
    """Look at what this machine has.

    Python, packages, GPU, video codecs, pose estimation and weights.
    """
    checks: list[dict[str, Any]] = [
        _checked("python", _python),
        _checked("packages", _packages),
        _checked("gpu", _gpu),
        _checked("many gpus", _ranks),
        _checked("video", _video),
        _checked("pose", _pose),
        _checked("weights", _weights),
    ]
    good = all(check["ok"] for check in checks if check["needed"])
    if as_json:
        give_json({"ok": good, "checks": checks})
    else:
        give_table(
            "poselens doctor",
            ["check", "", "found"],
            [
                [c["name"], "ok" if c["ok"] else "missing" if c["needed"] else "absent", c["found"]]
                for c in checks
            ],
        )
    return 0 if good else 5


def _checked(name: str, look: Callable[[], tuple[bool, bool, str]]) -> dict[str, Any]:
    ok, needed, found = look()
    return {"name": name, "ok": ok, "needed": needed, "found": found}


def _python() -> tuple[bool, bool, str]:
    import platform
    import sys

    return sys.version_info >= (3, 11), True, f"{platform.python_version()} on {platform.system()}"


def _packages() -> tuple[bool, bool, str]:
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} absent")
    needed = [entry for entry in versions if not entry.startswith("ai-edge-litert")]
    return not any(entry.endswith("absent") for entry in needed), True, ", ".join(versions)


def _gpu() -> tuple[bool, bool, str]:
    import torch

    if not torch.cuda.is_available():
        return False, False, f"none; {torch.get_num_threads()} CPU threads are used"
    kernels = (
        "Triton for skeletons" if util.find_spec("triton") else "no Triton: skeletons are slow"
    )
    return True, False, f"{torch.cuda.get_device_name()}; {kernels}"


def _ranks() -> tuple[bool, bool, str]:
    import torch
    import torch.distributed as dist

    if not dist.is_available():
        return False, False, "this torch has no torch.distributed: one process trains"
    count = torch.cuda.device_count()
    if count > 1 and dist.is_nccl_available():
        return True, False, f"torchrun --nproc-per-node {count}: {count} GPUs through NCCL"
    if count > 1:
        return False, False, f"{count} GPUs, but this torch has no NCCL: one process trains"
    return dist.is_gloo_available(), False, "gloo for processes on CPUs; no second GPU here"


def _video() -> tuple[bool, bool, str]:
    import av

    names = ("h264", "hevc", "vp9", "av1", "mpeg4")
    found = [name for name in names if name in av.codecs_available]
    writes = "libx264" in av.codecs_available
    return bool(found), True, f"reads {', '.join(found)}; writes {'H.264' if writes else 'MPEG-4'}"


def _pose() -> tuple[bool, bool, str]:
    if util.find_spec("ai_edge_litert") is None:
        return False, False, "no estimator; pip install 'poselens[pose]'"
    return True, False, "MoveNet can run (LiteRT)"


def _weights() -> tuple[bool, bool, str]:
    from poselens.pose.weights import WEIGHTS, cached

    found = [name for name in WEIGHTS if cached(name) is not None]
    missing = [name for name in WEIGHTS if name not in found]
    return bool(found), False, f"cached: {', '.join(found) or 'none'}; known: {', '.join(missing)}"
