"""Files of annotation and key-point tools, damaged: refused in our own words, or sound."""

from collections.abc import Callable, Mapping
from pathlib import Path

import boris_files as boris
import elan_files as elan
import keypoint_files as tools
import numpy as np
import pytest
from mutate import mutations, note, survive, wanted

from poselens.data.boris import read_boris
from poselens.data.csv_clips import import_csv
from poselens.data.elan import read_elan
from poselens.data.importing import ImportReport
from poselens.data.keypoints import KeypointJob, read_keypoints, read_many, skeletons_of
from poselens.errors import PoselensError
from poselens.pose.declared import layout_from
from poselens.pose.layouts import declare_layout
from poselens.types import Skeleton

SIZE = (tools.HEIGHT, tools.WIDTH)
COCO = tools.COCO


def bodies(clip: int, joints: int, people: int = 1) -> np.ndarray:
    """A few frames with a joint that is missing."""
    whole = tools.moving(clip, joints, people=people, frames=3 + clip)
    whole[0, 1, 2] = np.nan
    return whole


def sound_joints(found: object) -> None:
    assert isinstance(found, Mapping)
    for skeleton in found.values():
        assert isinstance(skeleton, Skeleton)
        assert not np.isinf(skeleton.positions).any()
        assert np.nanmax(np.abs(skeleton.positions)) <= 1e6
        missing = np.isnan(skeleton.positions)
        assert (missing.all(axis=-1) == missing.any(axis=-1)).all()
        assert not missing.all()


def coco(folder: Path) -> list[Path]:
    return [
        tools.write_json(folder / "1.json", tools.coco_results(bodies(0, 17, 2))),
        tools.write_json(folder / "2.json", tools.coco_dataset(bodies(1, 17), COCO)),
        tools.write_json(folder / "3.json", tools.coco_results(bodies(1, 26), tracked=False)),
    ]


def mediapipe(folder: Path) -> list[Path]:
    frames = tools.mediapipe_frames(np.nan_to_num(bodies(0, 33)))
    named = {"frames": [{"frame": n, "pose_landmarks": each} for n, each in enumerate(frames)]}
    return [tools.write_json(folder / "1.json", frames), tools.write_json(folder / "2.json", named)]


def mediapipe_csv(folder: Path) -> list[Path]:
    return [tools.write_mediapipe_csv(folder / f"{n}.csv", bodies(n, 33)) for n in range(2)]


def deeplabcut(folder: Path) -> list[Path]:
    several = ("m1", "m2")
    return [
        tools.write_deeplabcut(folder / "1.csv", bodies(0, 17), COCO),
        tools.write_deeplabcut(folder / "2.csv", bodies(1, 17, 2), COCO, individuals=several),
    ]


def sleap_csv(folder: Path) -> list[Path]:
    return [tools.write_sleap_csv(folder / f"{n}.csv", bodies(n, 17, 2), COCO) for n in range(2)]


@pytest.mark.parametrize(
    ("suffix", "tool", "write"),
    [
        (".json", "coco", coco),
        (".json", "mediapipe", mediapipe),
        (".csv", "mediapipe", mediapipe_csv),
        (".csv", "deeplabcut", deeplabcut),
        (".csv", "sleap", sleap_csv),
    ],
)
def test_damaged_key_points(
    tmp_path: Path, suffix: str, tool: str, write: Callable[[Path], list[Path]]
) -> None:
    tally = survive(
        lambda path: read_keypoints(path, tool=tool, size=SIZE),
        [path.read_bytes() for path in write(tmp_path / "good")],
        tmp_path / f"x{suffix}",
        text=True,
        sound=sound_joints,
    )
    assert tally.refused
    assert tally.accepted


def test_damaged_key_points_whose_tool_is_told_by_content(tmp_path: Path) -> None:
    sources = [path.read_bytes() for path in (*coco(tmp_path / "c"), *mediapipe(tmp_path / "m"))]
    tally = survive(
        lambda path: read_keypoints(path, size=SIZE), sources, tmp_path / "x.json", text=True,
        sound=sound_joints,
    )  # fmt: skip
    assert tally.accepted
    assert "SKEL-060" in tally.refused


def test_a_damaged_frame_of_openpose(tmp_path: Path) -> None:
    folder = tools.write_openpose(tmp_path / "clip", bodies(0, 25, 2))
    file = folder / "c_000000000001_keypoints.json"
    good = file.read_bytes()

    def read(path: Path) -> object:
        file.write_bytes(path.read_bytes())
        try:
            return read_keypoints(folder)
        except PoselensError as fault:
            # the folder is the clip, the frame is what is damaged
            if fault.file in (str(folder), str(file)):
                fault.file = str(path)
            raise

    tally = survive(read, [good], tmp_path / "x.json", text=True, sound=sound_joints)
    assert tally.refused
    assert tally.accepted


@pytest.mark.parametrize("kind", [".slp", ".h5"])
def test_damaged_hdf5_in_a_child(tmp_path: Path, kind: str) -> None:
    bones = [list(bone) for bone in tools.MOUSE_BONES]
    content = {"joints": list(tools.MOUSE), "bones": bones, "centre": "snout"}
    declare_layout(layout_from("mouse-4", content))
    write = tools.write_slp if kind == ".slp" else tools.write_analysis
    good = [
        write(tmp_path / f"good{n}{kind}", bodies(n, 4, n + 1), tools.MOUSE).read_bytes()
        for n in range(2)
    ]
    jobs = []
    for number, (_, damaged) in enumerate(mutations(good, wanted(300), text=False)):
        path = tmp_path / f"x{number}{kind}"
        path.write_bytes(damaged)
        jobs.append(KeypointJob(path))
    codes: dict[str, int] = {}
    for job, outcome in read_many(jobs):
        try:
            found = outcome if isinstance(outcome, PoselensError) else None
            if not isinstance(outcome, PoselensError):
                sound_joints(skeletons_of(outcome, job.path))
        except PoselensError as fault:
            found = fault
        codes[found.code if found else "accepted"] = (
            codes.get(found.code if found else "accepted", 0) + 1
        )
        if found is not None:
            assert found.file
            assert job.path.name in found.file
            assert found.mend
    note({"tried": len(jobs), "outcomes": codes})
    assert sum(codes.values()) == len(jobs)
    assert codes["SKEL-061"]
    assert codes["accepted"]


def sound_events(found: object) -> None:
    assert isinstance(found, list)
    for event in found:
        assert 0 <= event.start <= event.stop
        assert np.isfinite([event.start, event.stop]).all()


def boris_sources() -> dict[str, list[str]]:
    rows = [
        boris.aggregated_row("o1", "a.mp4", "No focal subject", "s", 1.8, 8.125),
        boris.aggregated_row("o1", "a.mp4", "ann", "p", 3, 3),
        boris.aggregated_row("o2", "b.mp4", "ann", "s", 10, 12),
    ]
    single = boris.single_events(
        "a.mp4", [(1, "ann", "s", "START"), (2, "ann", "s", "STOP"), (3, "", "p", "POINT")]
    )
    two = boris.observation(
        {"a.mp4": 10.0, "b.mp4": 20.0},
        [[1, "ann", "s", "", ""], [2.5, "ann", "s", "", ""], [15, "", "p", "", ""]],
    )
    return {
        "table": [boris.aggregated(rows), boris.aggregated(rows, ";"), single],
        "project": [boris.project({"one": two, "two": two})],
    }


@pytest.mark.parametrize("form", ["table", "project"])
def test_damaged_files_of_boris(tmp_path: Path, form: str) -> None:
    tally = survive(
        lambda path: read_boris(path, ImportReport()),
        [text.encode() for text in boris_sources()[form]],
        tmp_path / "x.boris",
        text=True,
        sound=sound_events,
    )
    assert tally.refused
    assert tally.accepted


def sound_annotations(found: object) -> None:
    for one in found.annotations:  # type: ignore[attr-defined]
        assert np.isfinite([one.start, one.end]).all()
        assert min(one.start, one.end) >= 0
        assert one.tier in found.tiers  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", ["document", "text"])
def test_damaged_files_of_elan(tmp_path: Path, form: str) -> None:
    signs = [(0.5, 1.25, "hello"), (2.0, 3.5, "thank you")]
    sources = {
        "document": [
            elan.eaf({"sign": signs, "gaze": signs}, ["a.mp4"], referring={"m": [(0, "x")]})
        ],
        "text": [elan.text_rows("sign", signs * 3)],
    }
    tally = survive(
        read_elan,
        [text.encode() for text in sources[form]],
        tmp_path / "x.eaf",
        text=True,
        sound=sound_annotations,
    )
    assert tally.refused
    assert tally.accepted


def test_damaged_lists_of_clips(tmp_path: Path) -> None:
    good = "video,label,subject,start,end\n" + "".join(
        f"v{n}.mp4,{'ab'[n % 2]},s{n},{n},0:00:{n + 1:02d}.5\n" for n in range(6)
    )

    def read(path: Path) -> object:
        try:
            return import_csv(path, tmp_path / "out")
        except PoselensError as fault:
            # the table was read; that there are no videos is its end
            if fault.code == "DATA-012":
                return None
            if fault.code == "DATA-014":
                fault.file, fault.mend = str(path), fault.mend or "-"
            raise

    sources = [good.encode(), good.replace(",", ";").encode()]
    tally = survive(read, sources, tmp_path / "x.csv", text=True, sound=lambda found: None)
    assert tally.refused
    assert tally.accepted
