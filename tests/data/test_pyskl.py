import json
from pathlib import Path

import numpy as np
import pytest
from mutate import survive, wanted
from pyskl_files import annotation, annotation_3d, importing, joints, write_clip, write_pickle

from poselens.data.finegym_lists import gym_id
from poselens.data.folder import ClipFolder, open_folder
from poselens.data.pyskl import import_pyskl
from poselens.errors import PoselensError, UsageError


def listed(out: Path) -> dict[str, str]:
    """What was left out: the message by what it is about."""
    report = json.loads((out / "import_report.json").read_text())
    return {entry["file"]: f"{entry['code']} {entry['message']}" for entry in report["list"]}


def parts(folder: ClipFolder, protocol: str) -> dict[str, str]:
    names = folder.parts(protocol)
    return dict(zip(folder.ids.tolist(), names.tolist(), strict=True))


def refusal(src: Path, tmp_path: Path, **options: object) -> PoselensError:
    with pytest.raises(PoselensError) as caught:
        import_pyskl(src, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    return caught.value


def test_the_file_comes_in_as_it_is(tmp_path):
    (_, src), protocol, _ = importing(tmp_path)
    assert import_pyskl(src, tmp_path / "out").imported == 24
    folder = open_folder(tmp_path / "out")
    assert folder.info.classes == ["class 0", "class 1"]
    assert (folder.record(3).width, folder.record(3).height) == (1280, 720)
    skeleton = folder.skeleton(3, "pixels")
    np.testing.assert_array_equal(skeleton.positions, joints(3).astype(np.float32))
    assert (skeleton.layout, skeleton.positions.dtype) == ("coco-17", np.float32)
    found = parts(folder, protocol)
    # val of the file is the test; validation comes out of its train
    assert {name for name, part in found.items() if part == "test"} == {
        f"clip_{i:03d}" for i in range(16, 24)
    }
    assert list(found.values()).count("val") == 2


@pytest.mark.parametrize("min_score", [0.0, 0.5])
def test_missing_joints(tmp_path, min_score):
    keypoint = joints(0, people=3)
    keypoint[0, 0, 0] = 0
    keypoint[1, :, 4, 0] = 0  # one coordinate alone is no missing joint
    keypoint[2] = 0
    score = np.full(keypoint.shape[:3], 0.75, np.float16)
    score[0, 1, 1], score[0, 2, 2], score[0, 3, 3] = 0, 0.25, np.nan
    entry = annotation("a", 0, 0, keypoint=keypoint, keypoint_score=score)
    src = write_pickle(tmp_path / "a.pkl", [entry, annotation("b", 1, 1), annotation("c", 1, 2)])
    import_pyskl(src, tmp_path / "out", min_score=min_score)
    found = open_folder(tmp_path / "out").skeleton(0, "pixels").positions
    wanted_joints = keypoint.astype(np.float32)
    wanted_joints[0, 0, 0] = wanted_joints[2] = np.nan
    wanted_joints[0, 1, 1] = wanted_joints[0, 3, 3] = np.nan
    if min_score:
        wanted_joints[0, 2, 2] = np.nan
    np.testing.assert_array_equal(found, wanted_joints)


def ntu_names() -> list[tuple[str, int]]:
    """Six people before three cameras."""
    return [
        (f"S001C{camera:03d}P{person:03d}R001A{1 + person % 2:03d}", person % 2)
        for person in range(1, 7)
        for camera in range(1, 4)
    ]


def test_ntu_is_known_by_its_names(tmp_path):
    names = dict(ntu_names())
    entries = [annotation_3d(name, label, i) for i, (name, label) in enumerate(names.items())]
    subject = {name: int(name[9:12]) for name in names}
    view = {name: int(name[5:8]) for name in names}
    split = {
        "xsub_train": [name for name in names if subject[name] < 5],
        "xsub_val": [name for name in names if subject[name] >= 5],
        "xview_train": [name for name in names if view[name] > 1],
        "xview_val": [name for name in names if view[name] == 1],
    }
    src = write_pickle(tmp_path / "ntu60_3danno.pkl", {"split": split, "annotations": entries}, 2)
    import_pyskl(src, tmp_path / "out")
    folder = open_folder(tmp_path / "out")
    info = folder.info
    assert set(info.protocols) == {"ntu60-xsub", "ntu60-xview"}
    assert info.classes[1] == "eat-meal"
    assert len(info.classes) == 60
    assert info.skeletons["metres"].layout == "ntu-25"
    record = folder.record(0)
    assert (record.subject, record.view, record.session) == ("1", "1", "1")
    assert record.source == "S001P001R001A002"
    metres = folder.skeleton(0, "metres").positions
    assert metres.shape == (2, 15, 25, 3)
    assert np.isnan(metres[1, 5:]).all()
    for protocol in info.protocols:
        found = parts(folder, protocol)
        by_part = {
            part: {subject[name] for name, other in found.items() if other == part}
            for part in ("train", "val")
        }
        assert by_part["val"]
        assert not by_part["train"] & by_part["val"]
    assert info.protocols["ntu60-xsub"].group == "subject"
    assert info.protocols["ntu60-xsub"].shares == {}
    assert "also train" in info.protocols["ntu60-xview"].shares["subject"]


def test_labels_that_are_not_ntus_make_it_another_data_set(tmp_path):
    entries = [annotation_3d(name, 1 - label, i) for i, (name, label) in enumerate(ntu_names())]
    import_pyskl(write_pickle(tmp_path / "a.pkl", entries), tmp_path / "out")
    folder = open_folder(tmp_path / "out")
    assert folder.info.classes == ["class 0", "class 1"]
    assert folder.record(0).subject == ""


def gym_name(video: int, event: int, element: int) -> str:
    return f"abc_-{video:06d}_{event:06d}_{event + 9:06d}_{element:04d}_{element + 1:04d}"


def test_finegym_is_known_by_its_names(tmp_path):
    names = [gym_name(video, event, element) for video in range(6)
             for event in (10, 40) for element in (1, 4)]  # fmt: skip
    entries = [annotation(name, i % 2, i) for i, name in enumerate(names)]
    split = {"train": names[:18], "val": names[18:]}
    src = write_pickle(tmp_path / "gym_hrnet.pkl", {"split": split, "annotations": entries})
    import_pyskl(src, tmp_path / "out")
    folder = open_folder(tmp_path / "out")
    about = folder.info.protocols["finegym99"]
    assert (about.metric, len(folder.info.classes), folder.info.mirror) == (
        "mean_class",
        99,
        "same",
    )
    record = folder.record(2)
    assert (record.source, record.event) == ("abc_-000000", "abc_-000000_E_000040_000049")
    # names[18:] begin within the second event of video 4
    assert "1 of 2 sources of test also train" in about.shares["source"]
    assert "1 of 3 events of test" not in about.shares.get("event", "")
    found = parts(folder, "finegym99")
    videos = {
        part: {name[:11] for name in found if found[name] == part} for part in ("train", "val")
    }
    assert videos["val"]
    assert not videos["val"] & videos["train"]


def test_older_files_and_numbered_splits(tmp_path):
    entries = [annotation(None, i % 2, i, frame_dir=None, filename=f"v{i}.avi") for i in range(10)]
    import_pyskl(write_pickle(tmp_path / "bare.pkl", entries), tmp_path / "bare")
    folder = open_folder(tmp_path / "bare")
    assert set(parts(folder, "random").values()) == {"train", "val", "test"}
    names = [entry["filename"] for entry in entries]
    split = {"train1": names[:7], "test1": names[7:], "train2": names[3:], "test2": names[:2],
             "test2_ids": [], "all": names, "xsub_train": names[:4], "xsub_val": names[4:6],
             "xsub_test": names[6:]}  # fmt: skip
    content = {"split": split, "annotations": entries}
    report = import_pyskl(write_pickle(tmp_path / "ucf.pkl", content), tmp_path / "out")
    folder = open_folder(tmp_path / "out")
    assert set(folder.info.protocols) == {"1", "2", "xsub"}
    assert report.counts["clips in no part of 2"] == 1
    assert "split 'all' is no train, val or test part of its own" in report.notes
    assert [part for part in parts(folder, "xsub").values()].count("val") == 2


def test_what_is_left_out_is_counted(tmp_path):
    keypoint = joints(0)
    entries = [
        *(annotation(f"c{i}", i % 2, i) for i in range(6)),
        annotation("short", 0, 0, total_frames=99),
        annotation("flat", 0, 0, keypoint=keypoint[0], keypoint_score=None, total_frames=20),
        annotation("scores", 0, 0, keypoint_score=np.ones((1, 20, 16), np.float16)),
        annotation("nobody", 0, 0, keypoint=keypoint[:0]),
        annotation("zeros", 0, 0, keypoint=keypoint * 0),
        annotation("crowd", 0, 0, keypoint=np.ones((33, 2, 17, 2), np.float16)),
        annotation("joints", 0, 0, keypoint=joints(0, count=16)),
        annotation("far", 0, 0, keypoint=keypoint.astype(np.float32) * 1e5),
        annotation("text", 0, 0, keypoint=np.full((1, 20, 17, 2), "x"), keypoint_score=None),
        annotation("id\n", 0, 0),
    ]
    split = {"train": [f"c{i}" for i in range(4)] + ["gone"], "val": ["c4", "flat", "lost"]}
    src = write_pickle(tmp_path / "a.pkl", {"split": split, "annotations": entries})
    report = import_pyskl(src, tmp_path / "out")
    assert report.imported == 6
    found = {key.rsplit("'", 2)[-2] if "'" in key else value[-6:]: value
             for key, value in listed(tmp_path / "out").items()}  # fmt: skip
    assert {key: value.split(" ")[0] for key, value in found.items()} == {
        "short": "SKEL-005", "flat": "SKEL-005", "scores": "SKEL-005", "nobody": "SKEL-010",
        "zeros": "SKEL-010", "crowd": "SKEL-003", "joints": "SKEL-004", "far": "SKEL-008",
        "text": "SKEL-005", "id\\n": "DATA-005", "'lost'": "PKL-009",
    }  # fmt: skip
    assert "total_frames is 99, but keypoint has 20 frames" in found["short"]
    codes = report.as_dict()["skipped_by_code"]
    assert codes["PKL-009"] == 2


def one(**change: object) -> list[dict[str, object]]:
    return [annotation("a", 0, 0), annotation("b", 1, 1, **change)]


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (one(label=1.0), "DATA-006", "annotation 1 'b': label 1.0, expected a whole number"),
        (one(label=True), "DATA-006", "expected a whole number"),
        (one(label="1"), "DATA-006", "label 'str', expected"),
        (one(label=-1), "DATA-006", "label -1, expected"),
        (one(label=10**9), "DATA-006", "expected fewer than 100000 classes"),
        (one(label=None), "DATA-006", "label 'NoneType'"),
        (one(frame_dir="a"), "DATA-007", "'a' is there twice, as annotations 0 and 1"),
        (one(frame_dir=None), "PKL-006", "expected a text under frame_dir or filename"),
        (one(keypoint=joints(1), keypoint_score=[1]), "PKL-006", "keypoint_score is a list"),
        ({"annotations": [{"frame_dir": "a", "label": 0}]}, "PKL-006", "keypoint is a NoneType"),
        ({"a": 1, "b": 2}, "PKL-006", "found a dict of 'a', 'b', expected a dict with a list"),
        ([[1]], "PKL-006", "annotation 0: found a list, expected a dict"),
        ([], "DATA-012", "nothing to import"),
        (7, "PKL-006", "found a int"),
        ({"split": [], "annotations": one()}, "PKL-006", "split: found a list"),
        ({"split": {"train": 7}, "annotations": one()}, "PKL-006", "split 'train': found a int"),
        ({"split": {"train": [7]}, "annotations": one()}, "PKL-006", "entry 0: found a int"),
        (
            {"split": {"train": ["a", "b"], "val": ["b"]}, "annotations": one()},
            "PKL-007",
            "1 clips are in two parts of given, 'b' is the first",
        ),
        ([annotation("a", 0, 0, keypoint=joints(0, count=25))], "SKEL-006", "--layout ntu-25"),
        ([annotation("a", 0, 0, keypoint=joints(0, count=7))], "SKEL-006", "found 7 joints"),
    ],
)  # fmt: skip
def test_files_that_are_refused(tmp_path, content, code, says):
    src = write_pickle(tmp_path / "a.pkl", content)
    fault = refusal(src, tmp_path)
    assert fault.code == code
    assert says in str(fault)
    assert str(src) in str(fault)


def test_options(tmp_path):
    entries = [annotation(f"c{i}", i % 2, i, keypoint=joints(i, count=25)) for i in range(6)]
    src = write_pickle(tmp_path / "a.pkl", entries)
    names = tmp_path / "names.txt"
    names.write_text("﻿push up\n\nsit up\n", encoding="utf-8")
    import_pyskl(src, tmp_path / "out", layout="ntu-25", classes=names)
    info = open_folder(tmp_path / "out").info
    assert info.classes == ["push up", "sit up"]
    assert info.skeletons["pixels"].layout == "ntu-25"
    (tmp_path / "out").rename(tmp_path / "done")
    assert "SKEL-006" in refusal(src, tmp_path).code
    assert "these joints fit" in str(refusal(src, tmp_path, layout="coco-17"))
    assert "unknown joint layout 'coco-71'" in str(refusal(src, tmp_path, layout="coco-71"))
    names.write_text("push up\n")
    fault = refusal(src, tmp_path, layout="ntu-25", classes=names)
    assert "label 1, but names.txt names 1 classes" in str(fault)
    names.write_text("push up\npush up\n")
    fault = refusal(src, tmp_path, layout="ntu-25", classes=names)
    assert (fault.code, "'push up' is named 2 times" in str(fault)) == ("PKL-012", True)
    assert refusal(src, tmp_path, min_score=-1.0).code == "PKL-011"
    assert refusal(src, tmp_path, min_score=float("nan")).code == "PKL-011"
    assert refusal(tmp_path / "none.pkl", tmp_path).code == "DATA-001"
    with pytest.raises(UsageError, match="the folder of videos does not exist"):
        import_pyskl(src, tmp_path / "out", layout="ntu-25", videos=tmp_path / "none")


def test_videos_are_joined_by_name(tmp_path):
    """Pixels follow the video's size; what is not the same recording stays apart."""
    names = ["same", "deep", "small", "long", "tall", "broken", "none"]
    entries = [annotation(f"{name}.x", i % 2, i) for i, name in enumerate(names)]
    entries.append(annotation("sub/path", 0, 7))
    src = write_pickle(tmp_path / "a.pkl", entries)
    videos = tmp_path / "videos"
    write_clip(videos / "same.x.mp4", size=(720, 1280))
    write_clip(videos / "a/b/deep.x.avi")
    write_clip(videos / "small.x.MP4", size=(36, 64))
    write_clip(videos / "long.x.mp4", frames=22)
    write_clip(videos / "tall.x.mp4", size=(64, 36))
    (videos / "broken.x.mp4").write_bytes(b"404")
    write_clip(videos / "sub/path.mp4")
    write_clip(videos / "else/path.mp4")
    (videos / "notes.txt").write_text("")
    report = import_pyskl(src, tmp_path / "out", videos=videos)
    folder = open_folder(tmp_path / "out")
    records = {record.id: record for record in map(folder.record, range(len(folder)))}
    assert {name: record.video for name, record in records.items()} == {
        "same.x": "videos/same.x.mp4", "deep.x": "videos/a/b/deep.x.avi",
        "small.x": "videos/small.x.MP4", "long.x": None, "tall.x": None, "broken.x": None,
        "none.x": None, "sub/path": "videos/sub/path.mp4",
    }  # fmt: skip
    assert all(
        (tmp_path / "out" / record.video).is_file() for record in records.values() if record.video
    )
    scales = {"same.x": 1, "small.x": 1 / 20, "long.x": 1}
    for name, scale in scales.items():
        number = names.index(name.removesuffix(".x"))
        found = folder.skeleton(folder.index_of(name), "pixels").positions
        np.testing.assert_allclose(found, joints(number).astype(np.float32) * scale, rtol=1e-6)
    assert (records["small.x"].width, records["long.x"].width) == (64, 1280)
    messages = {Path(key).name: value for key, value in listed(tmp_path / "out").items()}
    kept = "; the clip keeps its joints alone"
    assert messages["long.x.mp4"] == f"PKL-008 the video has 22 frames, the skeleton 20{kept}"
    assert messages["tall.x.mp4"].startswith("PKL-008 the video has 36x64 pixels")
    assert messages["broken.x.mp4"].startswith("VID-003")
    assert report.counts["clips with a video of their name"] == 7
    assert report.counts["clips with a video"] == 4


def test_two_videos_of_one_name_are_refused(tmp_path):
    src = write_pickle(tmp_path / "a.pkl", [annotation("a", 0, 0), annotation("b", 1, 1)])
    for place in ("one/a.mp4", "two/a.avi"):
        write_clip(tmp_path / "videos" / place)
    fault = refusal(src, tmp_path, videos=tmp_path / "videos")
    assert (fault.code, "one/a.mp4 and two/a.avi" in fault.message) == ("PKL-010", True)


@pytest.mark.parametrize("link", ["hard", "symbolic"])
def test_videos_can_be_linked(tmp_path, link):
    src = write_pickle(tmp_path / "a.pkl", [annotation("a", 0, 0), annotation("b", 1, 1)])
    clip = write_clip(tmp_path / "videos/a.mp4", size=(720, 1280))
    import_pyskl(src, tmp_path / "out", videos=tmp_path / "videos", link=link)
    video = open_folder(tmp_path / "out").video_path(0)
    assert video.samefile(clip)


def test_names_lead_nowhere(tmp_path):
    """A name is looked up among the videos, never opened."""
    secret = write_clip(tmp_path / "secret.mp4")
    entries = [annotation("../secret", 0, 0), annotation(str(secret), 1, 1)]
    (tmp_path / "videos").mkdir()
    src = write_pickle(tmp_path / "a.pkl", entries)
    import_pyskl(src, tmp_path / "out", videos=tmp_path / "videos")
    folder = open_folder(tmp_path / "out")
    assert [folder.record(i).video for i in range(2)] == [None, None]


def test_joints_with_their_confidence(tmp_path):
    keypoint = np.concatenate([joints(0), np.full((1, 20, 17, 1), 0.5, np.float16)], axis=-1)
    keypoint[0, 0, 0, 2] = 0
    entries = [annotation(name, i, 0, keypoint=keypoint, keypoint_score=None)
               for i, name in enumerate("ab")]  # fmt: skip
    import_pyskl(write_pickle(tmp_path / "a.pkl", entries), tmp_path / "out")
    found = open_folder(tmp_path / "out").skeleton(0, "pixels").positions
    assert found.shape == (1, 20, 17, 2)
    assert np.isnan(found[0, 0, 0]).all()
    assert np.isfinite(found[0, 1:]).all()


def test_damaged_annotation_files(tmp_path):
    sources = []
    for protocol in (2, 4):
        names = [gym_name(i, 10, 1) for i in range(6)]
        content = {
            "split": {"train": names[:4], "val": names[4:]},
            "annotations": [annotation(name, i % 2, i) for i, name in enumerate(names)],
        }
        path = write_pickle(tmp_path / "good.pkl", content, protocol)
        sources.append(path.read_bytes())
    number = iter(range(10**6))

    def read(path: Path) -> ClipFolder:
        out = tmp_path / f"out{next(number)}"
        import_pyskl(path, out)
        return open_folder(out)

    def sound(folder: ClipFolder) -> None:
        for i in range(len(folder)):
            skeleton = folder.skeleton(i, "pixels") or folder.skeleton(i, "metres")
            assert not np.isinf(skeleton.positions).any()
            assert np.isfinite(skeleton.positions).any()

    tally = survive(
        read, sources, tmp_path / "damaged.pkl", text=False, sound=sound, count=wanted() // 4
    )
    assert tally.refused
    assert tally.accepted


def test_names_with_and_without_letters():
    plain, letters = gym_name(1, 10, 1), "abc_-000001_E_000010_000019_A_0001_0002"
    assert gym_id(plain) == gym_id(letters)
    assert gym_id(plain).text == letters
    assert gym_id("abc_-000001_E_000010_000019") is None
