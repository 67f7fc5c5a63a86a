"""SLEAP's files of one video: ``.slp``, analysis HDF5 and CSV.

Sources: https://docs.sleap.ai, "Analysis HDF5" and "CSV"; for ``.slp`` the format notes of sleap-io
(``sleap_io/io/slp.py``): tables ``frames``, ``instances``, ``points`` and ``pred_points``, and the
joints as JSON in an attribute of ``metadata``.

Departure: HDF5 is read with h5py, one package, where sleap-io brings some forty and opens URLs; it
is native code, so a child process reads it.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poselens.data.clip_limits import FRAME_LIMIT
from poselens.data.keypoint_people import (
    JOINT_LIMIT,
    NUMBER_LIMIT,
    Keypoints,
    Seen,
    assemble,
    damaged,
    nobody,
    over_limit,
    require_size,
    require_unique,
    without_doubtful,
)
from poselens.data.keypoint_table import frame_of, numbers_of, require_width, rows_of
from poselens.errors import EnvironmentFault, SkeletonError

_H5PY_FAULTS = (
    OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError,
    OverflowError,
)  # fmt: skip
_ROW_LIMIT = 4_000_000
_JSON_LIMIT = 8 * 1024 * 1024
_DIMS = ("track", "xy", "node", "frame")
_HALF_PIXEL_BEFORE = 1.1


def read_sleap_csv(path: Path, *, min_score: float = 0.0) -> Keypoints:
    """Read one clip from the CSV export: track, frame_idx, then x, y and score of each joint.

    Args:
        path: The CSV file.
        min_score: Joints of a lower score are missing.

    Raises:
        SkeletonError: ``SKEL-003`` over a limit, ``SKEL-010`` nobody, ``SKEL-061`` damaged.
        OSError: When it is missing or not permitted.
    """
    rows = rows_of(path)
    _, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    names = [name.removesuffix(".x") for name in header if name.endswith(".x")]
    wanted = ["track", "frame_idx", *(f"{n}.{axis}" for n in names for axis in ("x", "y", "score"))]
    for name in wanted:
        if header.count(name) != 1:
            raise damaged(path, f"{header.count(name)} columns {name!r}, expected one", "line 1")
    joints = require_unique(names, path, "line 1")
    if not 1 <= len(joints) <= JOINT_LIMIT:
        raise over_limit(path, len(joints), JOINT_LIMIT, "joints", "line 1")
    places = [header.index(name) for name in wanted[2:]]
    seen = []
    for line, fields in rows:
        require_width(fields, len(header), path, line)
        values = numbers_of([fields[place] for place in places], path, line).reshape(-1, 3)
        frame = frame_of(fields[header.index("frame_idx")], path, line)
        track = fields[header.index("track")].strip() or None
        # a joint that a person placed has a position and no score
        scores = np.where(np.isnan(values[:, 2]), 1.0, values[:, 2])
        kept = without_doubtful(values[:, :2], scores, min_score)
        seen.append(Seen(frame, track, kept, f"line {line}"))
    positions, tracked = assemble(seen, path)
    return Keypoints("sleap", {"pixels": positions}, joints, tracked=tracked)


def require_h5py(path: Path) -> None:
    """Refuse HDF5 where the package that reads it is missing.

    Raises:
        EnvironmentFault: ``ENV-005``.
    """
    try:
        import h5py  # noqa: F401  (whether it is there is all that is asked)
    except ImportError as fault:
        raise EnvironmentFault(
            "ENV-005", "h5py, with which HDF5 is read, is not installed", file=path,
            mend="pip install 'poselens[keypoints]', or export the key points as CSV",
        ) from fault  # fmt: skip


def read_hdf5(path: Path, *, min_score: float = 0.0) -> Keypoints:
    """Read one clip from ``.slp`` or from an analysis file.

    To be called in a child process: HDF5 is native code.

    Args:
        path: The HDF5 file.
        min_score: Joints of a lower score are missing; those that a person placed have none.

    Raises:
        SkeletonError: ``SKEL-003`` over a limit, ``SKEL-010`` nobody, ``SKEL-061`` damaged,
            ``SKEL-065`` a table of pandas, ``SKEL-066`` several videos.
        EnvironmentFault: ``ENV-005`` h5py is missing.
    """
    require_h5py(path)
    import h5py

    try:
        with h5py.File(path, "r") as file:
            names = {str(name) for name in file}
            if {"tracks", "node_names"} <= names:
                return _analysis(file, path, min_score)
            if {"frames", "instances", "metadata"} <= names:
                return _slp(file, path, min_score)
    except _H5PY_FAULTS as fault:
        text = f"not HDF5 of SLEAP, or damaged ({type(fault).__name__})"
        raise damaged(path, text) from fault
    if names & {"df_with_missing", "keypoints", "df"}:
        raise SkeletonError(
            "SKEL-065", "a table of pandas, whose head is a pickle and is never opened", file=path,
            mend="give DeepLabCut's CSV: analyze_videos(..., save_as_csv=True)",
        )  # fmt: skip
    raise damaged(path, f"neither .slp nor an analysis file: found {sorted(names)[:6]}")


def _array(file: Any, name: str, path: Path, limit: int = NUMBER_LIMIT) -> NDArray[Any]:
    """Return a dataset whole, after a look at how large it says it is."""
    found = file[name]
    if found.size > limit or found.dtype.itemsize > 256:
        raise over_limit(path, found.size, limit, "entries", name)
    return np.asarray(found[()])


def _texts(file: Any, name: str, path: Path) -> tuple[str, ...]:
    array = _array(file, name, path, limit=4096)
    return tuple(
        each.decode("utf-8", errors="replace") if isinstance(each, bytes) else str(each)
        for each in array.ravel().tolist()
    )


def _analysis(file: Any, path: Path, min_score: float) -> Keypoints:
    joints = require_unique(_texts(file, "node_names", path), path, "node_names")
    tracks = file["tracks"]
    dims = _dims(tracks) or _DIMS
    if tracks.ndim != 4 or sorted(dims) != sorted(_DIMS) or tracks.dtype.kind != "f":
        raise damaged(path, f"{tracks.dtype} {tracks.shape}, expected track, xy, node, frame")
    sizes = dict(zip(dims, tracks.shape, strict=True))
    if sizes["xy"] != 2 or sizes["node"] != len(joints) or 0 in tracks.shape:
        raise damaged(path, f"{tracks.shape} does not fit {len(joints)} joints", "tracks")
    require_size(path, sizes["track"], sizes["frame"], len(joints), 2)
    order = [dims.index(name) for name in ("track", "frame", "node", "xy")]
    positions = np.transpose(_array(file, "tracks", path), order)
    scores = np.ones(positions.shape[:3])
    if "point_scores" in file:
        own = file["point_scores"]
        names = _dims(own) or ("track", "node", "frame")
        if own.ndim != 3 or sorted(names) != ["frame", "node", "track"]:
            raise damaged(path, f"found {own.shape}, expected track, node, frame", "point_scores")
        order = [names.index(name) for name in ("track", "frame", "node")]
        given = np.transpose(_array(file, "point_scores", path), order)
        if given.shape != scores.shape or given.dtype.kind != "f":
            raise damaged(path, f"{given.shape} does not fit the tracks", "point_scores")
        # a joint that a person placed has a position and no score
        scores = np.where(np.isnan(given), 1.0, given)
    kept = without_doubtful(positions, scores, min_score)
    edges: tuple[tuple[str, str], ...] = ()
    if "edge_names" in file:
        flat = _texts(file, "edge_names", path)
        edges = tuple(zip(flat[::2], flat[1::2], strict=False))
    edges = tuple(edge for edge in edges if set(edge) <= set(joints))
    return Keypoints("sleap", {"pixels": np.ascontiguousarray(kept)}, joints, edges)


def _dims(dataset: Any) -> tuple[str, ...] | None:
    text = dataset.attrs.get("dims")
    if text is None:
        return None
    names = json.loads(text)
    is_names = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_names else None


def _slp(file: Any, path: Path, min_score: float) -> Keypoints:
    joints, edges, half = _skeleton(file, path)
    frames = _array(file, "frames", path, _ROW_LIMIT)
    instances = _array(file, "instances", path, _ROW_LIMIT)
    videos = set(frames["video"].tolist())
    if len(videos) > 1:
        raise SkeletonError(
            "SKEL-066", f"key points of {len(videos)} videos, expected one", file=path,
            mend="export an analysis file for each video",
        )  # fmt: skip
    points = {
        0: _array(file, "points", path, _ROW_LIMIT),
        1: _array(file, "pred_points", path, _ROW_LIMIT),
    }
    seen = list(_instances(frames, instances, points, len(joints), path, min_score, half))
    if not seen:
        raise nobody(path)
    positions, tracked = assemble(seen, path)
    return Keypoints("sleap", {"pixels": positions}, joints, edges, tracked=tracked)


def _instances(
    frames: NDArray[Any],
    instances: NDArray[Any],
    points: dict[int, NDArray[Any]],
    joints: int,
    path: Path,
    min_score: float,
    half: float,
) -> Iterator[Seen]:
    """Yield the animals of each frame; what a person placed stands for what was predicted there."""
    for row in frames:
        frame, start, stop = (
            int(row[name]) for name in ("frame_idx", "instance_id_start", "instance_id_end")
        )
        if not 0 <= start <= stop <= len(instances) or frame >= FRAME_LIMIT:
            raise damaged(path, f"frame {frame} has animals {start} to {stop}", "frames")
        own = instances[start:stop]
        placed = {int(one["track"]) for one in own if one["instance_type"] == 0}
        replaced = {int(one["from_predicted"]) for one in own if one["instance_type"] == 0}
        for place, one in enumerate(own, start=start):
            kind, track = int(one["instance_type"]), int(one["track"])
            if kind == 1 and (place in replaced or (track >= 0 and track in placed)):
                continue
            first, last = int(one["point_id_start"]), int(one["point_id_end"])
            where = f"frame {frame} instance {place}"
            if kind not in points or not 0 <= first <= last <= len(points[kind]):
                raise damaged(path, f"points {first} to {last}", where)
            if last - first != joints:
                raise damaged(path, f"{last - first} points, expected {joints}", where)
            part = points[kind][first:last]
            positions = np.stack([part["x"], part["y"]], axis=-1) - half
            scores = part["score"] if kind == 1 else np.ones(joints)
            scores = np.where(part["visible"], scores, 0)
            kept = without_doubtful(positions, scores, min_score)
            yield Seen(frame, track if track >= 0 else None, kept, where)


def _skeleton(file: Any, path: Path) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...], float]:
    """Return the joints, the bones, and by how much positions are too large."""
    attributes = file["metadata"].attrs
    text = attributes["json"]
    if len(text) > _JSON_LIMIT:
        raise over_limit(path, len(text), _JSON_LIMIT, "bytes", "metadata")
    content = json.loads(text)
    skeletons = content["skeletons"]
    if len(skeletons) != 1:
        raise damaged(path, f"{len(skeletons)} skeletons, expected one", "metadata")
    names = [str(node["name"] if isinstance(node, dict) else node) for node in content["nodes"]]
    order = [_whole(node["id"], len(names)) for node in skeletons[0]["nodes"]]
    if not 1 <= len(order) <= JOINT_LIMIT:
        raise over_limit(path, len(order), JOINT_LIMIT, "joints", "metadata")
    joints = require_unique([names[place] for place in order], path, "metadata")
    edges = _bones(skeletons[0].get("links", []), names, joints)
    # before 1.1 the middle of the first pixel was 0.5; here it is 0
    old = float(attributes.get("format_id", 1.0)) < _HALF_PIXEL_BEFORE
    return joints, edges, 0.5 if old else 0.0


def _whole(value: object, limit: int) -> int:
    if type(value) is not int or not 0 <= value < limit:
        raise ValueError(value)
    return value


def _bones(
    links: Sequence[Any], names: Sequence[str], joints: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    """Return the links that are bones; those of the other kind tell which joints mirror."""
    edges = []
    kinds: list[int] = []
    for link in links:
        kind = link.get("type", {})
        if "py/reduce" in kind:
            kinds.append(kind["py/reduce"][1]["py/tuple"][0])
            number = kinds[-1]
        else:
            place = kind.get("py/id", 1)
            number = kinds[place - 1] if 0 < place <= len(kinds) else 1
        ends = tuple(names[_whole(link[end], len(names))] for end in ("source", "target"))
        if number == 1 and set(ends) <= set(joints):
            edges.append((ends[0], ends[1]))
    return tuple(edges)
