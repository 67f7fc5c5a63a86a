import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from poselens.data.audit import audit
from poselens.data.class_folders import import_class_folders
from poselens.data.csv_clips import import_csv
from poselens.data.folder import open_folder
from poselens.data.nw_ucla import import_nw_ucla
from poselens.data.utd_mhad import CLASSES, import_utd_mhad, project
from poselens.errors import AnnotationError, PoselensError, SkeletonError, UsageError

pytestmark = pytest.mark.usefixtures("fake_video")


def codes(out: Path) -> dict[str, str]:
    report = json.loads((out / "import_report.json").read_text())
    assert report["skipped"] == len(report["list"])
    assert all(entry["message"] for entry in report["list"])
    return {Path(entry["file"]).name: entry["code"] for entry in report["list"]}


@pytest.fixture
def utd(tmp_path: Path) -> Path:
    src = tmp_path / "utd"
    (src / "depth_mp4").mkdir(parents=True)
    names = [f"a{action}_s{subject}_t1" for action in (1, 2) for subject in range(1, 9)]
    names += ["a28_s1_t1", "a3_s1_t1", "a3_s2_t1", "a3_s3_t1"]
    joints = np.random.default_rng(0).random((4 * len(names), 20, 3), dtype=np.float32)
    joints[..., 2] += 2
    joints[0, 3] = 0
    np.savez(
        src / "skeleton.npz", names=np.array(names), lengths=np.full(len(names), 4), xyz=joints
    )
    for name in names:
        (src / "depth_mp4" / f"{name}.mp4").write_text("320x240 4")
    (src / "depth_mp4/a3_s1_t1.mp4").write_text("320x240 9")
    (src / "depth_mp4/a3_s2_t1.mp4").unlink()
    (src / "depth_mp4/a3_s3_t1.mp4").write_text("640x480 4")
    (src / "depth_mp4/a9_s1_t1.mp4").write_text("320x240 4")
    (src / "depth_mp4/notes.txt").write_text("")
    return src


def test_utd_mhad(utd: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = import_utd_mhad(utd, out)
    folder = open_folder(out)
    assert report.imported == len(folder) == 16
    assert codes(out) == {
        "a28_s1_t1": "DATA-021",
        "a3_s1_t1.mp4": "SKEL-009",
        "a3_s2_t1.mp4": "VID-001",
        "a3_s3_t1.mp4": "DATA-022",
        "a9_s1_t1.mp4": "DATA-022",
        "notes.txt": "DATA-021",
    }
    subjects = folder.column("subject")
    assert set(subjects[folder.indices("utd-mhad", "train")]) == set("135")
    assert set(subjects[folder.indices("utd-mhad", "val")]) == {"7"}
    assert set(subjects[folder.indices("utd-mhad", "test")]) == set("2468")
    metres, pixels = folder.skeleton(0, "metres"), folder.skeleton(0, "pixels")
    assert metres is not None
    assert pixels is not None
    x, y, depth = metres.positions[0, 2, 5]
    np.testing.assert_allclose(
        pixels.positions[0, 2, 5],
        [160 + 285.63 * x / depth, 120 - 285.63 * y / depth],
        rtol=1e-5,
    )
    assert np.isnan(metres.positions[0, 0, 3]).all()
    assert np.isnan(pixels.positions[0, 0, 3]).all()
    video = folder.video_path(0)
    assert video is not None
    assert video.read_text() == "320x240 4"
    assert not video.is_symlink()


def test_projection_of_known_points() -> None:
    joints = np.array([[[0, 0, 2], [1, 0, 2], [0, 1, 2], [0.5, 0.5, -1], [0, 0, 0]]])
    expected = [[160, 120], [302.815, 120], [160, -22.815], [np.nan] * 2, [np.nan] * 2]
    np.testing.assert_allclose(project(joints)[0], expected, rtol=1e-6)


def test_utd_mhad_source_that_is_damaged(utd: Path, tmp_path: Path) -> None:
    content = dict(np.load(utd / "skeleton.npz"))
    for change, message in (
        ({"xyz": content["xyz"][:-1]}, "lengths add up to 80, but there are 79 rows"),
        ({"names": np.full(20, "a1_s1_t1")}, "a name is there twice"),
        ({"lengths": content["lengths"][:-1]}, "names and lengths do not match"),
    ):
        np.savez(utd / "skeleton.npz", **(content | change))
        with pytest.raises(AnnotationError, match=message):
            import_utd_mhad(utd, tmp_path / "out")
    np.savez(utd / "skeleton.npz", **(content | {"xyz": content["xyz"][:, :19]}))
    with pytest.raises(SkeletonError, match=r"expected \(rows, 20, 3\)"):
        import_utd_mhad(utd, tmp_path / "out")
    (utd / "skeleton.npz").unlink()
    with pytest.raises(AnnotationError, match=r"skeleton.npz: the file is missing"):
        import_utd_mhad(utd, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("link", ["hard", "symbolic"])
def test_videos_can_be_linked(utd: Path, tmp_path: Path, link: str) -> None:
    import_utd_mhad(utd, tmp_path / "out", link=link)  # type: ignore[arg-type]
    video = open_folder(tmp_path / "out").video_path(0)
    assert video is not None
    assert video.samefile(utd / "depth_mp4/a1_s1_t1.mp4")
    assert video.is_symlink() == (link == "symbolic")


def write_ucla(folder: Path, name: str, **change: object) -> None:
    content = {"file_name": name, "skeletons": np.ones((3, 20, 3)).tolist(), "label": 1} | change
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_nw_ucla(tmp_path: Path) -> None:
    src = tmp_path / "ucla"
    (src / "all_sqe").mkdir(parents=True)
    for subject in (1, 6, 9, 10):
        for view in (1, 2, 3):
            write_ucla(src / "all_sqe", f"a01_s{subject:02}_e00_v0{view}")
    write_ucla(src / "all_sqe", "a12_s01_e05_v01", skeletons=np.ones((1, 20, 3)).tolist(), label=10)
    write_ucla(src / "all_sqe", "a01_s01_e07_v01", skeletons=np.ones((3, 19, 3)).tolist())
    write_ucla(src / "all_sqe", "a01_s01_e08_v01", label=11)
    write_ucla(src / "all_sqe", "a01_s01_e09_v01", skeletons=np.zeros((3, 20, 3)).tolist())
    (src / "all_sqe/a01_s01_e10_v01.json").write_text("{")
    (src / "all_sqe/readme.txt").write_text("")
    report = import_nw_ucla(src, tmp_path / "out")
    assert codes(tmp_path / "out") == {
        "a01_s01_e07_v01.json": "SKEL-004",
        "a01_s01_e08_v01.json": "DATA-006",
        "a01_s01_e09_v01.json": "SKEL-010",
        "a01_s01_e10_v01.json": "SKEL-002",
        "readme.txt": "DATA-021",
    }
    folder = open_folder(tmp_path / "out")
    assert report.imported == len(folder) == 13
    part = {}
    for name in ("train", "val", "test"):
        records = [folder.record(i) for i in folder.indices("nw-ucla", name)]
        part[name] = {(record.subject, record.view) for record in records}
    assert part["train"] == {("1", "1"), ("1", "2"), ("10", "1"), ("10", "2")}
    assert part["val"] == {("6", "1"), ("6", "2"), ("9", "1"), ("9", "2")}
    assert part["test"] == {(subject, "3") for subject in ("1", "6", "9", "10")}
    for fold, train, test in (("nw-ucla-1to2", "1", "2"), ("nw-ucla-2to1", "2", "1")):
        split = folder.parts(fold)
        views = folder.column("view")
        assert set(split[views == "3"]) == {""}
        assert set(split[views == test]) == {"test"}
        assert {(folder.record(i).subject, split[i]) for i in np.flatnonzero(views == train)} == {
            ("1", "train"),
            ("10", "train"),
            ("6", "val"),
            ("9", "val"),
        }
    last = folder.index_of("a12_s01_e05_v01")
    assert folder.info.classes[folder.labels[last]] == "carry"
    skeleton = folder.skeleton(last, "metres")
    assert skeleton is not None
    assert skeleton.positions.shape == (1, 1, 20, 3)
    import_nw_ucla(src / "all_sqe", tmp_path / "again")
    assert open_folder(tmp_path / "again").fingerprint() == folder.fingerprint()


def test_nothing_to_import(tmp_path: Path) -> None:
    (tmp_path / "src/x").mkdir(parents=True)
    (tmp_path / "src/x/notes.txt").write_text("")
    for importer in (import_nw_ucla, import_class_folders):
        with pytest.raises(
            AnnotationError, match=r"nothing to import; .* skipped, the first"
        ) as caught:
            importer(tmp_path / "src", tmp_path / "out")
        assert caught.value.code == "DATA-012"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("importer", [import_nw_ucla, import_utd_mhad, import_class_folders])
def test_wrong_folders(tmp_path: Path, importer) -> None:
    with pytest.raises(UsageError, match="the source does not exist"):
        importer(tmp_path / "none", tmp_path / "out")
    (tmp_path / "src").mkdir()
    with pytest.raises(UsageError, match="the output lies inside the source"):
        importer(tmp_path / "src", tmp_path / "src/out")
    (tmp_path / "used").mkdir()
    (tmp_path / "used/x").write_text("")
    with pytest.raises(UsageError, match="the output exists already"):
        importer(tmp_path / "src", tmp_path / "used")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    src = tmp_path / "videos"
    for name in ("clap", "wave hand"):
        (src / name / "camera").mkdir(parents=True)
        for take in range(10):
            (src / name / "camera" / f"{take}.mp4").write_text("640x480 30")
    return src


def test_class_folders(videos: Path, tmp_path: Path) -> None:
    (videos / "clap/camera/0.MOV").write_text("640x480 30")
    (videos / "clap/broken.mp4").write_text("<html>")
    (videos / "clap/notes.txt").write_text("")
    (videos / "clap/._0.mp4").write_text("")
    (videos / "stray.mp4").write_text("640x480 30")
    (videos / "empty").mkdir()
    (videos / "loop").symlink_to(videos)
    (videos / "clap/two\nlines.mp4").write_text("640x480 30")
    out = tmp_path / "out"
    report = import_class_folders(videos, out, seed=5)
    assert codes(out) == {
        "broken.mp4": "VID-003",
        "notes.txt": "DATA-021",
        "._0.mp4": "DATA-021",
        "stray.mp4": "DATA-021",
        "empty": "DATA-012",
        "loop": "DATA-021",
    }
    folder = open_folder(out)
    assert report.imported == len(folder) == 22
    assert folder.info.classes == ["clap", "wave hand"]
    assert "random split" in folder.info.protocols["random"].description
    ids = set(folder.ids.tolist())
    assert {"clap/camera/0", "clap/camera/0~2", "clap/two_lines", "wave hand/camera/9"} <= ids
    assert [len(folder.indices("random", part)) for part in ("train", "val", "test")] == [14, 4, 4]
    for i in range(len(folder)):
        path = folder.video_path(i)
        assert path is not None
        assert path.is_file()
        record = folder.record(i)
        assert (record.width, record.height, record.source) == (640, 480, record.id)
    again = tmp_path / "again"
    import_class_folders(videos, again, seed=5)
    assert open_folder(again).fingerprint() == folder.fingerprint()


def table(videos: Path, text: str) -> Path:
    path = videos / "list.csv"
    path.write_text(text)
    return path


def test_csv_with_splits(videos: Path, tmp_path: Path) -> None:
    src = table(
        videos,
        "video,label,start,end,subject,split\n"
        "clap/camera/0.mp4,clap,0,1.5,ann,train\n"
        "clap/camera/0.mp4,wave,1.5,3,ann,train\n"
        "clap/camera/gone.mp4,wave,,,bob,train\n"
        f"{videos}/clap/camera/1.mp4,wave,,,bob,test\n"
        "clap/camera/2.mp4,wave,,,bob,\n",
    )
    report = import_csv(src, tmp_path / "out")
    assert [(entry.code, entry.file) for entry in report.skipped] == [("VID-001", f"{src}:line 4")]
    folder = open_folder(tmp_path / "out")
    assert folder.ids.tolist() == [
        "clap/camera/0", "clap/camera/0~2", "clap/camera/1", "clap/camera/2",
    ]  # fmt: skip
    assert folder.indices("given", "train").tolist() == [0, 1]
    assert folder.indices("given", "test").tolist() == [2]
    second = folder.record(1)
    assert (second.start_s, second.end_s, second.source) == (1.5, 3.0, "clap/camera/0.mp4")
    assert second.video == folder.record(0).video == "videos/clap/camera/0.mp4"


def test_csv_without_splits_parts_by_subject(videos: Path, tmp_path: Path) -> None:
    rows = [
        f"{name}/camera/{take}.mp4,{name},s{take % 5}\n"
        for name in ("clap", "wave hand")
        for take in range(10)
    ]
    import_csv(table(videos, "video,label,subject\n" + "".join(rows)), tmp_path / "out", seed=1)
    folder = open_folder(tmp_path / "out")
    subjects = folder.column("subject")
    parts = [set(subjects[folder.indices("random", part)]) for part in ("train", "val", "test")]
    assert [len(part) for part in parts] == [3, 1, 1]
    assert set.union(*parts) == {f"s{n}" for n in range(5)}
    assert folder.info.protocols["random"].group == "subject"


def test_csv_keeps_people_and_recordings_whole_together(videos: Path, tmp_path: Path) -> None:
    # two people in each recording of a pair; nobody else is in it
    rows = [f"clap/camera/{n}.mp4,clap,s{n // 2},r{n // 4}\n" for n in range(10)]
    rows += [f"wave hand/camera/{n}.mp4,wave hand,,r{n // 4}\n" for n in range(10)]
    text = "video,label,subject,source\n" + "".join(rows)
    import_csv(table(videos, text), tmp_path / "out")
    folder = open_folder(tmp_path / "out")
    assert audit(folder, "random").leaks == []
    assert folder.info.protocols["random"].shares == {}


def test_csv_of_one_recording_is_parted_by_people_and_says_so(videos: Path, tmp_path: Path) -> None:
    rows = [f"clap/camera/{n}.mp4,clap,s{n},day\n" for n in range(10)]
    import_csv(table(videos, "video,label,subject,source\n" + "".join(rows)), tmp_path / "out")
    found = audit(open_folder(tmp_path / "out"), "random")
    assert {(leak.kind, leak.severe) for leak in found.leaks} == {("source", False)}
    # who is in a clip is not known of every clip: then recordings are kept whole, and ann is seen
    rows = [f"clap/camera/{n}.mp4,clap,{'ann' if n else ''},r{n // 2}\n" for n in range(10)]
    import_csv(table(videos, "video,label,subject,source\n" + "".join(rows)), tmp_path / "ann")
    assert [leak.kind for leak in audit(open_folder(tmp_path / "ann"), "random").severe] == [
        "subject"
    ] * 2


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            "video,labl\n",
            "DATA-004",
            "line 1: unknown or repeated column 'labl'; did you mean 'lab",
        ),
        ("video\n", "DATA-004", "line 1: column 'label' is missing"),
        ("video,label\na.mp4,x\nb.mp4\n", "DATA-005", "line 3: found 1 fields, expected 2"),
        ("video,label\na.mp4,\n", "DATA-005", "line 2: label is empty"),
        ("video,label,start\na.mp4,x,1:30\n", "DATA-005", "line 2: start is '1:30', expected sec"),
        ("video,label,start,end\na.mp4,x,3,2\n", "DATA-005", "line 2: end_s is 2.0"),
        ("video,label,split\na.mp4,x,dev\n", "DATA-008", "line 2: split is 'dev', expected train"),
        (
            "video,label,id\na.mp4,x,1\nb.mp4,x,1\n",
            "DATA-007",
            "'1' is there twice, in lines 2 and 3",
        ),
        ("video,label\n../a.mp4,x\n", "DATA-009", "line 2: video '../a.mp4' is outside"),
        ("video,label\n/etc/passwd,x\n", "DATA-009", "line 2: video '/etc/passwd' is outside"),
        ("video,label\n", "DATA-012", "nothing to import"),
        ('video,label\n"a"b,x\n', "DATA-005", "line 2: not UTF-8 CSV text"),
    ],
)
def test_csv_refusals(videos: Path, tmp_path: Path, text: str, code: str, message: str) -> None:
    with pytest.raises(PoselensError, match=message) as caught:
        import_csv(table(videos, text), tmp_path / "out")
    assert caught.value.code == code
    assert not (tmp_path / "out").exists()


def test_csv_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the CSV file does not exist"):
        import_csv(tmp_path / "x.csv", tmp_path / "out")


def test_csv_of_one_source_cannot_be_parted(videos: Path, tmp_path: Path) -> None:
    src = table(videos, "video,label,source\nclap/camera/0.mp4,a,s\nclap/camera/1.mp4,b,s\n")
    with pytest.raises(UsageError, match="at least 2 are needed"):
        import_csv(src, tmp_path / "out")


def test_class_names_are_those_of_the_readme(fake_video: ModuleType) -> None:
    assert len(CLASSES) == len(set(CLASSES)) == 27
    assert (CLASSES[0], CLASSES[9], CLASSES[26]) == (
        "swipe-left", "draw-circle-counter-clockwise", "squat",
    )  # fmt: skip
