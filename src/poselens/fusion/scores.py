"""Bring streams together by clip id, fuse them (Eq. 14), and keep scores on disk.

A row of logits that is NaN in every column means that the stream has nothing to say about the clip.
"""

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.special import log_softmax, logsumexp

from poselens.checkpoint import write_bytes
from poselens.errors import AnnotationError, InputError, UsageError
from poselens.fusion.calibration import ROWS
from poselens.types import ONE_VIEW, Scores

PerStream = Mapping[str, float] | Sequence[float]
"""One number per stream: by stream name, or in the order of the streams."""

PerClass = Mapping[str, Sequence[float]]
"""One number per class, by stream name."""

MAX_SCORE_BYTES = 2 << 30
"""Largest unpacked score file that is read, in bytes: 2 GiB, 1.4 million clips of 400 classes."""

_FIELDS = {"logits": "f", "ids": "U", "labels": "i", "classes": "U", "stream": "U"}


def present(scores: Scores) -> Bool[np.ndarray, " n"]:
    """Return which clips the stream says something about: rows that are not NaN throughout.

    Raises:
        InputError: ``FUS-004`` for a row that is partly finite, or infinite.
    """
    whole: NDArray[np.bool_] = np.isfinite(scores.logits).all(axis=1)
    broken = ~whole & ~np.isnan(scores.logits).all(axis=1)
    if broken.any():
        named = ", ".join(scores.ids[row] for row in np.flatnonzero(broken)[:5])
        raise InputError(
            "FUS-004",
            f"stream {scores.stream!r} has {int(broken.sum())} rows of logits that are not "
            f"finite: {named}",
            mend="compute these scores again",
        )
    return whole


def align(scores: Sequence[Scores]) -> list[Scores]:
    """Return the streams with the same clips in the same order.

    The order is that of the first stream, then of clips that only later streams know. A clip that
    a stream lacks gets a row of NaN there. A label known to one stream serves all. Logits that are
    in this order already are shared, not copied.

    Raises:
        UsageError: ``FUS-001`` without streams or with one name twice, ``FUS-002`` when the
            classes or their order differ.
        AnnotationError: ``FUS-003`` when two streams give one clip different labels, or one
            stream names a clip twice.
        InputError: ``FUS-004`` for logits that are neither finite nor wholly NaN.
    """
    _require_streams(scores)
    labels: dict[str, int] = {}
    first = scores[0]
    for stream in scores:
        present(stream)
        # six streams of 100,000 clips would spend a second on saying the same
        same = stream.ids == first.ids and np.array_equal(stream.labels, first.labels)
        if stream is first or not same:
            _merge_labels(labels, stream)
    ids = list(labels)
    row_of = {clip: row for row, clip in enumerate(ids)}
    merged = np.fromiter(labels.values(), dtype=np.int64, count=len(labels))
    aligned = []
    for stream in scores:
        if list(stream.ids) == ids:
            logits = np.asarray(stream.logits, dtype=np.float32)
        else:
            logits = np.full((len(ids), len(stream.classes)), np.nan, dtype=np.float32)
            logits[[row_of[clip] for clip in stream.ids]] = stream.logits
        aligned.append(
            Scores(logits, ids, merged, list(stream.classes), stream.stream, stream.views)
        )
    return aligned


def _require_streams(scores: Sequence[Scores]) -> None:
    if not scores:
        raise UsageError("FUS-001", "no stream to fuse", mend="give at least one run")
    names = [stream.stream for stream in scores]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            "FUS-001",
            f"stream {twice[0]!r} is given {names.count(twice[0])} times, expected once",
            mend="give each stream one run",
        )
    first = scores[0]
    for other in scores[1:]:
        if list(other.classes) != list(first.classes):
            raise UsageError(
                "FUS-002",
                f"streams {first.stream!r} and {other.stream!r} differ in their classes: "
                f"{_class_difference(first.classes, other.classes)}",
                mend="train the streams on the same data set folder",
            )


def _class_difference(ours: Sequence[str], theirs: Sequence[str]) -> str:
    if len(ours) != len(theirs):
        return f"{len(ours)} and {len(theirs)} classes"
    column = next(k for k, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
    return f"class {column} is {ours[column]!r} and {theirs[column]!r}"


def _merge_labels(labels: dict[str, int], stream: Scores) -> None:
    seen: set[str] = set()
    for clip, label in zip(stream.ids, np.asarray(stream.labels).tolist(), strict=True):
        if clip in seen:
            raise AnnotationError(
                "FUS-003",
                f"stream {stream.stream!r} scores clip {clip!r} twice",
                mend="give every clip an id of its own",
            )
        seen.add(clip)
        known = labels.get(clip, -1)
        if known >= 0 and label >= 0 and known != label:
            raise AnnotationError(
                "FUS-003",
                f"clip {clip!r} is {stream.classes[known]!r} in one stream and "
                f"{stream.classes[label]!r} in {stream.stream!r}",
                mend="evaluate every stream on the same version of the data set",
            )
        labels[clip] = max(known, label)


def per_stream(
    values: PerStream, scores: Sequence[Scores], what: str
) -> Float[np.ndarray, " streams"]:
    """Return one number per stream in the order of ``scores``.

    Raises:
        UsageError: ``FUS-005`` when names or the count do not fit the streams.
    """
    names = [stream.stream for stream in scores]
    if isinstance(values, Mapping):
        missing = [name for name in names if name not in values]
        if missing:
            raise UsageError(
                "FUS-005",
                f"no {what} for stream {missing[0]!r}; found {', '.join(values) or 'none'}",
                mend=f"give a {what} for each of {', '.join(names)}",
            )
        return np.array([values[name] for name in names], dtype=np.float64)
    if len(values) != len(names):
        raise UsageError(
            "FUS-005",
            f"found {len(values)} {what}s for {len(names)} streams",
            mend=f"give a {what} for each of {', '.join(names)}, in this order",
        )
    return np.array(values, dtype=np.float64)


def stacked_log_probabilities(
    aligned: Sequence[Scores], temperatures: Float[np.ndarray, " streams"]
) -> tuple[Float[np.ndarray, "streams n k"], Bool[np.ndarray, "streams n"]]:
    """Return log class probabilities of aligned streams at a temperature, and who is present.

    Rows of absent clips hold zeros, so that they can be summed under a weight of zero.
    """
    mask = np.stack([present(stream) for stream in aligned])
    logits = np.stack([stream.logits for stream in aligned]).astype(np.float64)
    logits[~mask] = 0.0
    log_probabilities = log_softmax(logits / temperatures[:, None, None], axis=-1)
    log_probabilities[~mask] = 0.0
    return log_probabilities, mask


def clip_weights(
    weights: Float[np.ndarray, " streams"], mask: Bool[np.ndarray, "streams n"]
) -> Float[np.ndarray, "streams n"]:
    """Return the weights of each clip: zero where a stream is absent, summing to one.

    Departure: the paper always has every stream. Where all streams that know a clip carry weight
    zero, they share the clip equally, since some answer is asked for.
    """
    shared = weights[:, None] * mask
    total = shared.sum(axis=0)
    orphaned = total <= 0
    shared[:, orphaned] = mask[:, orphaned]
    total = shared.sum(axis=0)
    normalised: NDArray[np.float64] = shared / np.where(total > 0, total, 1.0)
    return normalised


def class_shares(
    weights: Float[np.ndarray, "streams k"], mask: Bool[np.ndarray, "streams n"]
) -> Float[np.ndarray, "streams n k"]:
    """Return :func:`clip_weights` of every class: over the streams of each clip, summing to one."""
    patterns, member = np.unique(mask, axis=1, return_inverse=True)
    table = np.stack([clip_weights(column, patterns) for column in weights.T], axis=-1)
    return table[:, member.ravel()]


def fuse(
    scores: Sequence[Scores],
    weights: PerStream,
    temperatures: PerStream | None = None,
    per_class: PerClass | None = None,
) -> Scores:
    r"""Fuse streams by a weighted sum of class probabilities. Section 3.4, Eq. (14).

    .. math::
        p = \sum_s \lambda_s \, \mathrm{softmax}(z_s / T_s), \qquad K = \arg\max_k p_k

    The logits of the result are :math:`\log p`, whose softmax is :math:`p` again.

    Args:
        scores: One entry per stream; clips are matched by id.
        weights: :math:`\lambda_s \geq 0`; only their ratios matter.
        temperatures: :math:`T_s > 0`; one for every stream when left out.
        per_class: :math:`\lambda_{sk} \geq 0`, by stream name, one per class; they take the place
            of ``weights``.

    Departure: weights are normalised to sum to one, and over the streams present for each clip.
    The paper has one weight per stream; with one per stream and class,
    :math:`p_k \propto \sum_s \lambda_{sk} \, \mathrm{softmax}(z_s / T_s)_k`.

    Raises:
        UsageError: ``FUS-001``, ``FUS-002`` as :func:`align`, ``FUS-005`` for weights or
            temperatures that do not fit the streams or are out of range.
        AnnotationError: ``FUS-003`` as :func:`align`.
        InputError: ``FUS-004`` as :func:`align`, or when no stream knows a clip.
    """
    aligned = align(scores)
    shares = _shares(weights, aligned)
    table = None if per_class is None else _class_table(per_class, aligned)
    scales = (
        np.ones(len(aligned))
        if temperatures is None
        else per_stream(temperatures, aligned, "temperature")
    )
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise UsageError(
            "FUS-005", f"found temperatures {scales.tolist()}, expected numbers above 0"
        )
    first = aligned[0]
    fused = np.empty((len(first.ids), len(first.classes)), dtype=np.float32)
    # a block of clips at a time: all of them in double precision would not fit a small machine
    for start in range(0, len(fused), ROWS):
        part = slice(start, start + ROWS)
        block = [replace(each, logits=each.logits[part], ids=each.ids[part]) for each in aligned]
        fused[part] = _fused_block(block, shares, scales, table)
    views = dict.fromkeys(stream.views for stream in aligned if stream.views != ONE_VIEW)
    return Scores(
        fused, first.ids, first.labels, first.classes, "fused", ", ".join(views) or ONE_VIEW
    )


def _fused_block(
    block: Sequence[Scores],
    shares: Float[np.ndarray, " streams"],
    scales: Float[np.ndarray, " streams"],
    table: Float[np.ndarray, "streams k"] | None,
) -> Float[np.ndarray, "n k"]:
    """Return the log probabilities of a block of aligned clips."""
    log_probabilities, mask = stacked_log_probabilities(block, scales)
    unknown = np.flatnonzero(~mask.any(axis=0))
    if len(unknown):
        raise InputError(
            "FUS-004",
            f"no stream has scores for {len(unknown)} clips, first {block[0].ids[unknown[0]]!r}",
            mend="leave these clips out",
        )
    fused: Float[np.ndarray, "n k"]
    if table is None:
        shared = clip_weights(shares / shares.sum(), mask)[:, :, None]
        fused = logsumexp(log_probabilities, b=shared, axis=0)
        return fused
    fused = logsumexp(log_probabilities, b=class_shares(table, mask), axis=0)
    fused -= logsumexp(fused, axis=1, keepdims=True)
    return fused


def _shares(weights: PerStream, aligned: Sequence[Scores]) -> Float[np.ndarray, " streams"]:
    shares = per_stream(weights, aligned, "weight")
    if not (np.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
        raise UsageError(
            "FUS-005",
            f"found weights {shares.tolist()}, expected numbers from 0 up, not all 0",
        )
    return shares


def _class_table(per_class: PerClass, aligned: Sequence[Scores]) -> Float[np.ndarray, "streams k"]:
    """Return the weights per stream and class, in the order of the streams."""
    classes = len(aligned[0].classes)
    rows = []
    for stream in aligned:
        row = np.asarray(per_class.get(stream.stream, ()), dtype=np.float64)
        if row.shape != (classes,) or not (np.isfinite(row).all() and (row >= 0).all()):
            raise UsageError(
                "FUS-005",
                f"the weights per class of stream {stream.stream!r} are {row.size} numbers, "
                f"expected {classes} numbers from 0 up",
                mend="fit the weights on scores of these classes",
            )
        rows.append(row)
    return np.stack(rows)


def write_scores(path: Path, scores: Scores) -> None:
    """Write scores as one uncompressed ``.npz`` of plain arrays, atomically.

    The same scores give the same bytes. Views are named in it where there are several.

    Raises:
        EnvironmentFault: ``ENV-001`` to ``ENV-003`` when the file cannot be written.
    """
    buffer = io.BytesIO()
    named: dict[str, Any] = {}
    if scores.views != ONE_VIEW:
        named["views"] = np.array(scores.views, dtype=np.str_)
    np.savez(
        buffer,
        logits=np.asarray(scores.logits, dtype=np.float32),
        ids=np.array(list(scores.ids), dtype=np.str_),
        labels=np.asarray(scores.labels, dtype=np.int64),
        classes=np.array(list(scores.classes), dtype=np.str_),
        stream=np.array(scores.stream, dtype=np.str_),
        **named,
    )
    write_bytes(path, buffer.getvalue())


def read_scores(path: Path) -> Scores:
    """Read scores written by :func:`write_scores`; nothing is unpickled.

    Raises:
        InputError: ``FUS-006`` missing, damaged, too large, or arrays that contradict each other.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_SCORE_BYTES:
            raise InputError(
                "FUS-006", f"holds {size} bytes, the limit is {MAX_SCORE_BYTES}", file=path
            )
        with np.load(path, allow_pickle=False) as stored:
            fields = {name: stored[name] for name in _FIELDS}
            named = "views" in stored.files
            fields["views"] = stored["views"] if named else np.array(ONE_VIEW)
    except FileNotFoundError as fault:
        raise InputError("FUS-006", "file is missing", file=path) from fault
    except KeyError as fault:
        raise InputError(
            "FUS-006", f"not a score file: {fault.args[0]}", file=path, mend="evaluate again"
        ) from fault
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as fault:
        raise InputError(
            "FUS-006", f"damaged or not a score file: {fault}", file=path, mend="evaluate again"
        ) from fault
    _require_consistent(fields, path)
    return Scores(
        fields["logits"].astype(np.float32),
        fields["ids"].tolist(),
        fields["labels"].astype(np.int64),
        fields["classes"].tolist(),
        str(fields["stream"]),
        str(fields["views"]),
    )


def _require_consistent(fields: Mapping[str, NDArray[np.generic]], path: Path) -> None:
    for name, kind in {**_FIELDS, "views": "U"}.items():
        if fields[name].dtype.kind != kind:
            raise InputError(
                "FUS-006", f"{name} has type {fields[name].dtype}", file=path, where=name
            )
    rows, columns = fields["ids"].shape, fields["classes"].shape
    fitting = (
        len(rows) == len(columns) == 1
        and fields["labels"].shape == rows
        and fields["logits"].shape == rows + columns
        and fields["stream"].shape == fields["views"].shape == ()
    )
    if not fitting:
        shapes = ", ".join(f"{name} {fields[name].shape}" for name in _FIELDS)
        raise InputError("FUS-006", f"the shapes contradict each other: {shapes}", file=path)
