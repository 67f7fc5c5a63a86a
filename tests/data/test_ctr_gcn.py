"""The importer of CTR-GCN's archives: what is cut off, what is called how, what is refused."""

import shutil
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ctr_gcn_npz_files import importing, ordered, rows, write_archive
from mutate import survive, wanted
from ntu_files import names as recordings

from poselens.data.ctr_gcn import import_ctr_gcn, to_people
from poselens.data.folder import open_folder
from poselens.data.ntu_protocols import NTU60, NTU120
from poselens.errors import AnnotationError, UsageError

XSUB, XVIEW = NTU60.protocols
NAMES = sorted(recordings((1, 2, 3), (10, 59), repetitions=1))


def test_with_names_clips_are_who_they_are(tmp_path: Path) -> None:
    words, protocol, _ = importing(tmp_path)
    done: list[tuple[int, int]] = []
    report = import_ctr_gcn(
        Path(str(words[1])), tmp_path / "out", names=Path(str(words[3])),
        told=lambda at, of: done.append((at, of)),
    )  # fmt: skip
    assert (report.imported, report.skipped, done[-1]) == (48, [], (48, 48))
    folder = open_folder(tmp_path / "out")
    assert folder.info.name == "NTU RGB+D 60 (48 of 56,578 clips)"
    for part in ("train", "val", "test"):
        at = folder.indices(protocol, part)
        assert len(at) >= 12
        assert len(set(folder.labels[at])) == 4
    for i in range(len(folder)):
        record, skeleton = folder.record(i), folder.skeleton(i, "metres")
        assert skeleton is not None
        people = 2 if record.id.endswith("059") else 1
        assert record.label == int(record.id[-3:]) - 1
        assert (record.subject, record.view) == (record.id[11], record.id[7])
        expected = rows(record.id, people=people).reshape(-1, 2, 25, 3).transpose(1, 0, 2, 3)
        np.testing.assert_array_equal(skeleton.positions, expected[:people])


def test_without_names_the_archive_parts_itself(tmp_path: Path) -> None:
    path = write_archive(tmp_path, NAMES, XSUB, frames=40, compressed=True)
    report = import_ctr_gcn(path, tmp_path / "out")
    assert report.imported == 18
    folder = open_folder(tmp_path / "out")
    assert folder.info.name == "NTU RGB+D 60 (18 clips of NTU60_CS.npz)"
    assert folder.ids[[0, 11, 12]].tolist() == ["train-000001", "train-000012", "test-000001"]
    assert folder.parts("ctr-gcn").tolist() == ["train"] * 11 + ["val"] + ["test"] * 6
    train = ordered(NAMES, XSUB, train=True)
    assert folder.labels[:12].tolist() == [int(name[-3:]) - 1 for name in train]
    assert "does not say which protocol" in folder.info.protocols["ctr-gcn"].description


@pytest.mark.parametrize(
    ("protocol", "classes", "names"),
    [
        (XVIEW, 60, NAMES),
        (NTU120.protocols[0], 120, sorted(recordings((1, 45, 48), (10, 61), setup=18))),
        (
            NTU120.protocols[1], 120,
            sorted(recordings((1, 45), (61,), setup=18) + recordings((1, 46), (61, 62), setup=19)),
        ),
    ],
    ids=["CV", "CSub", "CSet"],
)  # fmt: skip
def test_the_order_of_every_protocol_is_found(
    tmp_path: Path, protocol, classes: int, names: list[str]
) -> None:
    ending = {"xsub": "CS", "xview": "CV", "xset": "CSet"}[protocol.name.partition("-")[2]]
    file = f"NTU{classes}_{ending}.npz"
    path = write_archive(tmp_path, names, protocol, frames=30, classes=classes, file=file)
    import_ctr_gcn(path, tmp_path / "out", names=tmp_path / "statistics")
    folder = open_folder(tmp_path / "out")
    expected = [*ordered(names, protocol, train=True), *ordered(names, protocol, train=False)]
    assert folder.ids.tolist() == expected
    for i, name in enumerate(expected):
        skeleton = folder.skeleton(i, "metres")
        assert skeleton is not None
        clip = rows(name, people=2 if name.endswith("059") else 1).reshape(-1, 2, 25, 3)
        np.testing.assert_array_equal(skeleton.positions[0], clip[:, 0])
    parts = folder.parts(protocol.name)
    assert (parts == "test").sum() == len(ordered(names, protocol, train=False))


def test_an_order_that_cannot_be_told_is_not_guessed(tmp_path: Path) -> None:
    path = write_archive(tmp_path, NAMES, XVIEW, frames=30, file="mine.npz")
    with pytest.raises(AnnotationError, match="they fit the order of both protocols") as caught:
        import_ctr_gcn(path, tmp_path / "out", names=tmp_path / "statistics")
    assert caught.value.code == "DATA-032"


def test_zeros_that_are_nobody() -> None:
    clip = np.zeros((10, 150), dtype=np.float32)
    assert to_people(clip) is None
    clip[:6] = rows("S001C001P001R001A059", frames=6, people=2)
    clip[2, :75] = 0
    clip[4] = 0
    people = to_people(clip)
    assert people is not None
    assert people.shape == (2, 6, 25, 3)
    gone = np.isnan(people).all(axis=(2, 3))
    assert np.isnan(people).any(axis=(2, 3)).tolist() == gone.tolist()
    assert gone.tolist() == [[False, False, True, False, True, False], [False] * 4 + [True, False]]
    # the origin itself is where the spine of the first frame is
    assert (people[0, 0, 1] == 0).all()


def test_a_copy_of_person_one_is_nobody() -> None:
    alone = to_people(rows("S001C001P001R001A061", twice=True))
    assert alone is not None
    np.testing.assert_array_equal(
        alone[0], rows("S001C001P001R001A061").reshape(-1, 2, 25, 3)[:, 0]
    )
    assert len(alone) == 1
    both = to_people(rows("S001C001P001R001A059", people=2))
    assert both is not None
    assert len(both) == 2


def test_a_clip_of_zeros_is_left_out(tmp_path: Path) -> None:
    clips = {NAMES[0]: np.zeros((5, 150), np.float32)}
    path = write_archive(tmp_path, NAMES, XSUB, frames=30, clips=clips)
    report = import_ctr_gcn(path, tmp_path / "out", names=tmp_path / "statistics")
    assert [(s.code, s.file) for s in report.skipped] == [("SKEL-010", NAMES[0])]
    assert report.imported == 17


def test_names_that_are_not_those_of_the_archive(tmp_path: Path) -> None:
    path = write_archive(tmp_path, NAMES, XSUB, frames=30)
    listed = tmp_path / "statistics" / "skes_available_name.txt"
    swapped = [name[:-3] + ("059" if name.endswith("010") else "010") for name in NAMES]
    listed.write_text("\n".join(swapped))
    with pytest.raises(
        AnnotationError,
        match=r"ntu60-xsub: clip 1 of train has class 10, but is named S001C001P001R001A059",
    ) as caught:
        import_ctr_gcn(path, tmp_path / "out", names=listed)
    assert caught.value.code == "DATA-032"
    listed.write_text("\n".join(NAMES[1:]))
    with pytest.raises(AnnotationError, match="ntu60-xsub: 11 names of train, but 12 clips"):
        import_ctr_gcn(path, tmp_path / "out", names=listed.parent)
    listed.unlink()
    with pytest.raises(AnnotationError, match="skes_available_name.txt: no such file"):
        import_ctr_gcn(path, tmp_path / "out", names=listed.parent)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_test": None}, "array x_test: the array is missing"),
        (
            {"x_train": np.zeros((2, 4, 75), np.float32)},
            r"array x_train: found float32 \(2, 4, 75\)",
        ),
        ({"x_train": np.zeros((2, 20_001, 150), np.int8)}, "x_train: found int8"),
        (
            {"x_train": np.zeros((3, 4, 150), np.float32)},
            "y_train: classes of 2 clips, but joints of 3",
        ),
        ({"y_train": np.zeros((2, 60))}, "array y_train: not one class for every clip"),
        ({"y_train": np.full((2, 60), np.nan)}, "array y_train: not one class"),
        ({"y_train": np.eye(2, 10)}, r"y_train: found \(2, 10\), expected \(clips, 60\)"),
        ({"y_test": np.eye(2, 120)}, "array y_test: 120 classes, but 60 in train"),
        ({"y_train": np.array([{}, {}])}, "an object array, which is a pickle and is never opened"),
    ],
)
def test_archives_that_are_none(tmp_path: Path, change: dict, message: str) -> None:
    arrays = {
        f"{kind}_{half}": np.ones((2, 4, 150), np.float32) if kind == "x" else np.eye(2, 60)
        for half in ("train", "test") for kind in "xy"
    }  # fmt: skip
    arrays = {name: array for name, array in (arrays | change).items() if array is not None}
    np.savez(tmp_path / "NTU60_CS.npz", **arrays)
    with pytest.raises(AnnotationError, match=message) as caught:
        import_ctr_gcn(tmp_path / "NTU60_CS.npz", tmp_path / "out")
    assert caught.value.code == "DATA-012"


def test_bombs_are_refused_by_the_archives_directory(tmp_path: Path) -> None:
    path = tmp_path / "NTU60_CS.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", bytes(100 * 1024**2))
    tracemalloc.start()
    with pytest.raises(AnnotationError, match="times its size, the limit is 200"):
        import_ctr_gcn(path, tmp_path / "out")
    assert tracemalloc.get_traced_memory()[1] < 20 * 1024**2
    tracemalloc.stop()
    path.write_text("no archive")
    with pytest.raises(AnnotationError, match=r"not an .npz archive, or damaged"):
        import_ctr_gcn(path, tmp_path / "out")
    with pytest.raises(UsageError, match="the archive is not a file"):
        import_ctr_gcn(tmp_path, tmp_path / "out")


def test_clips_are_not_held_all_at_once(tmp_path: Path) -> None:
    names = [
        f"S001C{c:03}P001R{r:03}A{a:03}" for c in (1, 2, 3) for r in (1, 2) for a in range(1, 41)
    ]
    clip = rows(names[0])
    path = write_archive(
        tmp_path, [*sorted(names), "S001C001P003R001A001"], XSUB, clips=dict.fromkeys(names, clip)
    )
    tracemalloc.start()
    import_ctr_gcn(path, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 40 * 1024**2
    assert peak < 10 * 1024**2


def test_damaged_archives(tmp_path: Path) -> None:
    names = NAMES[:4]
    sources = [
        write_archive(tmp_path / kind, names, XSUB, frames=26, compressed=kind == "deflated")
        for kind in ("stored", "deflated")
    ]
    out = tmp_path / "out"

    def read(path: Path) -> str:
        try:
            import_ctr_gcn(path, out)
            return open_folder(out).fingerprint()
        finally:
            shutil.rmtree(out, ignore_errors=True)

    (tmp_path / "whole").mkdir()
    whole = read(shutil.copy(sources[0], tmp_path / "whole" / "NTU60_CS.npz"))

    def sound(found: object) -> None:
        # what is accepted is what was written: the archive's checksums see to it
        assert found == whole

    tally = survive(
        read, [path.read_bytes() for path in sources], tmp_path / "NTU60_CS.npz",
        text=False, sound=sound, count=wanted(300),
    )  # fmt: skip
    assert tally.refused
