"""Looks at every clip of a data set once and says what is wrong with it; changes nothing."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from poselens.data.children import Limits, in_children
from poselens.data.duplicates import candidates, worth_a_look
from poselens.data.folder import ClipFolder
from poselens.data.inspect import (
    VERSION,
    ClipTask,
    FileTask,
    Inspected,
    PairsTask,
    compare_pairs,
    inspect_file,
)
from poselens.errors import PoselensError
from poselens.recipes.check_ledger import (
    Columns,
    Ledger,
    as_line,
    clip_key,
    likeness_at,
    pair_key,
)

_LARGE = 64 * 1024 * 1024
_PAIRS_AT_ONCE = 64
_SMALL_LIMITS, _LARGE_LIMITS = Limits(seconds=120), Limits(seconds=3600)

Told = Callable[[int], None]
"""Called with the number of clips that were done."""


@dataclass(frozen=True)
class Copy:
    """Two clips that show one recording.

    Attributes:
        first: Position of one clip.
        second: Position of the other, later in clips.csv.
        apart: How differently they change from frame to frame; 0 for the same bytes.
        same: Whether they have the same bytes.
    """

    first: int
    second: int
    apart: float
    same: bool


def ledger_path(root: Path, *, quick: bool) -> Path:
    """Return where facts of earlier checks lie."""
    digest = hashlib.sha256(repr((VERSION, quick)).encode()).hexdigest()[:16]
    return root / ".cache" / f"check-{digest}.jsonl"


def look_at_clips(
    folder: ClipFolder,
    ledger: Ledger,
    *,
    quick: bool = False,
    workers: int | None = None,
    told: Told = lambda _clips: None,
) -> Columns:
    """Return the facts of every clip; those that the ledger has are not found out again.

    Args:
        folder: The data set.
        ledger: Facts of earlier checks; new ones are added.
        quick: Count frames instead of decoding them.
        workers: Child processes; None for one a core.
        told: Called as clips are done.

    Raises:
        RuntimeError: When a child process has a fault of ours.
    """
    columns = Columns(len(folder))
    looking = _Looking(folder, ledger, columns, told)
    large: list[FileTask] = []
    tasks = looking.not_known(_tasks(folder, quick), large)
    for limits, items in ((_SMALL_LIMITS, tasks), (_LARGE_LIMITS, iter(large))):
        outcomes = in_children(
            inspect_file,
            items,
            file_of=lambda task: task.video or folder.root,
            workers=workers,
            limits=limits,
        )
        for task, outcome in outcomes:
            looking.take(task, outcome)
    return columns


def _tasks(folder: ClipFolder, quick: bool) -> Iterator[FileTask | Inspected]:
    """Yield every video once with all its clips, and every clip without a video."""
    codes, _ = folder.coded("video")
    order = np.argsort(codes, kind="stable")
    ranked = codes[order]
    starts = np.flatnonzero(np.r_[len(ranked) > 0, (ranked[1:] != ranked[:-1]) | (ranked[1:] < 0)])
    spans = folder.spans()
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        clips = order[start:end].tolist()
        try:
            video = folder.video_path(clips[0])
        except PoselensError as fault:
            yield from (Inspected(clip, fault=fault) for clip in clips)
            continue
        yield FileTask(video, tuple(_clip_task(folder, clip, spans) for clip in clips), quick)


def _clip_task(folder: ClipFolder, clip: int, spans: Int[np.ndarray, "2 n"]) -> ClipTask:
    start, end = (None if np.isnan(time) else float(time) for time in spans[:, clip])
    return ClipTask(
        clip, start, end, folder.joint_place(clip, "pixels"), folder.joint_place(clip, "metres")
    )


class _Looking:
    """Sorts what is known from what is not, and writes down what comes back."""

    def __init__(self, folder: ClipFolder, ledger: Ledger, columns: Columns, told: Told) -> None:
        self._folder, self._ledger, self._columns, self._told = folder, ledger, columns, told

    def not_known(
        self, tasks: Iterator[FileTask | Inspected], large: list[FileTask]
    ) -> Iterator[FileTask]:
        """Yield tasks with clips that the ledger lacks; large files are put aside."""
        for task in tasks:
            if isinstance(task, Inspected):
                self._keep(task, 0)
                self._told(1)
                continue
            if self._known(task):
                self._told(len(task.clips))
            elif task.video is not None and _size(task.video) > _LARGE:
                large.append(task)
            else:
                yield task

    def _known(self, task: FileTask) -> bool:
        keys = [clip_key(task, clip) for clip in task.clips]
        if not all(key in self._ledger for key in keys):
            return False
        places = [self._ledger.place(key) for key in keys]
        lines = [self._ledger.read(place) for place in places]
        if all(lines):
            for clip, line, key, place in zip(task.clips, lines, keys, places, strict=True):
                self._columns.take(clip.clip, line, key, place)
        return all(lines)

    def take(self, task: FileTask, outcome: list[Inspected] | PoselensError) -> None:
        """Write down what came of a task."""
        if isinstance(outcome, PoselensError):
            # the file ended its child; tried again by the next check, for memory may suffice then
            for clip in task.clips:
                self._keep(Inspected(clip.clip, fault=outcome), 0)
        else:
            for clip, found in zip(task.clips, outcome, strict=True):
                self._keep(found, clip_key(task, clip))
        self._told(len(task.clips))

    def _keep(self, found: Inspected, key: int) -> None:
        line = as_line(str(self._folder.ids[found.clip]), found)
        self._columns.take(found.clip, line, key, self._ledger.add(key, line))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def find_copies(
    folder: ClipFolder,
    columns: Columns,
    ledger: Ledger,
    *,
    workers: int | None = None,
    told: Told = lambda _pairs: None,
) -> list[Copy]:
    """Return pairs of clips that show one recording, each clip of a heap at least once.

    Args:
        folder: The data set.
        columns: Facts of its clips.
        ledger: Where they lie; pairs that are compared are added.
        workers: Child processes; None for one a core.
        told: Called with the number of pairs that were compared.
    """
    exact = _same_content(folder, columns)
    known = {(copy.first, copy.second) for copy in exact}
    # of clips with the same bytes the first one stands for all
    alone = columns.comparable.copy()
    alone[[copy.second for copy in exact]] = False
    pairs = candidates(columns.bands, alone)
    alike = [
        pair
        for pair in worth_a_look(pairs, lambda clip: likeness_at(ledger, int(columns.place[clip])))
        if pair not in known
    ]
    near = _second_look(folder, columns, ledger, alike, workers, told)
    return sorted([*exact, *near], key=lambda copy: (copy.first, copy.second))


def _same_content(folder: ClipFolder, columns: Columns) -> list[Copy]:
    """Return each clip whose bytes and span are those of an earlier one, with that one."""
    starts, ends = np.nan_to_num(folder.spans(), nan=-1.0)
    order = np.lexsort((np.arange(len(columns)), ends, starts, columns.content))
    order = order[columns.content[order] > 0]
    found, first = [], -1
    for clip in order.tolist():
        same = first >= 0 and (
            columns.content[clip] == columns.content[first]
            and starts[clip] == starts[first]
            and ends[clip] == ends[first]
        )
        if same:
            found.append(Copy(first, clip, 0.0, True))
        else:
            first = clip
    return found


def _second_look(
    folder: ClipFolder,
    columns: Columns,
    ledger: Ledger,
    pairs: Sequence[tuple[int, int]],
    workers: int | None,
    told: Told,
) -> list[Copy]:
    keys = {pair: pair_key(int(columns.key[pair[0]]), int(columns.key[pair[1]])) for pair in pairs}
    lines = {p: ledger.read(ledger.place(key)) for p, key in keys.items() if key in ledger}
    apart = {pair: float(line["apart"]) for pair, line in lines.items() if line}
    told(len(apart))
    new = [pair for pair in pairs if pair not in apart]
    spans = folder.spans()

    def tasks() -> Iterator[PairsTask]:
        for start in range(0, len(new), _PAIRS_AT_ONCE):
            some = tuple(new[start : start + _PAIRS_AT_ONCE])
            clips = {clip for pair in some for clip in pair}
            yield PairsTask(
                some,
                {c: (folder.video_path(c), _clip_task(folder, c, spans)) for c in clips},
            )

    for task, outcome in in_children(
        compare_pairs,
        tasks(),
        file_of=lambda task: folder.root,
        workers=workers,
        limits=_LARGE_LIMITS,
    ):
        # files that were decoded once and now end their child are no copies of anything
        found = [] if isinstance(outcome, PoselensError) else outcome
        distances = {(first, second): value for first, second, value in found}
        for pair in task.pairs:
            apart[pair] = distances.get(pair, float("inf"))
            if not isinstance(outcome, PoselensError):
                ledger.add(keys[pair], {"apart": apart[pair]})
        told(len(task.pairs))
    return [Copy(*pair, value, False) for pair, value in apart.items() if np.isfinite(value)]
