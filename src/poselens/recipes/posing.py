"""Give videos their skeletons: estimate the joints of every clip, whatever happens on the way."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int

from poselens.data.children import Limits, in_children
from poselens.data.disk import require_free
from poselens.errors import AnnotationError, InputError, PoselensError, UsageError
from poselens.recipes.pose_ledger import (
    FAILED,
    Ledger,
    Shard,
    Standing,
    Workplace,
    folder_of,
    require_same,
)
from poselens.recipes.pose_results import Posed, read_report, write_results
from poselens.recipes.pose_sources import DataSetClips, PoseSource, Videos
from poselens.recognition.pose_clip import (
    NUMBERS,
    PoseItem,
    PoseJob,
    opened,
    pose_clip,
    record_of,
    stamp_of,
)

_PLAN = Limits(seconds=600.0)
"""What a clip may cost: longer than decoding alone, which the usual limit is made for."""


class Engine(Protocol):
    """Calls a function for every item, somewhere; ``data.children.in_children`` is one."""

    def __call__(
        self,
        work: Callable[[PoseItem], dict[str, Any]],
        items: Iterable[PoseItem],
        *,
        file_of: Callable[[PoseItem], Path],
        workers: int | None,
        limits: Limits,
    ) -> Iterator[tuple[PoseItem, dict[str, Any] | PoselensError]]:
        """Yield each item with its outcome, in any order."""
        ...


@dataclass(frozen=True)
class Manner:
    """Where and how the work is done; nothing of it changes the result.

    Attributes:
        shard: Do only this share, and assemble nothing.
        merge: Do nothing, and only assemble.
        retry: Take clips again that failed before.
        workers: Processes; None for one a core.
        limits: Of one clip.
        engine: Who calls the work.
    """

    shard: Shard | None = None
    merge: bool = False
    retry: bool = False
    workers: int | None = None
    limits: Limits = _PLAN
    engine: Engine = in_children


def estimate_poses(
    source: DataSetClips | Videos,
    out: Path,
    job: PoseJob,
    *,
    manner: Manner | None = None,
    begun: Callable[[int, int], Callable[[], None]] | None = None,
) -> Posed | None:
    """Estimate the joints of every clip, and write a data set, or a skeleton file per video.

    What was done before is kept, whatever ended it; see ``recipes/pose_ledger``. A clip that cannot
    be read, in which nobody is found, or whose process crashes, hangs or swells, is left without
    joints and reported.

    Args:
        source: The clips.
        out: The data set or folder to make.
        job: How.
        manner: Where.
        begun: Told how many clips there are to do and how many are done; gives what to call after
            each.

    Returns:
        The report; None when a shard is done and there is nothing to assemble yet.

    Raises:
        UsageError: ``POSE-011`` when ``out`` was begun with other settings, ``POSE-012`` when
            another process is at it, ``DATA-020`` when it holds something else.
        AnnotationError: ``POSE-015`` when clips are missing at a merge, ``POSE-013`` when what was
            done is damaged.
        EnvironmentFault, CheckpointError: of the machine and of the networks; what is done stays.
    """
    manner = manner or Manner()
    ready = opened(job.choice)
    about = {"source": source.digest(), "clips": len(source), **job.facts()}
    if (finished := read_report(out)) is not None:
        require_same(finished.settings, about, out)
        Workplace(out, about).remove()
        return finished
    require_free(out)
    place = Workplace(out, about)
    with place.lock(manner.shard or Shard()) as ledger:
        standing = place.standing(len(source))
        todo = _todo(source, standing, manner)
        if manner.merge:
            _require_all(todo, place, len(source))
        else:
            tell = begun(len(todo), len(source) - len(todo)) if begun else lambda: None
            _work(source, todo, job, folder_of(out), ledger, manner, standing, tell)
        if manner.shard is not None:
            return None
        standing = place.standing(len(source))
        posed = write_results(
            source, out, place.folder, standing, about, ready.estimator.layout, ready.provider
        )
    place.remove()
    return posed


def _todo(source: PoseSource, standing: Standing, manner: Manner) -> Int[np.ndarray, " n"]:
    """Return the clips that have to be looked at, of those of this shard."""
    wanted = (manner.shard or Shard()).clips(len(source))
    chosen = np.zeros(len(wanted), bool)
    for row, clip in enumerate(wanted.tolist()):
        item = source.item(clip)
        status = standing.status[clip]
        if item is None:
            continue
        again = status == FAILED and manner.retry and not manner.merge
        changed = status and stamp_of(item.video) != tuple(standing.stamps[:, clip].tolist())
        chosen[row] = not status or again or changed
    return np.asarray(wanted[chosen])


def _require_all(missing: Int[np.ndarray, " n"], place: Workplace, count: int) -> None:
    if len(missing) == 0:
        return
    shards = place.shards()
    of = max((shard.of for shard in shards), default=1)
    late = sorted({int(clip) % of + 1 for clip in missing})
    named = ", ".join(f"{number}/{of}" for number in late[:10]) + (", ..." if late[10:] else "")
    raise AnnotationError(
        "POSE-015",
        f"{len(missing)} of {count} clips are not done yet, of the shards {named}; "
        f"the first is clip {int(missing[0])}",
        file=place.folder,
        mend="run these shards, or leave --merge out to do the rest here",
    )


def _work(
    source: PoseSource,
    todo: Int[np.ndarray, " n"],
    job: PoseJob,
    work: Path,
    ledger: Ledger,
    manner: Manner,
    standing: Standing,
    tell: Callable[[], None],
) -> None:
    items = (source.item(int(clip)) for clip in todo)
    outcomes = manner.engine(
        partial(pose_clip, job, work),
        (item for item in items if item is not None),
        file_of=_video_of,
        workers=manner.workers,
        limits=manner.limits,
    )
    for item, outcome in outcomes:
        if isinstance(outcome, PoselensError):
            if not isinstance(outcome, InputError | UsageError):
                raise outcome
            outcome = _failed(item, outcome)
        outcome["tries"] = int(standing.counts["tries"][item.clip]) + 1
        ledger.write(outcome)
        tell()


def _video_of(item: PoseItem) -> Path:
    return item.video


def _failed(item: PoseItem, fault: PoselensError) -> dict[str, Any]:
    return {
        **record_of(item, stamp_of(item.video)),
        "status": "failed",
        "code": fault.code,
        "message": fault.message,
        **{"frames": 0, "people": 0, "found": 0},
        **dict.fromkeys(NUMBERS),
    }


def notes_of(posed: Posed) -> Sequence[str]:
    """Return a line for each clip that has no joints."""
    return [f"{entry['id']}: {entry['code']} {entry['message']}" for entry in posed.failures]
