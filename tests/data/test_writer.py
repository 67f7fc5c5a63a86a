import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poselens.data.folder import open_folder
from poselens.data.info import ClipRecord, DatasetInfo, ProtocolInfo, SkeletonInfo
from poselens.data.writer import FolderWriter
from poselens.errors import AnnotationError, EnvironmentFault, PoselensError, UsageError

GOOD = np.ones((1, 2, 17, 2), dtype=np.float32)


def test_same_clips_give_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in tiny.rglob("*") if path.is_file()}
    assert set(first) == {
        "dataset.yaml", "clips.csv", "pixels.npy", "pixels_index.npz", "metres.npy",
        "metres_index.npz",
    }  # fmt: skip
    assert np.load(tiny / "skeletons/pixels.npy").shape == (11, 17, 2)


def test_an_error_leaves_nothing(tmp_path: Path, info: DatasetInfo) -> None:
    def write() -> None:
        with FolderWriter(tmp_path / "out", info) as writer:
            writer.add(ClipRecord("a", label=0), {}, {"pixels": GOOD})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_seen_before_the_end(tmp_path: Path, info: DatasetInfo) -> None:
    with FolderWriter(tmp_path / "deep/out", info) as writer:
        writer.add(ClipRecord("a", label=0), {}, {})
        assert not (tmp_path / "deep/out").exists()
        (writer.staging / "note.txt").write_text("x")
    assert (tmp_path / "deep/out/note.txt").read_text() == "x"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


def test_an_output_in_use_is_refused(tiny: Path, info: DatasetInfo) -> None:
    with pytest.raises(UsageError, match="the output exists already") as caught:
        FolderWriter(tiny, info)
    assert caught.value.code == "DATA-020"


def test_an_empty_folder_is_filled(tmp_path: Path, info: DatasetInfo) -> None:
    (tmp_path / "out").mkdir()
    with FolderWriter(tmp_path / "out", info):
        pass
    assert len(open_folder(tmp_path / "out")) == 0


def test_remainders_of_a_killed_writer_are_swept(tmp_path: Path, info: DatasetInfo) -> None:
    (tmp_path / ".poselens-out-dead").mkdir()
    (tmp_path / ".poselens-out-dead/clips.csv").write_text("")
    with FolderWriter(tmp_path / "out", info) as first:
        with FolderWriter(tmp_path / "out-2", info):
            pass
        second = FolderWriter(tmp_path / "out", info)
        assert first.staging.exists()
        (tmp_path / "out").mkdir()
        (tmp_path / "out/x").write_text("")
        with pytest.raises(EnvironmentFault, match="cannot write: Directory not empty"):
            second.__exit__(None, None, None)
        (tmp_path / "out/x").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out-2"]


@pytest.mark.parametrize(
    ("record", "splits", "skeletons", "code", "message"),
    [
        (ClipRecord("a"), {}, {}, "DATA-007", "the id is there twice"),
        (ClipRecord(""), {}, {}, "DATA-005", "the id is empty"),
        (ClipRecord("b", label=2), {}, {}, "DATA-006", "label 2, expected -1 to 1"),
        (ClipRecord("b", video="../x"), {}, {}, "DATA-009", "leads out"),
        (ClipRecord("b", subject="\udce9"), {}, {}, "DATA-005", "cannot be written as UTF-8"),
        (ClipRecord("b", start_s=-1.0), {}, {}, "DATA-005", "start_s is -1.0"),
        (ClipRecord("b", start_s=2.0, end_s=2.0), {}, {}, "DATA-005", "not after start_s"),
        (ClipRecord("b"), {"randm": "test"}, {}, "DATA-008", "did you mean 'random'"),
        (ClipRecord("b"), {"random": "dev"}, {}, "DATA-008", "part 'dev', expected"),
        (ClipRecord("b"), {"random": "train"}, {}, "DATA-006", "no label, but is in the train"),
        (
            ClipRecord("b"),
            {},
            {"feet": GOOD},
            "DATA-003",
            r"joints in feet.*\['pixels', 'metres'\]",
        ),
        (ClipRecord("b"), {}, {"pixels": GOOD[0]}, "SKEL-005", r"found shape \(2, 17, 2\)"),
        (ClipRecord("b"), {}, {"pixels": GOOD[:, :0]}, "SKEL-005", r"found shape \(1, 0, 17, 2\)"),
        (ClipRecord("b"), {}, {"metres": GOOD}, "SKEL-005", r"expected .*joints, 3\)"),
        (ClipRecord("b"), {}, {"pixels": GOOD[:, :, :16]}, "SKEL-004", "found 16 joints, expected"),
        (ClipRecord("b"), {}, {"pixels": GOOD * 2e6}, "SKEL-008", "2e[+]06, the limit is 1e[+]06"),
    ],
)
def test_clips_that_could_not_be_read_again(
    tmp_path: Path, info: DatasetInfo, record: ClipRecord, splits: dict[str, str],
    skeletons: dict, code: str, message: str,
) -> None:  # fmt: skip
    with FolderWriter(tmp_path / "out", info) as writer:
        writer.add(ClipRecord("a", label=0), {}, {"pixels": GOOD})
        with pytest.raises(PoselensError, match=message) as caught:
            writer.add(record, splits, skeletons)
    assert caught.value.code == code
    assert open_folder(tmp_path / "out").ids.tolist() == ["a"]


def test_a_description_that_contradicts_itself(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="listed twice"):
        FolderWriter(tmp_path / "out", DatasetInfo(name="x", classes=["a", "a"]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (errno.EACCES, "ENV-001", "no permission to write"),
        (errno.ENOSPC, "ENV-002", "the disk is full"),
        (errno.EIO, "ENV-003", "cannot write"),
    ],
)
def test_disk_faults_while_closing(
    tmp_path: Path, info: DatasetInfo, monkeypatch: pytest.MonkeyPatch,
    number: int, code: str, message: str,
) -> None:  # fmt: skip
    def fail(descriptor: int) -> None:
        raise OSError(number, "injected")

    writer = FolderWriter(tmp_path / "out", info)
    writer.add(ClipRecord("a"), {}, {})
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(EnvironmentFault, match=message) as caught:
        writer.__exit__(None, None, None)
    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nth", range(1, 9))
def test_a_fault_at_any_flush_or_rename_leaves_nothing(
    tmp_path: Path, info: DatasetInfo, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    calls = 0

    def failing(real: Callable) -> Callable:
        def call(*arguments: object) -> object:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise OSError(errno.EIO, "injected")
            return real(*arguments)

        return call

    writer = FolderWriter(tmp_path / "out", info)
    writer.add(ClipRecord("a"), {}, {"pixels": GOOD})
    monkeypatch.setattr("os.fsync", failing(os.fsync))
    monkeypatch.setattr("os.rename", failing(os.rename))
    try:
        writer.__exit__(None, None, None)
    except EnvironmentFault:
        assert calls == nth
    # the last flush is of the parent folder, after the rename: the data set is complete by then
    if (tmp_path / "out").exists():
        assert len(open_folder(tmp_path / "out")) == 1
    assert [path.name for path in tmp_path.iterdir()] in ([], ["out"])


names = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)


@given(
    st.lists(
        st.builds(
            ClipRecord,
            id=names,
            label=st.sampled_from([0, 1]),
            subject=names,
            view=names,
            source=names,
            start_s=st.none() | st.floats(0, 1e4, allow_subnormal=False).map(lambda s: round(s, 6)),
            width=st.none() | st.integers(1, 99999),
        ),
        unique_by=lambda record: record.id,
        max_size=5,
    )
)
def test_any_record_survives(tmp_path_factory: pytest.TempPathFactory, records: list) -> None:
    root = tmp_path_factory.mktemp("any") / "out"
    with FolderWriter(root, DatasetInfo(name="x", classes=["wave", "clap"])) as writer:
        for record in records:
            writer.add(record, {}, {})
    folder = open_folder(root)
    assert [folder.record(i) for i in range(len(folder))] == records
    assert [folder.index_of(record.id) for record in records] == list(range(len(records)))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_a_hundred_thousand_clips_open_in_little_memory(tmp_path: Path) -> None:
    info = DatasetInfo(
        name="many",
        classes=[f"class-{label}" for label in range(100)],
        skeletons={"pixels": SkeletonInfo(layout="coco-17", dimensions=2)},
        protocols={"p": ProtocolInfo(description="")},
    )
    with FolderWriter(tmp_path / "many", info) as writer:
        for clip in range(100_000):
            record = ClipRecord(
                f"clip-{clip}", f"videos/{clip}.mp4", clip % 100, str(clip % 40), "", f"r{clip}",
                width=1920, height=1080,
            )  # fmt: skip
            writer.add(record, {"p": "train"}, {"pixels": GOOD})
    program = (
        "import json, sys; from pathlib import Path\n"
        "from poselens.data.folder import open_folder\n"
        "folder = open_folder(Path(sys.argv[1]))\n"
        "last = folder.index_of('clip-99999')\n"
        "frames = folder.skeleton(last, 'pixels').frames\n"
        # not ru_maxrss: a child inherits that of the process that started it
        "status = Path('/proc/self/status').read_text().split()\n"
        "peak = int(status[status.index('VmHWM:') + 1])\n"
        "print(json.dumps([len(folder), last, frames, peak, 'torch' in sys.modules]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "many")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    clips, last, frames, peak, torch_loaded = json.loads(answer.stdout)
    assert (clips, last, frames, torch_loaded) == (100_000, 99_999, 2, False)
    assert peak / 1024 < 500


def test_session_and_event_are_columns_where_a_data_set_has_them(
    tmp_path: Path, info: DatasetInfo
) -> None:
    record = ClipRecord("a", label=0, session="day 2", event="v1_E_0001")
    with FolderWriter(tmp_path / "out", info, columns=("session", "event")) as writer:
        writer.add(record, {"random": "train"}, {})
    folder = open_folder(tmp_path / "out")
    assert folder.record(0) == record
    assert folder.column("event").tolist() == ["v1_E_0001"]
    with (
        FolderWriter(tmp_path / "plain", info) as writer,
        pytest.raises(AnnotationError, match="has a session, the data set has no such column"),
    ):
        writer.add(record, {}, {})
    assert "session" not in (tmp_path / "plain/clips.csv").read_text()
