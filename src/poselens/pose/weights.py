"""Published weights by name: where they come from, their hash, and a cache for them."""

import difflib
import hashlib
import logging
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from poselens.errors import CheckpointError, EnvironmentFault, UsageError

_LOG = logging.getLogger(__name__)
_BLOCK = 1 << 20
_LARGEST = 1 << 30  # bytes; far above any file of the table
_TIMEOUT_S = 30.0
_TORCHVISION = "https://download.pytorch.org/models"
_CORAL = "google-coral/test_data"


@dataclass(frozen=True)
class Weights:
    """One published file.

    Attributes:
        name: How options and texts refer to it.
        file: File name, as published.
        sha256: The hash, or as many leading digits as the publisher gives.
        sources: URLs, tried in this order.
        licence: Terms of use.
    """

    name: str
    file: str
    sha256: str
    sources: tuple[str, ...]
    licence: str


def _torchvision(name: str, file: str) -> Weights:
    # torchvision puts the first digits of the hash into the name
    digits = file.removesuffix(".pth").rsplit("-", 1)[1]
    licence = "BSD-3-Clause (torchvision); trained on ImageNet, whose own terms apply"
    return Weights(name, file, digits, (f"{_TORCHVISION}/{file}",), licence)


WEIGHTS: dict[str, Weights] = {
    weights.name: weights
    for weights in (
        Weights(
            "movenet-lightning",
            "movenet_single_pose_lightning_ptq.tflite",
            "cd7cc22fa946e5d146a7b98d496853e1923e22828d3972d579973f27f91bb105",
            (
                f"https://raw.githubusercontent.com/{_CORAL}/master/"
                "movenet_single_pose_lightning_ptq.tflite",
                f"https://github.com/{_CORAL}/raw/master/movenet_single_pose_lightning_ptq.tflite",
            ),
            "Apache-2.0 (Google)",
        ),
        _torchvision("resnet18-imagenet", "resnet18-f37072fd.pth"),
        _torchvision("resnet34-imagenet", "resnet34-b627a593.pth"),
        _torchvision("resnet50-imagenet", "resnet50-0676ba61.pth"),
        _torchvision("resnet50-imagenet-v2", "resnet50-11ad3fa6.pth"),
        _torchvision("mobilenetv2-imagenet", "mobilenet_v2-b0353104.pth"),
    )
}


def cache_folder() -> Path:
    """Return ``$POSELENS_CACHE``, or ``~/.cache/poselens``."""
    chosen = os.environ.get("POSELENS_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "poselens"


def locate(name: str, *, file: Path | None = None, cache: Path | None = None) -> Path:
    """Return the file with the named weights, from disk or, failing that, from the network.

    A given file wins over the cache and is used whatever its hash, which goes to the log. A file in
    the cache with another hash is fetched again.

    Args:
        name: Key of ``WEIGHTS``.
        file: The user's own copy.
        cache: Folder to keep downloads in, default ``cache_folder()``.

    Raises:
        UsageError: ``WGT-001`` for an unknown name.
        CheckpointError: ``WGT-002`` for a given file that is missing, empty or a web page.
        EnvironmentFault: ``ENV-006`` when no source delivers, ``ENV-003`` when the cache cannot be
            written.
    """
    if name not in WEIGHTS:
        near = difflib.get_close_matches(name, WEIGHTS, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            "WGT-001", f"unknown weights {name!r}{guess}", mend=f"use one of {', '.join(WEIGHTS)}"
        )
    weights = WEIGHTS[name]
    if file is not None:
        return _given(weights, file)
    folder = cache or cache_folder()
    target = folder / weights.file
    if target.is_file() and sha256_of(target).startswith(weights.sha256):
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _fetch(weights, target)
    except OSError as fault:
        raise EnvironmentFault(
            "ENV-003",
            f"cannot write: {fault.strerror or fault}",
            file=target,
            mend="point POSELENS_CACHE at another folder",
        ) from fault


def cached(name: str) -> Path | None:
    """Return the named weights where they lie in the cache, without looking elsewhere."""
    target = cache_folder() / WEIGHTS[name].file
    return target if target.is_file() else None


def store(name: str, file: Path) -> Path:
    """Copy the user's own file into the cache, where its hash is the published one.

    Raises:
        CheckpointError: ``WGT-002`` for a file that is missing, empty or a web page, ``WGT-003``
            for one of another hash.
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when the cache cannot be written.
    """
    # torch comes with it, and whoever only looks for weights has no use for that
    from poselens.checkpoint import write_bytes

    given, weights = locate(name, file=file), WEIGHTS[name]
    found = sha256_of(given)
    if not found.startswith(weights.sha256):
        raise CheckpointError(
            "WGT-003",
            f"sha256 is {found[:16]}..., expected {weights.sha256[:16]}...",
            file=file,
            mend="give this file where weights are asked for, without the cache",
        )
    target = cache_folder() / weights.file
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(target, given.read_bytes())
    return target


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _given(weights: Weights, file: Path) -> Path:
    reason = None
    if not file.is_file():
        reason = "no such file"
    else:
        with file.open("rb") as content:
            head = content.read(512)
        if not head:
            reason = "the file is empty (0 bytes)"
        elif _is_page(head):
            reason = "looks like HTML (download failed?)"
    if reason:
        raise CheckpointError(
            "WGT-002",
            f"no weights {weights.name}: {reason}",
            file=file,
            mend=f"download {weights.sources[0]}",
        )
    found = sha256_of(file)
    if found.startswith(weights.sha256):
        _LOG.info("%s: %s, sha256 %s as published", file, weights.name, found)
    else:
        _LOG.warning(
            "%s: sha256 %s is not the published one of %s (%s)",
            file,
            found,
            weights.name,
            weights.sha256,
        )
    return file


def _is_page(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml"))


def _fetch(weights: Weights, target: Path) -> Path:
    """Download beside the target and rename when the hash is right."""
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.incomplete")
    failures: list[str] = []
    try:
        for source in weights.sources:
            reason = _download(source, unfinished, weights.sha256)
            if reason is None:
                os.replace(unfinished, target)
                return target
            failures.append(f"{source} ({reason})")
    finally:
        unfinished.unlink(missing_ok=True)
    raise EnvironmentFault(
        "ENV-006",
        f"cannot fetch {weights.name}: {'; '.join(failures)}",
        mend=f"download {weights.file} on another machine and give it with --file",
    )


def _download(source: str, unfinished: Path, sha256: str) -> str | None:
    """Write what ``source`` delivers; return None if the hash is right, else what is wrong."""
    try:
        answer = urllib.request.urlopen(source, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as fault:
        fault.close()
        return f"HTTP {fault.code}"
    except urllib.error.URLError as fault:
        return str(fault.reason)
    except (OSError, HTTPException) as fault:
        return str(fault) or type(fault).__name__
    digest, received, head = hashlib.sha256(), 0, b""
    with answer, unfinished.open("wb") as file:
        while True:
            # only reading: a fault of the disk must not count against the source
            try:
                block = answer.read(_BLOCK)
            except (OSError, HTTPException) as fault:
                return str(fault) or type(fault).__name__
            if not block:
                break
            head = head or block[:512]
            received += len(block)
            if received > _LARGEST:
                return f"more than {_LARGEST:,} bytes"
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    if _is_page(head):
        return "a web page instead of weights"
    found = digest.hexdigest()
    if not found.startswith(sha256):
        return f"sha256 {found[:16]}… of {received:,} bytes, expected {sha256[:16]}…"
    return None
