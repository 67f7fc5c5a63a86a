"""The importer of NTU RGB+D: files found, clips left out, and what the report says."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ntu_files import FIRST_ID, Tracked, actor, importing, in_picture, recording, write_recording

from poselens.data.folder import open_folder
from poselens.data.ntu import import_ntu60, import_ntu120
from poselens.data.ntu_protocols import NTU60, official_missing
from poselens.errors import AnnotationError, UsageError


def codes(out: Path) -> dict[str, str]:
    report = json.loads((out / "import_report.json").read_text())
    return {Path(entry["file"]).name: entry["code"] for entry in report["list"]}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only: copy it to spoil it."""
    root = tmp_path_factory.mktemp("ntu")
    importing(root)
    return root


def test_skeletons_and_videos(source: Path, tmp_path: Path) -> None:
    report = import_ntu60(source, tmp_path / "out", workers=1)
    assert (report.imported, report.skipped) == (72, [])
    folder = open_folder(tmp_path / "out")
    assert folder.info.name == "NTU RGB+D 60 (72 of 56,578 clips)"
    assert report.notes[0] == "not complete: 72 of 56,578 clips of NTU RGB+D 60"
    assert report.counts["ntu60-xsub train"] == 48
    listed = sum(name.endswith("A026") for name in official_missing(NTU60))
    assert report.counts["missing of hop"] == 948 - listed - 12
    assert folder.ids.tolist() == sorted(folder.ids.tolist())
    for protocol in ("ntu60-xsub", "ntu60-xview"):
        for part in ("train", "val", "test"):
            at = folder.indices(protocol, part)
            assert len(at) >= 8
            assert len(set(folder.labels[at])) >= 2
    clip = folder.index_of("S001C001P001R001A059")
    record, path = folder.record(clip), folder.video_path(clip)
    assert (record.width, record.height, record.session) == (96, 54, "1")
    assert path is not None
    assert path.name == "S001C001P001R001A059.avi"
    metres, pixels = folder.skeleton(clip, "metres"), folder.skeleton(clip, "pixels")
    assert metres is not None
    assert pixels is not None
    assert metres.positions.shape == (2, 24, 25, 3)
    given = {tuple(body.joints_metres[0, 0].round(4)): body.joints_metres
             for body in recording("S001C001P001R001A059", people=2)}  # fmt: skip
    for person in range(2):
        one = given[tuple(metres.positions[person, 0, 0].astype(float).round(4))]
        np.testing.assert_allclose(metres.positions[person], one, rtol=1e-5, atol=1e-6)
        expected = in_picture(one) * (96 / 1920, 54 / 1080)
        np.testing.assert_allclose(pixels.positions[person], expected, rtol=1e-4)


def test_what_is_left_out_and_why(tmp_path: Path) -> None:
    src = tmp_path / "src"
    good = "S001C001P001R001A001", "S001C001P002R001A002", "S001C002P003R002A001"
    for name in good:
        write_recording(src, name, frames=8)
    extra = src / "nturgb+d_rgb"
    extra.mkdir()
    (extra / "S001C001P009R001A001_rgb.avi").write_bytes(b"RIFF")
    (extra / "notes.txt").write_text("")
    (extra / f"{good[0]}_ir.avi").write_bytes(b"RIFF")
    for name in ("S001C002P005R002A008", "S001C001P001R001A061"):
        write_recording(src, name, frames=8)
    write_recording(src, "S001C001P001R001A002", frames=8, bodies=[])
    write_recording(
        src, "S001C001P001R001A003", frames=2,
        bodies=[Tracked(FIRST_ID, 0, np.zeros((2, 25, 3)))],
    )  # fmt: skip
    write_recording(
        src, "S001C001P001R001A004", frames=2,
        bodies=[Tracked(FIRST_ID, 0, 1000 * actor(2, seed=1))],
    )  # fmt: skip
    for name, size, frames in (
        ("S001C001P001R001A005", (48, 64), 8),
        ("S001C001P001R001A006", (54, 96), 9),
        ("S001C001P001R001A007", (54, 96), 8),
    ):
        write_recording(src, name, frames=frames, size=size)
    write_recording(src, "S001C001P001R001A006", frames=8)
    (extra / "S001C001P001R001A007_rgb.avi").write_bytes(b"<html>not found</html>" * 20)
    again = src / "copy"
    again.mkdir()
    shutil.copy(src / "nturgb+d_skeletons" / f"{good[0]}.skeleton", again)
    report = import_ntu60(src, tmp_path / "out", workers=1)
    assert codes(tmp_path / "out") == {
        f"{good[0]}.skeleton": "DATA-007",
        "S001C002P005R002A008.skeleton": "DATA-030",
        "S001C001P001R001A061.skeleton": "DATA-021",
        "S001C001P001R001A002.skeleton": "SKEL-010",
        "S001C001P001R001A003.skeleton": "SKEL-010",
        "S001C001P001R001A004.skeleton": "SKEL-055",
        "S001C001P001R001A005_rgb.avi": "DATA-022",
        "S001C001P001R001A006_rgb.avi": "SKEL-009",
        "S001C001P001R001A007_rgb.avi": "VID-003",
    }
    messages = {entry.code: entry.message for entry in report.skipped}
    assert messages["DATA-022"].startswith("64x48 pixels: not the shape of 1920x1080")
    assert messages["SKEL-009"] == "the video has 9 frames, the skeleton 8"
    assert messages["SKEL-055"].endswith("m from the sensor, which sees 8 m: millimetres?")
    assert messages["DATA-030"] == "listed as a recording without a usable skeleton"
    assert messages["DATA-021"] == "the name is of no recording of NTU RGB+D 60"
    assert "the recording is there twice, first as" in messages["DATA-007"]
    assert {name: report.counts[name] for name in list(report.counts)[:6]} == {
        "skeleton files": 11,
        "of them listed as unusable": 1,
        "videos": 4,
        "recordings without a video": 6,
        "videos without a skeleton": 1,
        "other files": 2,
    }
    assert report.notes[-2:] == [
        "6 recordings have no video, and are for skeleton streams only",
        "1 videos have no skeleton, and are left out",
    ]
    folder = open_folder(tmp_path / "out")
    assert folder.ids.tolist() == list(good)
    assert folder.video_path(0) is None
    assert folder.record(0).width == 1920


def test_videos_elsewhere_links_and_a_list_of_ones_own(tmp_path: Path) -> None:
    names = ["S018C001P045R001A120", "S018C001P046R001A120", "S019C001P051R001A061"]
    for name in names:
        write_recording(tmp_path / "made", name, frames=6, size=(54, 96))
    skeletons, videos = (tmp_path / "made" / f"nturgb+d_{what}" for what in ("skeletons", "rgb"))
    listed = tmp_path / "missing.txt"
    listed.write_text("One recording\n\nS018C001P046R001A120\n")
    done: list[tuple[int, int]] = []
    report = import_ntu120(
        skeletons, tmp_path / "out", videos=videos, missing=listed, link="symbolic", workers=1,
        told=lambda at, of: done.append((at, of)),
    )  # fmt: skip
    assert codes(tmp_path / "out") == {"S018C001P046R001A120.skeleton": "DATA-030"}
    assert done == [(1, 2), (2, 2)]
    assert report.notes[0].startswith("another list of recordings was left out (1 names)")
    folder = open_folder(tmp_path / "out")
    path = folder.video_path(0)
    assert path is not None
    assert path.is_symlink()
    assert folder.parts("ntu120-xsub").tolist() == ["train", "test"]
    assert folder.parts("ntu120-xset").tolist() == ["train", "test"]
    assert folder.info.name == "NTU RGB+D 120 (2 of 113,945 clips)"


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the source does not exist"):
        import_ntu60(tmp_path / "none", tmp_path / "out")
    (tmp_path / "src").mkdir()
    with pytest.raises(UsageError, match="the source does not exist"):
        import_ntu60(tmp_path / "src", tmp_path / "out", videos=tmp_path / "none")
    with pytest.raises(AnnotationError, match="nothing to import"):
        import_ntu60(tmp_path / "src", tmp_path / "out")
    with pytest.raises(AnnotationError, match=r"gone.txt: no such file"):
        import_ntu60(tmp_path / "src", tmp_path / "out", missing=tmp_path / "gone.txt")
    write_recording(tmp_path / "src", "S001C001P001R001A001", frames=3, bodies=[])
    with pytest.raises(
        AnnotationError, match="nothing to import; 1 skipped, the first: .* no body"
    ):
        import_ntu60(tmp_path / "src", tmp_path / "out", workers=1)
    assert not (tmp_path / "out").exists()


def test_two_processes_write_what_one_writes(source: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        import_ntu60(source, tmp_path / str(workers), link="hard", workers=workers)
    one, two = (open_folder(tmp_path / str(workers)).fingerprint() for workers in (1, 2))
    assert one == two
