"""What a trained branch, or a bundle of them, is on disk: safetensors and JSON, never a pickle.

Every file is written beside its target under a temporary name, flushed to the disk and renamed, and
the folder is flushed after it, so a reader finds the old file or the new one and nothing between.
Tensors and the facts beside them carry checksums.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from poselens.errors import CheckpointError, EnvironmentFault, disk_fault

TEMPORARY_PREFIX = ".poselens-"
DAMAGE = ("CKPT-001", "CKPT-002", "CKPT-003")
"""Codes of a file that cannot be read, whatever it should hold."""
_ABOUT = "poselens"


def write_atomically(path: Path, write: Callable[[int], None]) -> None:
    """Write a file so that a crash at any moment leaves the old content or the new.

    Args:
        path: Target; its folder must exist.
        write: Writes the content to the open file descriptor it is given.

    Raises:
        EnvironmentFault: ``ENV-001`` not permitted, ``ENV-002`` disk full, ``ENV-003`` otherwise.
    """
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
        try:
            write(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException as fault:
        # a second Ctrl-C may come here too, and must not leave the temporary file either
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        if isinstance(fault, OSError):
            raise disk_fault(fault, path) from fault
        raise


def make_folder(folder: Path) -> None:
    """Make a folder for output, and prove before any work that files can be written there.

    Raises:
        EnvironmentFault: ``ENV-001`` to ``ENV-003``, as :func:`write_atomically`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as fault:
        raise disk_fault(fault, folder) from fault


def require_space(folder: Path, needed: int) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: Where files will be written.
        needed: Their bytes.

    Raises:
        EnvironmentFault: ``ENV-002`` with needed and free bytes.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError as fault:
        raise disk_fault(fault, folder) from fault
    if free < needed:
        raise EnvironmentFault(
            "ENV-002",
            f"the disk has {free:,} bytes free and {needed:,} are needed",
            file=folder,
            mend="free space, or choose another --out",
        )


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` atomically."""

    def write(descriptor: int) -> None:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]

    write_atomically(path, write)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as indented JSON, atomically."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], *, facts: Mapping[str, Any] | None = None
) -> None:
    """Write named tensors, and facts that must never part from them, as one safetensors file."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about: dict[str, Any] = {"sha256": _checksum(contiguous)}
    if facts is not None:
        about["facts"] = facts
        about["facts_sha256"] = _facts_checksum(facts)
    # one entry: safetensors writes several in an order that changes from process to process
    write_bytes(path, save(contiguous, metadata={_ABOUT: json.dumps(about)}))


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of contiguous CPU tensors and their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _facts_checksum(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: ``CKPT-001`` missing or unreadable, ``CKPT-002`` not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as fault:
        raise CheckpointError("CKPT-001", "file is missing", file=path) from fault
    except OSError as fault:
        raise CheckpointError("CKPT-001", f"cannot read: {fault.strerror}", file=path) from fault
    except (ValueError, RecursionError) as fault:
        raise CheckpointError("CKPT-002", f"not valid JSON: {fault}", file=path) from fault
    if not isinstance(content, dict):
        raise CheckpointError("CKPT-002", "expected a JSON object", file=path)
    return content


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU.

    Raises:
        CheckpointError: ``CKPT-001`` missing, ``CKPT-003`` damaged or not safetensors.
    """
    return read_tensors_and_facts(path)[0]


def read_tensors_and_facts(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote with ``facts``; files of others have none.

    Raises:
        CheckpointError: As :func:`read_tensors`; ``CKPT-002`` where the facts are not JSON.
    """
    tensors, metadata = _opened(path, tensors=True)
    about, facts = _about(path, metadata)
    if "sha256" in about and about["sha256"] != _checksum(tensors):
        raise _damaged("damaged: the checksum differs", path)
    return tensors, facts


def read_facts(path: Path) -> dict[str, Any]:
    """Read the facts of :func:`write_tensors` alone, whatever the size of the file.

    Raises:
        CheckpointError: As :func:`read_tensors_and_facts`; damaged tensors are not found.
    """
    return _about(path, _opened(path, tensors=False)[1])[1]


def _opened(path: Path, *, tensors: bool) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            names = file.keys() if tensors else ()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError as fault:
        raise CheckpointError("CKPT-001", "file is missing", file=path) from fault
    except (SafetensorError, OSError) as fault:
        raise _damaged("damaged, cut short or not a safetensors file", path) from fault


def _about(path: Path, metadata: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        about = json.loads(metadata.get(_ABOUT, "{}"))
        facts = dict(about.get("facts", {}))
    except (ValueError, TypeError, AttributeError, RecursionError) as fault:
        raise CheckpointError(
            "CKPT-002", f"facts are not valid JSON: {fault}", file=path
        ) from fault
    if "facts_sha256" in about and about["facts_sha256"] != _facts_checksum(facts):
        raise _damaged("damaged: the checksum of the facts differs", path)
    return about, facts


def _damaged(message: str, path: Path) -> CheckpointError:
    return CheckpointError(
        "CKPT-003", message, file=path, mend="use another checkpoint, or copy the file again"
    )


def load_weights(network: torch.nn.Module, tensors: Mapping[str, Tensor], *, file: Path) -> None:
    """Load ``tensors`` into ``network``; every key and every shape must fit.

    Raises:
        CheckpointError: As :func:`require_fit`.
    """
    require_fit(network.state_dict(), tensors, file=file)
    network.load_state_dict(dict(tensors))


def require_fit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], *, file: Path) -> None:
    """Refuse ``tensors`` whose names or shapes are not those of ``own``.

    Raises:
        CheckpointError: ``CKPT-004`` naming what is missing, unexpected or misshapen.
    """
    missing = sorted(own.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - own.keys())
    misshapen = sorted(
        f"{name} {tuple(tensors[name].shape)} for {tuple(own[name].shape)}"
        for name in own.keys() & tensors.keys()
        if own[name].shape != tensors[name].shape
    )
    if missing or unexpected or misshapen:
        listed = "; ".join(
            f"{len(names)} {kind}: {', '.join(names[:10])}"
            for kind, names in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", misshapen),
            )
            if names
        )
        raise CheckpointError("CKPT-004", f"weights do not fit the network ({listed})", file=file)
