"""What a run may change when it goes on, and how older runs are brought up to date.

How a run is carried out is free to change (:data:`FREE`); ``training.epochs`` may where the rates
of the epochs done do not depend on it. Everything else must be as it was.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from poselens.checkpoint import read_json, read_tensors_and_facts, write_tensors
from poselens.data.plain_yaml import read_plain_yaml
from poselens.errors import CheckpointError, UsageError
from poselens.training.claim import CONFIG_FILE, RUN_FILE
from poselens.training.config import (
    HOW_NOT_WHAT,
    RgbSection,
    SkeletonSection,
    flat,
    identity,
    parse,
)
from poselens.training.state import FORMAT, Progress
from poselens.training.states import STATES_FOLDER, newest_facts, state_file, state_files

OLD_STATE_FILE = "state.safetensors"
"""The one state of runs of format 1."""

FREE = frozenset(f"training.{name}" for name in HOW_NOT_WHAT)
"""Settings that do not change what is trained."""

EPOCHS = "training.epochs"
_DATA = ("classes", "layout")
"""Of the data, said so that another one is named; ``config.yaml`` does not hold them."""
_ABOUT = ("recipe", "branch", "protocol", *_DATA)

Section = RgbSection | SkeletonSection


@dataclass(frozen=True)
class Found:
    """What a run's folder holds of it.

    Attributes:
        complete: ``run.json`` of a run that has nothing left to do, else None.
        changed: What goes on otherwise than it was, to be told.
    """

    complete: Mapping[str, Any] | None
    changed: tuple[str, ...]


def find_run(out: Path, config: Mapping[str, Any], section: Section, data: str) -> Found:
    """Look at what a folder holds of a run, and whether it may go on.

    Args:
        out: The run's folder, claimed.
        config: What the run is to be made with now, as ``config.yaml`` would hold it.
        section: The part of it that is the resolved recipe.
        data: Digest of the data.

    Raises:
        CheckpointError: ``CKPT-011`` made with other settings or data, ``CKPT-021`` the number of
            epochs cannot change so, ``CKPT-024`` ``config.yaml`` cannot be read; else as
            ``newest_facts``.
    """
    update_format_1(out, data)
    if (out / RUN_FILE).exists():
        facts = read_json(out / RUN_FILE)
        about = facts.get("data")
        made_from = about.get("fingerprint", data) if isinstance(about, dict) else data
        done = _whole(facts.get("epochs"))
        changed = _compare(out, read_config(out), made_from, config, section, data, done=done)
        reached = facts.get("stopped_early") or done >= section.training.epochs
        complete = facts.get("complete") and reached
        if not complete and not state_files(out):
            raise CheckpointError(
                "CKPT-020",
                "no state of this run is left to go on from",
                file=out / STATES_FOLDER,
                mend="put back a copy of one, or start anew with another --out",
            )
        return Found(facts if complete else None, changed)
    state = newest_facts(out)
    if state is None:
        return Found(None, ())
    done = _whole(state["progress"].get("epoch"))
    kept = state["settings"]
    return Found(None, _compare(out, kept, state["fingerprint"], config, section, data, done=done))


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def read_config(out: Path) -> dict[str, Any]:
    """Return the settings a run was made with, from its ``config.yaml``.

    Raises:
        CheckpointError: ``CKPT-024`` when it cannot be read.
    """
    path = out / CONFIG_FILE
    try:
        content = read_plain_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as fault:
        raise _unreadable(str(fault), path) from fault
    if not isinstance(content, dict):
        raise _unreadable("no settings", path)
    return content


def _unreadable(reason: str, path: Path) -> CheckpointError:
    return CheckpointError(
        "CKPT-024",
        f"the settings of this run cannot be read: {reason}",
        file=path,
        mend="put the file back as it was, or start anew with another --out",
    )


def _compare(
    out: Path,
    kept: Mapping[str, Any],
    made_from: str,
    config: Mapping[str, Any],
    section: Section,
    data: str,
    *,
    done: int,
) -> tuple[str, ...]:
    """Return the settings that may change and do.

    Raises:
        CheckpointError: ``CKPT-011``, ``CKPT-021``.
    """
    before, after = flat(_completed(kept, section)), flat(config)
    differing = {
        key: f"{key} {before.get(key)!r} -> {after.get(key)!r}"
        for key in {**before, **after}
        if before.get(key) != after.get(key) and (key in before or key not in _DATA)
    }
    refused = [told for key, told in differing.items() if key not in FREE and key != EPOCHS]
    if refused or made_from != data:
        told = ", ".join(refused[:5]) + (", ..." if len(refused) > 5 else "")
        raise CheckpointError(
            "CKPT-011",
            "this run was made with other settings or data "
            f"({told or 'the data or its protocol differ'})",
            file=out,
            mend="undo the change, or start anew with another --out",
        )
    if EPOCHS in differing:
        _require_possible(section, done, differing[EPOCHS], out)
    return tuple(f"goes on with {told}" for told in differing.values())


def _completed(kept: Mapping[str, Any], section: Section) -> dict[str, Any]:
    """Return settings with today's keys: one that came later had its default."""
    about = {key: kept[key] for key in _ABOUT if key in kept}
    rest = {key: value for key, value in kept.items() if key not in _ABOUT}
    try:
        return {**about, **parse(type(section), rest, file=None).model_dump(mode="json")}
    except UsageError:
        # of another version, or of the other branch: as it is, it differs in what it differs
        return dict(kept)


def _require_possible(section: Section, done: int, told: str, out: Path) -> None:
    if section.training.epochs < done:
        reason = f"{done} epochs are done"
    elif section.training.schedule != "step":
        reason = (
            f"the {section.training.schedule} schedule spreads over all epochs: those that are "
            "done would have had other rates"
        )
    else:
        return
    raise CheckpointError(
        "CKPT-021",
        f"the number of epochs cannot change so ({told}): {reason}",
        file=out,
        mend="undo the change, or start anew with another --out",
    )


def update_format_1(out: Path, data: str) -> None:
    """Bring the state of a run of format 1 to where and what states are today.

    Its state held a digest of settings and data together, and its settings stood in
    ``config.yaml`` alone.

    Raises:
        CheckpointError: ``CKPT-011`` when data, protocol or ``config.yaml`` are not those of the
            state, ``CKPT-024`` as :func:`read_config`; damage as ``poselens.checkpoint``.
    """
    old = out / OLD_STATE_FILE
    if not old.exists():
        return
    tensors, facts = read_tensors_and_facts(old)
    if facts.get("format") != 1:
        raise CheckpointError(
            "CKPT-010",
            f"state format {facts.get('format')}, this is {FORMAT}",
            file=old,
            mend="remove it, or start anew with another --out",
        )
    kept = read_config(out)
    if facts.get("fingerprint") != _digest_1(kept, data):
        raise CheckpointError(
            "CKPT-011",
            "the data, the protocol or config.yaml changed since this run was saved",
            file=out,
            mend="undo the change, or start anew with another --out",
        )
    try:
        progress = Progress(**facts["progress"])
    except (KeyError, TypeError) as fault:
        raise CheckpointError(
            "CKPT-023",
            f"the state contradicts itself: its facts are incomplete ({fault!r})",
            file=old,
            mend="remove it",
        ) from fault
    facts |= {"format": FORMAT, "fingerprint": data, "settings": kept}
    (out / STATES_FOLDER).mkdir(exist_ok=True)
    write_tensors(state_file(out, progress), tensors, facts=facts)
    old.unlink()


def _digest_1(config: Mapping[str, Any], data: str) -> str:
    training = config.get("training")
    if not isinstance(training, dict):
        return ""
    content = {**config, "training": identity(training), "data": data}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
