"""Whatever is killed, each clip is in the output once, whole."""

import json
import os

import numpy as np
import pytest
from fake_pose import Fake, grey_videos, here

from poselens.errors import AnnotationError, UsageError
from poselens.recipes.pose_ledger import (
    FAILED,
    POSED,
    Ledger,
    Shard,
    Workplace,
    folder_of,
    read_part,
    read_shard,
)
from poselens.recipes.pose_sources import open_source
from poselens.recipes.posing import Manner, estimate_poses
from poselens.recognition.pose_clip import PoseJob, part_path, write_part

ABOUT = {"source": "x", "subject": {"rule": "largest"}}


def record(clip, status="posed", **more):
    return {
        "clip": clip, "id": str(clip), "size": 5, "mtime_ns": 7, "status": status,
        "frames": 4, "people": 1, "found": 2, "tries": 1,
        "quality": 0.5, "confidence": 0.8, "coverage": 0.6, "jitter": None, **more,
    }  # fmt: skip


def test_killed_five_times_each_clip_is_there_once(tmp_path):
    """Sixty clips; benchmarks/pose_kills.py does a thousand with twenty kills."""
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[2] / "benchmarks" / "pose_kills.py"
    spec = importlib.util.spec_from_file_location("pose_kills", path)
    assert spec is not None
    assert spec.loader is not None
    kills = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kills)
    found = kills.trial(tmp_path, clips=60, kills=5, seconds=0.01)
    assert (found["kills"], found["exit_code"], found["once"]) == (5, 0, True)
    assert (found["posed"], found["wrong_or_half"], found["left_behind"]) == (60, 0, False)
    # every life did some of the work, and none of it was lost
    assert found["clips_done_when_killed"] == sorted(found["clips_done_when_killed"])


def test_a_line_that_was_cut_off_leaves_its_clip_unknown(tmp_path):
    place = Workplace(tmp_path / "out", ABOUT)
    with place.lock(Shard()) as ledger:
        for clip in range(3):
            ledger.write(record(clip))
    (path,) = place.folder.glob("ledger-*")
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert place.standing(4).status.tolist() == [POSED, POSED, 0, 0]
    with place.lock(Shard()) as ledger:
        ledger.write(record(3))
    assert place.standing(4).status.tolist() == [POSED, POSED, 0, POSED]
    assert path.read_bytes().count(b"\n") == 3


def test_of_several_lines_the_latest_counts(tmp_path):
    place = Workplace(tmp_path / "out", ABOUT)
    with place.lock(Shard(1, 2)) as ledger:
        ledger.write(record(0, "failed", code="VID-002", message="empty", quality=None))
        ledger.write(record(2, "failed", code="VID-002", message="empty"))
    with place.lock(Shard(1, 3)) as ledger:
        ledger.write(record(0, tries=2))
    standing = place.standing(3)
    assert standing.status.tolist() == [POSED, 0, FAILED]
    assert standing.failures == {2: ("VID-002", "empty")}
    assert standing.counts["tries"].tolist() == [2, 0, 1]
    assert standing.numbers["quality"][0] == pytest.approx(0.5)
    assert np.isnan(standing.numbers["jitter"]).all()


@pytest.mark.parametrize(
    "line",
    [b"{}", b"[1]", b"nonsense", b'{"clip": -1}', b"\xff\xfe", b'{"clip": "0", "status": "posed"}',
     json.dumps(record(9) | {"time": 1.0}).encode()],
)  # fmt: skip
def test_lines_that_are_no_records_are_passed_over(tmp_path, line):
    place = Workplace(tmp_path / "out", ABOUT)
    (place.folder / "ledger-1-of-1.jsonl").write_bytes(line + b"\n")
    assert place.standing(2).status.tolist() == [0, 0]


def test_a_shard_is_worked_on_by_one_process(tmp_path):
    place = Workplace(tmp_path / "out", ABOUT)
    with place.lock(Shard(1, 2)):
        place.lock(Shard(2, 2)).close()
        for shard in (Shard(1, 2), Shard()):
            with pytest.raises(UsageError, match="another process works on this shard") as caught:
                place.lock(shard)
            assert caught.value.code == "POSE-012"
    with place.lock(Shard()), pytest.raises(UsageError, match="another process"):
        place.lock(Shard(1, 2))


def test_other_settings_are_named(tmp_path):
    Workplace(tmp_path / "out", ABOUT)
    Workplace(tmp_path / "out", ABOUT)
    with pytest.raises(
        UsageError, match=r"begun with source 'x', now 'y' \(subject differ as well\)"
    ):
        Workplace(tmp_path / "out", {"source": "y", "subject": {"rule": "all"}})


def test_shards_share_all_clips_between_them():
    parts = [Shard(number, 3).clips(10).tolist() for number in (1, 2, 3)]
    assert parts == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    assert read_shard("2/3") == Shard(2, 3)
    for text in ("0/3", "4/3", "1", "a/b", "1/3/5", "-1/3", ""):
        with pytest.raises(UsageError, match="expected I/N") as caught:
            read_shard(text)
        assert caught.value.code == "POSE-010"


def test_a_part_comes_back_and_a_damaged_one_is_named(tmp_path):
    joints = np.random.default_rng(0).random((2, 5, 17, 2)).astype(np.float32)
    write_part(tmp_path, 1234, joints, joints[..., 0])
    path = part_path(tmp_path, 1234)
    assert path.parts[-2:] == ("00001", "00001234.npz")
    np.testing.assert_array_equal(read_part(tmp_path, 1234)[0], joints)
    path.write_bytes(path.read_bytes()[:-30])
    for clip in (1234, 5):
        with pytest.raises(
            AnnotationError, match="the ledger says that this clip is done"
        ) as caught:
            read_part(tmp_path, clip)
        assert caught.value.code == "POSE-013"
    np.savez(path, pixels=joints)
    with pytest.raises(AnnotationError, match="hold other arrays"):
        read_part(tmp_path, 1234)


def test_a_damaged_part_stops_the_assembly_and_leaves_nothing(tmp_path):
    videos, out = grey_videos(tmp_path / "videos", 3), tmp_path / "out"
    source, job = open_source([videos]), PoseJob(Fake())
    estimate_poses(source, out, job, manner=Manner(Shard(1, 1), engine=here))
    part_path(folder_of(out), 1).write_bytes(b"")
    with pytest.raises(AnnotationError, match="POSE-013|the file is empty"):
        estimate_poses(source, out, job, manner=Manner(merge=True))
    assert not out.exists()
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".poselens")]


def test_a_ledger_of_a_read_only_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "no")))
    with pytest.raises(Exception, match="no permission to write") as caught:
        Ledger(tmp_path / "ledger")
    assert caught.value.code == "ENV-001"
