import json
from pathlib import Path

import numpy as np
import pytest
from finegym_files import (
    categories,
    clip,
    importing,
    some_clips,
    write_lists,
    write_skeletons,
    write_times,
)
from mutate import survive, wanted
from pyskl_files import joints, write_clip

from poselens.data.finegym import import_finegym
from poselens.data.finegym_clips import span_s
from poselens.data.finegym_lists import Times, gym_id, read_categories, read_list
from poselens.data.folder import open_folder
from poselens.errors import AnnotationError, UsageError

TRAIN, TEST = some_clips()


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> tuple[Path, Path, Path]:
    """Lists, videos and a pickle of joints, all complete."""
    root = tmp_path_factory.mktemp("finegym")
    words, _, _ = importing(root)
    return words[1], words[3], words[5]


def report_of(out: Path) -> dict[str, object]:
    return json.loads((out / "import_report.json").read_text())


def test_clips_cut_as_mmaction2_cuts_them(source, tmp_path):
    src, videos, skeletons = source
    out = tmp_path / "out"
    report = import_finegym(src, out, videos=videos, skeletons=skeletons, link="symbolic")
    folder = open_folder(out)
    assert (report.imported, report.skipped) == (32, [])
    assert folder.info.name == "FineGym99 (24 of 20,484 train, 8 of 8,521 test clips)"
    about = folder.info.protocols["finegym99"]
    assert about.metric == "mean_class"
    assert about.chance == pytest.approx(1 / 99)
    assert about.shares["source"].endswith("2 of 4 sources of test also train")
    assert about.shares["event"].endswith("1 of 4 events of test also train")
    record = folder.record(5)
    assert record.id == clip(1, 1, 1)
    assert record.video == f"videos/{record.id}.mp4"
    assert (record.start_s, record.end_s, record.width, record.height) == (None, None, 64, 36)
    assert (record.source, record.event) == ("vid_-000001", "vid_-000001_E_000100_000120")
    found = folder.skeleton(5, "pixels").positions
    # joints of 1280 x 720 on a video of 64 x 36
    np.testing.assert_allclose(found, joints(2 * 5 + 1).astype(np.float32) / 20, rtol=1e-6)
    parts = dict(zip(folder.ids.tolist(), folder.parts("finegym99").tolist(), strict=True))
    assert {name for name, part in parts.items() if part == "test"} == {name for name, _ in TEST}
    of_val = {name[:11] for name, part in parts.items() if part == "val"}
    assert len(of_val) == 1
    assert of_val.isdisjoint(name[:11] for name, part in parts.items() if part == "train")


def test_classes_and_their_hierarchy(source, tmp_path):
    src, videos, _ = source
    import_finegym(src, tmp_path / "out", videos=videos, link="symbolic")
    info = open_folder(tmp_path / "out").info
    assert len(info.classes) == 99
    assert info.classes[1].startswith("(VT) round-off, flic-flac on, stretched salto backward")
    assert info.classes[16] == "(FX) stag jump"
    assert info.classes[58] == "(BB) salto backward tucked [BB_flight_salto]"
    assert info.classes[70] == "(BB) salto backward tucked [BB_dismounts]"
    assert info.hierarchy["event"][16] == "floor exercise"
    assert info.hierarchy["set"][70] == "BB_dismounts"
    assert info.mirror == "same"
    assert info.skeletons == {}


def test_what_is_there_is_counted(source, tmp_path):
    """Of a part of the clips the name, the counts and the fingerprint say so."""
    src, videos, _ = source
    some = tmp_path / "some"
    some.mkdir()
    kept = [name for name, _ in TRAIN if name[5:11] != "000000"] + [TEST[0][0], TEST[1][0]]
    for name in kept:
        (some / f"{name}.mp4").symlink_to(videos / f"{name}.mp4")
    prints = []
    for folder, out in ((some, tmp_path / "a"), (videos, tmp_path / "b"), (some, tmp_path / "c")):
        report = import_finegym(src, out, videos=folder, link="symbolic")
        prints.append(report.details["fingerprint"])
    assert prints[0] == prints[2] != prints[1]
    facts = report_of(tmp_path / "a")
    assert facts["counts"]["train clips"] == 20
    assert facts["counts"]["train clips listed"] == 24
    assert facts["counts"]["test clips"] == 2
    assert "train: 20 of 24 listed clips, 2 of 99 classes have some" in facts["notes"]
    first, _, third = facts["details"]["availability"][:3]
    assert first == {
        "class": open_folder(tmp_path / "a").info.classes[0],
        "train": 10, "train listed": 12, "test": 1, "test listed": 4,
    }  # fmt: skip
    assert third["train listed"] == 0
    info = open_folder(tmp_path / "a").info
    assert info.name == "FineGym99 (20 of 20,484 train, 2 of 8,521 test clips)"
    assert prints[0] in info.source
    assert "published are 20,484 and 8,521" in " ".join(facts["notes"])


@pytest.mark.parametrize("exact", [False, True])
def test_clips_of_events_and_whole_videos(tmp_path, exact):
    train = [(clip(video, 0, element), element % 2) for video in range(3) for element in range(2)]
    test = [(clip(3, 0, element), element) for element in range(2)]
    src = write_lists(tmp_path / "lists", train, test)
    if exact:
        write_times(src, [name for name, _ in (*train, *test)])
    videos = tmp_path / "videos"
    write_clip(videos / f"{clip(0, 0, 0)[:27]}.mp4", frames=250)
    write_clip(videos / "vid_-000001.mkv", frames=250)
    write_clip(videos / "vid_-000002.webm.mp4", frames=250)
    write_clip(videos / "vid_-000003.mp4", frames=100)
    skeletons = write_skeletons(tmp_path / "joints.pkl", [*train, *test], frames=50)
    report = import_finegym(src, tmp_path / "out", videos=videos, skeletons=skeletons)
    folder = open_folder(tmp_path / "out")
    records = {record.id: record for record in map(folder.record, range(len(folder)))}
    spans = {name: (record.start_s, record.end_s) for name, record in records.items()}
    late, cut = (0.5, 0) if exact else (0, 1)
    assert spans[clip(0, 0, 1)] == (5 + late, 7 + late + cut)
    # of a whole video the event's own second is cut as well
    assert spans[clip(1, 0, 1)] == (5 + 2 * late, 7 + 2 * late + 2 * cut)
    assert spans[clip(2, 0, 1)] == (None, None)
    assert records[clip(2, 0, 1)].video is None
    # four seconds of video have no element that starts after five
    assert records[clip(3, 0, 1)].video is None
    assert report.as_dict()["skipped_by_code"] == {"DATA-025": 1}
    assert all(folder.skeleton(i, "pixels") is not None for i in range(len(folder)))
    assert report.counts["clips in videos of events"] == 2
    assert report.counts["clips in whole videos"] == 4


def test_joints_of_another_length_are_left_out(source, tmp_path):
    src, videos, _ = source
    skeletons = write_skeletons(tmp_path / "joints.pkl", TRAIN[:4], frames=22)
    report = import_finegym(src, tmp_path / "out", videos=videos, skeletons=skeletons)
    folder = open_folder(tmp_path / "out")
    assert len(folder) == 32
    assert folder.info.skeletons == {}
    assert report.as_dict()["skipped_by_code"] == {"PKL-008": 4}
    assert report.skipped[0].message == (
        "the video has 20 frames, the skeleton 22; the clip keeps its video alone"
    )


def test_joints_alone(source, tmp_path):
    src, _, skeletons = source
    import_finegym(src, tmp_path / "out", skeletons=skeletons)
    folder = open_folder(tmp_path / "out")
    assert len(folder) == 32
    assert folder.record(0).video is None
    assert (folder.record(0).width, folder.record(0).height) == (1280, 720)
    found = folder.skeleton(0, "pixels").positions
    np.testing.assert_array_equal(found, joints(0).astype(np.float32))


def test_the_train_list_of_either_version(source, tmp_path):
    _, videos, _ = source
    lists = write_lists(tmp_path / "lists", TRAIN, TEST)
    more = [*TRAIN, (clip(9, 9, 9), 3)]
    (lists / "gym99_train_element_v1.1.txt").write_text(
        "".join(f"{name} {label}\r\n" for name, label in more)
    )
    for version, count in ((None, 24), ("v1.0", 24), ("v1.1", 25)):
        report = import_finegym(
            lists, tmp_path / str(version), videos=videos, version=version, link="symbolic"
        )
        assert report.counts["train clips listed"] == count
    assert open_folder(tmp_path / "v1.1").info.name == (
        "FineGym99 v1.1 (24 of 26,320 train, 8 of 8,521 test clips)"
    )


def test_a_class_of_one_video_stays_in_train(source, tmp_path):
    _, videos, _ = source
    for alone in range(6):
        train = [(name, 5 if name[5:11] == f"{alone:06d}" else label) for name, label in TRAIN]
        lists = write_lists(tmp_path / f"lists{alone}", train, TEST)
        out = tmp_path / f"out{alone}"
        import_finegym(lists, out, videos=videos, link="symbolic")
        folder = open_folder(out)
        assert 5 in folder.labels[folder.indices("finegym99", "train")]
        assert 5 not in folder.labels[folder.indices("finegym99", "val")]


def refusal(src: Path, tmp_path: Path, **options: object) -> str:
    with pytest.raises((AnnotationError, UsageError)) as caught:
        import_finegym(src, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    assert caught.value.mend
    return f"{caught.value.code} {caught.value}"


def test_what_is_refused(source, tmp_path):
    _, videos, _ = source
    src = write_lists(tmp_path / "lists", TRAIN, TEST)
    train, name = src / "gym99_train_element_v1.0.txt", TRAIN[0][0]
    whole = train.read_text()
    for text, says in (
        (f"{name}\n", "DATA-036"),
        (f"\n{name[:-1]} 3\n", "DATA-036"),
        (f"{name} 3.0\n", "DATA-036"),
        (f"{name} -1\n", "DATA-036"),
        (f"{name} 99\n", "DATA-006"),
        (f"{name} 3\n{name} 3\n", "DATA-007"),
        (f"{TEST[0][0]} 3\n", "PKL-007"),
        ("<html>", "DATA-035"),
    ):  # fmt: skip
        train.write_text(text)
        assert refusal(src, tmp_path, videos=videos).startswith(says)
    train.write_text(f"\n{name} 99\n")
    assert "line 2: label 99, expected 0 to 98" in refusal(src, tmp_path, videos=videos)
    train.write_bytes(b"\xff\xfe")
    assert "byte 0: not UTF-8 text" in refusal(src, tmp_path, videos=videos)
    train.unlink()
    assert "gym99_train_element_v1.0.txt:byte 0: the file is missing" in refusal(
        src, tmp_path, videos=videos
    )
    train.write_text(whole)
    for text, says in (
        (categories(98), "line 98: found 98 categories, expected 99"),
        (categories().replace("Clabel:   1", "Clabel:   2"), "line 2: found 'Clabel:   2;"),
        ("class\n", "line 1: found 'class', expected 'Clabel: 0; set: N; Glabel: N; (VT) ...'"),
    ):
        (src / "gym99_categories.txt").write_text(text)
        assert says in refusal(src, tmp_path, videos=videos)
    (src / "gym99_categories.txt").write_text(categories())
    (src / "set_categories.txt").write_text("sets: 1\n")
    assert "expected 'set: N; NAME'" in refusal(src, tmp_path, videos=videos)
    (src / "set_categories.txt").unlink()
    assert refusal(src, tmp_path).startswith("DATA-039")
    assert refusal(src, tmp_path, videos=tmp_path / "none").startswith("DATA-001")
    assert refusal(src, tmp_path, skeletons=tmp_path / "none.pkl").startswith("DATA-001")
    (tmp_path / "empty").mkdir()
    assert refusal(src, tmp_path, videos=tmp_path / "empty").startswith("DATA-012")


def test_without_categories_classes_have_numbers(source, tmp_path):
    _, videos, _ = source
    src = write_lists(tmp_path / "lists", TRAIN, TEST)
    (src / "gym99_categories.txt").unlink()
    import_finegym(src, tmp_path / "out", videos=videos, link="symbolic")
    info = open_folder(tmp_path / "out").info
    assert (info.classes[98], info.hierarchy, info.mirror) == ("class 98", {}, "none")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"timestamps": [[0, 1]], "segments": {"A_0000_0002": {"timestamps": [[3, 1]]}}}, "3"),
        ({"timestamps": [[0, 1]], "segments": {"A_0000_0002": {"timestamps": [[1]]}}}, "no list"),
        ({"timestamps": [[0, 1]], "segments": {"A_0000_0002": {"timestamps": []}}}, "no list"),
        ({"timestamps": [[0, 1]], "segments": {"A_0000_0002": {"timestamps": [["1", 2]]}}}, "no "),
        ({"timestamps": [[0, 1]], "segments": {"A_0000_0002": {"timestamps": [[0, 1e400]]}}}, "no"),
        ({"timestamps": None, "segments": {"A_0000_0002": {"timestamps": [[0, 1]]}}}, "no list"),
    ],
)
def test_times_that_are_none(tmp_path, change, says):
    name = gym_id(clip(1, 1, 0))
    path = tmp_path / "finegym_annotation_info_v1.1.json"
    path.write_text(json.dumps({name.video: {name.event_key: change}}))
    with pytest.raises(AnnotationError, match=says) as caught:
        Times(path).span_s(name, in_video=True)
    assert (caught.value.code, caught.value.where) == ("DATA-038", name.text)


def test_times_that_are_not_there(tmp_path):
    name = gym_id(clip(1, 1, 0))
    path = tmp_path / "finegym_annotation_info_v1.1.json"
    for content in (
        {}, {name.video: 7}, {name.video: {name.event_key: {"segments": None}}},
        {name.video: {name.event_key: {"segments": {}}}},
    ):  # fmt: skip
        path.write_text(json.dumps(content))
        assert Times(path).span_s(name, in_video=True) is None
    assert span_s(name, "event", Times(path)) == (0.0, 3.0, False)
    for text, says in (("[1]", "expected videos"), ("{", "not valid JSON"), ("[" * 10**6, "valid")):
        path.write_text(text)
        with pytest.raises(AnnotationError, match=says):
            Times(path)


def test_damaged_lists(tmp_path):
    src = write_lists(tmp_path / "lists", TRAIN, TEST)
    good = [(src / "gym99_train_element_v1.0.txt").read_bytes()]

    def sound(labels: object) -> None:
        assert isinstance(labels, dict)
        assert all(gym_id(name) and 0 <= label < 99 for name, label in labels.items())

    tally = survive(
        lambda path: read_list(path, 99), good, tmp_path / "list.txt", text=True, sound=sound
    )
    assert tally.refused
    assert tally.accepted


def test_damaged_categories(tmp_path):
    good = [categories().encode()]

    def sound(found: object) -> None:
        assert isinstance(found, list)
        assert len({entry.name for entry in found}) == len(found)

    tally = survive(
        read_categories, good, tmp_path / "gym99_categories.txt", text=True, sound=sound,
        count=wanted() // 4,
    )  # fmt: skip
    assert tally.refused
    assert tally.accepted


def test_damaged_times(tmp_path):
    src = write_lists(tmp_path / "lists", TRAIN, TEST)
    names = [gym_id(name) for name, _ in TRAIN]
    good = [write_times(src, [name.text for name in names]).read_bytes()]

    def read(path: Path) -> object:
        times = Times(path)
        return [times.span_s(name, in_video=True) for name in names]

    def sound(spans: object) -> None:
        assert isinstance(spans, list)
        assert all(span is None or 0 <= span[0] < span[1] < 3e6 for span in spans)

    tally = survive(read, good, tmp_path / "times.json", text=True, sound=sound)
    assert tally.refused
    assert tally.accepted


PUBLISHED_LINES = """\
aEZbP-Yephw_E_004976_005078_A_0070_0070 16
aN3PC4tJokk_E_000088_000095_A_0000_0007 4
fH-VYYl9elA_E_003830_003878_A_0014_0018 32
f-1FbFegbuQ_E_000504_000512_A_0000_0008 10
rrrgsW--AE8_E_030228_030306_A_0075_0078 26
gYyLkUbGuUU_E_001221_001228_A_0000_0007 29
gYyLkUbGuUU_E_001220_001228_A_0001_0008 29
uDZVn-K4GE4_E_002615_002719_A_0096_0097 87
"""
PUBLISHED_CATEGORIES = """\
Clabel:   0; set:  1; Glabel:   1; (VT) round-off, flic-flac with 0.5 turn on, stretched salto off
Clabel:   1; set: 21; Glabel: 104; (FX) stag jump      \n\
Clabel:   2; set: 33; Glabel: 290; (BB) salto backward tucked
Clabel:   3; set: 35; Glabel: 359; (BB) salto backward tucked
Clabel:   4; set: 42; Glabel: 462; (UB) (swing backward or front support) salto forward straddled
Clabel:   5; set: 43; Glabel: 471; (UB) transition flight from high bar to low bar
Clabel:   6; set: 43; Glabel: 472; (UB) transition flight from high bar to low bar
"""


def test_lines_as_published(tmp_path):
    """Ids with - and _ in every place, elements of no whole second, names that are there twice."""
    (tmp_path / "list.txt").write_text(PUBLISHED_LINES)
    labels = read_list(tmp_path / "list.txt", 99)
    assert list(labels.values()) == [16, 4, 32, 10, 26, 29, 29, 87]
    name = gym_id("aEZbP-Yephw_E_004976_005078_A_0070_0070")
    assert (name.video, name.event_s, name.element_s) == ("aEZbP-Yephw", (4976, 5078), (70, 70))
    assert span_s(name, "event", None) == (70.0, 71.0, False)
    assert span_s(name, "video", None) == (5046.0, 5048.0, False)
    (tmp_path / "gym99_categories.txt").write_text(PUBLISHED_CATEGORIES)
    (tmp_path / "set_categories.txt").write_text("set: 33; BB_flight_salto\nset: 43; UB_flight\n")
    found = read_categories(tmp_path / "gym99_categories.txt", tmp_path / "set_categories.txt")
    assert [category.name for category in found[1:]] == [
        "(FX) stag jump",
        "(BB) salto backward tucked [BB_flight_salto]",
        "(BB) salto backward tucked [set 35]",
        "(UB) (swing backward or front support) salto forward straddled",
        "(UB) transition flight from high bar to low bar [UB_flight] 471",
        "(UB) transition flight from high bar to low bar [UB_flight] 472",
    ]
    assert {category.event for category in found} == {
        "vault", "floor exercise", "balance beam", "uneven bars",
    }  # fmt: skip
