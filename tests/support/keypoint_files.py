"""Key-point files as the tools write them, of a body or a mouse in motion.

``IMPORTING`` has, for each tool, a function that writes a small source below a folder and returns
what follows ``poselens data import``, the protocol, and the branch that can train.
"""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from poselens.pose.layouts import get_layout

WIDTH, HEIGHT = 64, 48
MOUSE = ("snout", "left_ear", "right_ear", "tailbase")
MOUSE_BONES = (("snout", "left_ear"), ("snout", "right_ear"), ("snout", "tailbase"))
MOUSE_YAML = """\
joints: [snout, left_ear, right_ear, tailbase]
parents: {left_ear: snout, right_ear: snout, tailbase: snout}
"""


def moving(clip: int, joints: int, *, people: int = 1, frames: int = 14) -> np.ndarray:
    """(m, t, v, 2) pixels: bodies whose second joint rises in even clips and falls in odd ones."""
    draw = np.random.default_rng((3, clip, joints))
    body = draw.uniform([10, 8], [54, 40], (people, 1, joints, 2))
    body = np.repeat(body, frames, axis=1)
    body[:, :, 1, 1] += np.linspace(-6, 6, frames) * (1 if clip % 2 else -1)
    return (body + draw.normal(0, 0.3, body.shape)).clip(1, [WIDTH - 2, HEIGHT - 2])


def _flat(body: np.ndarray, score: float = 0.9) -> list[float]:
    scores = np.where(np.isfinite(body).all(axis=-1), score, 0)
    rows = np.concatenate([np.nan_to_num(body), scores[:, None]], axis=1)
    return [round(float(number), 3) for number in rows.ravel()]


def coco_results(joints: np.ndarray, *, tracked: bool = True) -> list[dict[str, object]]:
    """AlphaPose's list, frame by frame."""
    return [
        {
            "image_id": f"{frame}.jpg",
            "category_id": 1,
            "keypoints": _flat(body),
            "score": 2.5,
            "box": [1.0, 2.0, 30.0, 40.0],
            **({"idx": person + 1} if tracked else {}),
        }
        for frame in range(joints.shape[1])
        for person, body in enumerate(joints[:, frame])
    ]


def coco_dataset(joints: np.ndarray, names: Sequence[str], bones: Sequence[Sequence[str]] = ()):
    """A COCO data set whose pictures are frames, in a jumbled order."""
    frames = joints.shape[1]
    names = list(names)
    return {
        "images": [
            {"id": 7 * frame + 3, "file_name": f"frame_{frame:06d}.png", "width": WIDTH,
             "height": HEIGHT}
            for frame in reversed(range(frames))
        ],
        "annotations": [
            {"id": 100 * frame + person, "image_id": 7 * frame + 3, "category_id": 1,
             "keypoints": _flat(body, 2), "num_keypoints": len(names), "track_id": person}
            for frame in range(frames)
            for person, body in enumerate(joints[:, frame])
        ],
        "categories": [
            {"id": 1, "name": "one", "keypoints": names,
             "skeleton": [[names.index(end) + 1 for end in bone] for bone in bones]}
        ],
    }  # fmt: skip


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_openpose(folder: Path, joints: np.ndarray, *, first: int = 0, name: str = "c") -> Path:
    folder.mkdir(parents=True)
    for frame in range(joints.shape[1]):
        people = [
            {"person_id": [-1], "pose_keypoints_2d": _flat(body), "face_keypoints_2d": [],
             "hand_left_keypoints_2d": [], "pose_keypoints_3d": []}
            for body in joints[:, frame]
        ]  # fmt: skip
        write_json(
            folder / f"{name}_{frame + first:012d}_keypoints.json",
            {"version": 1.3, "people": people},
        )
    return folder


def landmarks(body: np.ndarray) -> list[dict[str, float]]:
    return [
        {"x": float(x) / WIDTH, "y": float(y) / HEIGHT, "z": -0.1, "visibility": 0.98}
        for x, y in body
    ]


def mediapipe_frames(joints: np.ndarray) -> list[list[dict[str, float]]]:
    return [landmarks(body) for body in joints[0]]


def write_mediapipe_csv(path: Path, joints: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        header = [f"{axis}{joint}" for joint in range(33) for axis in ("x", "y", "z", "v")]
        rows.writerow(["frame", *header])
        for frame, body in enumerate(joints[0]):
            numbers = [n for x, y in body for n in (x / WIDTH, y / HEIGHT, 0.1, 0.9)]
            rows.writerow([frame, *(f"{number:.5f}" for number in numbers)])
    return path


def write_deeplabcut(
    path: Path, joints: np.ndarray, names: Sequence[str], *, individuals: Sequence[str] = ()
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    animals = individuals or [""]
    columns = [
        (animal, name, axis) for animal in animals for name in names
        for axis in ("x", "y", "likelihood")
    ]  # fmt: skip
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["scorer"] + ["DLC_resnet50_demo"] * len(columns))
        if individuals:
            rows.writerow(["individuals"] + [column[0] for column in columns])
        rows.writerow(["bodyparts"] + [column[1] for column in columns])
        rows.writerow(["coords"] + [column[2] for column in columns])
        for frame in range(joints.shape[1]):
            numbers = [n for body in joints[:, frame] for x, y in body for n in (x, y, 0.99)]
            rows.writerow([frame, *("" if np.isnan(n) else f"{n:.4f}" for n in numbers)])
    return path


def write_sleap_csv(path: Path, joints: np.ndarray, names: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    order = sorted(names)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        axes = ("score", "x", "y")
        header = [f"{name}.{axis}" for name in order for axis in axes]
        rows.writerow(["track", "frame_idx", "instance.score", *header])
        for frame in range(joints.shape[1]):
            for animal, body in enumerate(joints[:, frame]):
                points = [body[list(names).index(name)] for name in order]
                numbers = [n for x, y in points for n in (0.8, x, y)]
                rows.writerow([f"track_{animal}", frame, 0.9, *(f"{n:.4f}" for n in numbers)])
    return path


def write_analysis(path: Path, joints: np.ndarray, names: Sequence[str]) -> Path:
    """SLEAP's analysis HDF5: tracks (track, xy, node, frame)."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        tracks = np.transpose(joints, (0, 3, 2, 1)).astype(np.float64)
        file.create_dataset("tracks", data=tracks, compression="gzip")
        file["node_names"] = np.array([name.encode() for name in names])
        file["edge_names"] = np.array([[end.encode() for end in bone] for bone in MOUSE_BONES])
        file["track_names"] = np.array([f"track_{n}".encode() for n in range(len(joints))])
        scores = np.full((joints.shape[0], joints.shape[2], joints.shape[1]), 0.7)
        file.create_dataset("point_scores", data=scores)
    return path


def write_slp(
    path: Path, joints: np.ndarray, names: Sequence[str], *, videos: int = 1, version: float = 1.4
) -> Path:
    """SLEAP's project file with predictions, and frame 0 also placed by hand."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    people, frames, count, _ = joints.shape
    point = [("x", "<f8"), ("y", "<f8"), ("visible", "?"), ("complete", "?")]
    instances, predicted, placed, rows = [], [], [], []
    for frame in range(frames):
        first = len(instances)
        for animal, body in enumerate(joints[:, frame]):
            start = len(predicted)
            predicted += [(x, y, bool(np.isfinite(x)), False, 0.9) for x, y in body]
            instances.append(
                (len(instances), 1, frame, 0, animal, -1, 0.9, start, start + count, 0)
            )
            if frame == 0:
                placed += [(x + 1, y + 1, True, True) for x, y in body]
                end = len(placed)
                origin = len(instances) - 1
                instances.append(
                    (len(instances), 0, frame, 0, animal, origin, 0, end - count, end, 0)
                )
        rows.append((frame, frame % videos, frame, first, len(instances)))
    instance = [
        ("instance_id", "<i8"), ("instance_type", "u1"), ("frame_id", "<u8"), ("skeleton", "<u4"),
        ("track", "<i4"), ("from_predicted", "<i8"), ("score", "<f4"), ("point_id_start", "<u8"),
        ("point_id_end", "<u8"), ("tracking_score", "<f4"),
    ]  # fmt: skip
    frame_type = [
        ("frame_id", "<u8"), ("video", "<u4"), ("frame_idx", "<u8"), ("instance_id_start", "<u8"),
        ("instance_id_end", "<u8"),
    ]  # fmt: skip
    # names are listed in another order than the skeleton uses
    listed = list(reversed(names))
    first_kind = {"py/reduce": [{"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [1]}]}
    links = [
        {"edge_insert_idx": n, "key": 0, "source": listed.index(one), "target": listed.index(other),
         "type": first_kind if n == 0 else {"py/id": 1}}
        for n, (one, other) in enumerate(MOUSE_BONES)
        if one in names and other in names
    ]  # fmt: skip
    skeleton = {
        "directed": True, "graph": {"name": "m", "num_edges_inserted": len(links)}, "links": links,
        "multigraph": True, "nodes": [{"id": listed.index(name)} for name in names],
    }  # fmt: skip
    head = {
        "version": "2.0.0", "skeletons": [skeleton],
        "nodes": [{"name": name, "weight": 1.0} for name in listed],
        "videos": [], "tracks": [], "suggestions": [], "negative_anchors": {}, "provenance": {},
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        file["frames"] = np.array(rows, dtype=frame_type)
        file["instances"] = np.array(instances, dtype=instance)
        file["points"] = np.array(placed, dtype=point)
        file["pred_points"] = np.array(predicted, dtype=[*point, ("score", "<f8")])
        group = file.create_group("metadata")
        group.attrs["format_id"] = version
        group.attrs["json"] = np.bytes_(json.dumps(head))
        file["tracks_json"] = [np.bytes_(json.dumps([0, f"t{n}"])) for n in range(people)]
        file["videos_json"] = [
            np.bytes_(json.dumps({"filename": f"{n}.mp4"})) for n in range(videos)
        ]
    return path


def _clips(root: Path, joints: int, write: Callable[[Path, np.ndarray], object]) -> Path:
    """Sixteen clips in the folders of two classes."""
    src = root / "keypoints"
    for clip in range(16):
        write(src / ("falls", "rises")[clip % 2] / f"c{clip:02d}", moving(clip, joints))
    return src


_Importing = Callable[[Path], tuple[list[object], str, str]]


def _importing(
    joints: int, write: Callable[[Path, np.ndarray], object], *more: str, own: bool = False
) -> _Importing:
    def importing(root: Path) -> tuple[list[object], str, str]:
        words: list[object] = ["keypoints", _clips(root, joints, write), *more]
        if own:
            (root / "mouse-4.yaml").write_text(MOUSE_YAML)
            words += ["--layout", root / "mouse-4.yaml"]
        return words, "random", "skeleton"

    return importing


COCO = get_layout("coco-17").joints
IMPORTING: dict[str, _Importing] = {
    "coco": _importing(
        17, lambda at, j: write_json(at.with_suffix(".json"), coco_dataset(j, COCO))
    ),
    "alphapose": _importing(26, lambda at, j: write_json(at.with_suffix(".json"), coco_results(j))),
    "openpose": _importing(25, write_openpose),
    "mediapipe": _importing(
        33, lambda at, j: write_json(at.with_suffix(".json"), mediapipe_frames(j)),
        "--size", f"{WIDTH}x{HEIGHT}",
    ),
    "deeplabcut": _importing(
        4, lambda at, j: write_deeplabcut(at.with_suffix(".csv"), j, MOUSE), own=True
    ),
    "sleap": _importing(4, lambda at, j: write_slp(at.with_suffix(".slp"), j, MOUSE), own=True),
}  # fmt: skip
importing = list(IMPORTING.values())
