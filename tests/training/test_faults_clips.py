"""One clip in twenty is bad, in every way: who is skipped, and what becomes of the rest.

Equal to what: to training on the same data set whose protocol has the bad clips in no part. Where
they are known before the first epoch (skeletons, and videos that are cached or read once before)
everything is equal, bit for bit. Videos that are decoded as they come are known when they come:
there every batch is the one of the sound data set without them.
"""

import csv
import io
import json
import shutil

import mutate
import numpy as np
import pytest
import torch

from poselens.checkpoint import read_tensors
from poselens.data.folder import open_folder
from poselens.data.info import ClipRecord
from poselens.data.writer import FolderWriter
from poselens.training import wiring
from poselens.training.config import ContrastSettings
from poselens.training.journal import read_rows
from poselens.training.run import train

CLIPS = 120
BAD = {
    # name of the damage to the clip that has it: six of 120
    "truncated": 3,
    "empty": 21,
    "text": 40,
    "missing": 57,
    "headless": 77,
    "picture": 101,
}
PARTS = {**{clip: "val" for clip in range(100, CLIPS)}, **{clip: "train" for clip in range(100)}}


def name(clip):
    return f"c{clip:03d}"


@pytest.fixture
def build(tiny_folder):
    """Return what writes the data set: the tiny one's clips again and again, slightly moved."""
    tiny = open_folder(tiny_folder)

    def make(root, *, bad_joints=False):
        with FolderWriter(root, tiny.info) as writer:
            (writer.staging / "videos").mkdir()
            for clip in range(CLIPS):
                place, video = clip % len(tiny), f"videos/{name(clip)}.mp4"
                shutil.copyfile(tiny.video_path(place), writer.staging / video)
                given = {
                    space: tiny.skeleton(place, space).positions + 1e-3 * clip
                    for space in ("pixels", "metres")
                }
                if bad_joints and clip in BAD.values():
                    given = spoil_joints(clip, given)
                record = ClipRecord(name(clip), video, place % 4, height=48, width=64)
                writer.add(record, {"p": PARTS[clip]}, given)
        return root

    return make


def spoil_joints(clip, given):
    """No skeleton, or one of which nothing was seen: nothing else passes the door of a folder."""
    if sorted(BAD.values()).index(clip) % 2:
        return {"pixels": given["pixels"]}
    return {**given, "metres": np.full_like(given["metres"], np.nan)}


def spoil_videos(root):
    def path(kind):
        return root / "videos" / f"{name(BAD[kind])}.mp4"

    content = path("truncated").read_bytes()
    path("truncated").write_bytes(content[: len(content) // 3])
    path("empty").write_bytes(b"")
    path("text").write_text("this is not a video\n" * 50)
    path("missing").unlink()
    path("headless").write_bytes(content[400:])
    path("picture").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))


def without_bad(root, clean):
    """Copy a data set and take the bad clips out of every part of its protocol."""
    shutil.copytree(root, clean, ignore=shutil.ignore_patterns(".cache"))
    table = clean / "clips.csv"
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    (column,) = [key for key in rows[0] if key.endswith("p") and rows[0][key] in ("train", "val")]
    for row in rows:
        if row["id"] in {name(clip) for clip in BAD.values()}:
            row[column] = ""
    told = io.StringIO()
    writer = csv.DictWriter(told, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    table.write_text(told.getvalue())
    return clean


@pytest.fixture
def followed(monkeypatch, tiny_section, tiny_request):
    """Train on a folder; returns its run, and each batch's clips, loss and inputs."""

    def go(root, out, branch, **training):
        seen = []
        with monkeypatch.context() as patched:
            for kind in ("cross_entropy", "contrastive"):
                patched.setattr(wiring, kind, following(getattr(wiring, kind), seen))
            section = tiny_section(branch, max_bad=0.1, batch_size=16, **training)
            if branch == "skeleton":
                contrast = ContrastSettings(dimensions=8, positives=4, negatives=8)
                section = section.model_copy(update={"contrast": contrast})
            train(open_folder(root), section, tiny_request(root=root, out=out))
        return seen

    return go


def following(real, seen):
    def objective(*arguments, **options):
        inner = real(*arguments, **options)

        def followed(network, batch):
            losses = inner(network, batch)
            inputs = dict(zip(batch["id"], batch["inputs"][0].clone(), strict=True))
            seen.append((list(batch["id"]), losses.total.item(), inputs))
            return losses

        return followed

    return objective


def skipped(out):
    lines = (out / "skipped.jsonl").read_text().splitlines()
    return {entry["id"]: entry["reason"] for entry in map(json.loads, lines)}


def require_equal(out, other):
    """Weights, memory, scores and every row of the log but its times."""
    for file in ("weights.safetensors", "scores_val.npz"):
        assert (out / file).read_bytes() == (other / file).read_bytes(), file
    one, two = (read_rows(run / "log.jsonl") for run in (out, other))
    timed = {"seconds", "clips_per_second", "data_wait"}
    assert [{k: v for k, v in row.items() if k not in timed} for row in one] == [
        {k: v for k, v in row.items() if k not in timed} for row in two
    ]


BAD_NAMES = {name(clip) for clip in BAD.values()}


def test_bad_skeletons_change_nothing_for_the_rest(tmp_path, build, followed):
    root = build(tmp_path / "data", bad_joints=True)
    clean = without_bad(root, tmp_path / "clean")
    seen = followed(root, tmp_path / "run", "skeleton")
    other = followed(clean, tmp_path / "other", "skeleton")
    assert skipped(tmp_path / "run").keys() == BAD_NAMES
    assert skipped(tmp_path / "other") == {}
    assert [each[:2] for each in seen] == [each[:2] for each in other]
    require_equal(tmp_path / "run", tmp_path / "other")
    reasons = sorted({text.split()[0] for text in skipped(tmp_path / "run").values()})
    mutate.note({"clips": CLIPS, "skipped": len(BAD_NAMES), "reasons": reasons, "equal": "all"})


@pytest.mark.parametrize("cache", ["disk", "packed"])
def test_bad_videos_that_are_cached_change_nothing_for_the_rest(tmp_path, build, followed, cache):
    root = build(tmp_path / "data")
    spoil_videos(root)
    clean = without_bad(root, tmp_path / "clean")
    options = {"cache": cache, "epochs": 1}
    seen = followed(root, tmp_path / "run", "rgb", **options)
    other = followed(clean, tmp_path / "other", "rgb", **options)
    reasons = skipped(tmp_path / "run")
    assert reasons.keys() == BAD_NAMES
    assert [each[:2] for each in seen] == [each[:2] for each in other]
    require_equal(tmp_path / "run", tmp_path / "other")
    codes = {kind: reasons[name(clip)].split()[0] for kind, clip in BAD.items()}
    mutate.note({"clips": CLIPS, "skipped": len(BAD), "reasons": codes, "equal": "all"})


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_videos_leave_every_batch_the_one_it_would_be(tmp_path, build, followed, workers):
    options = {"workers": workers, "epochs": 1}
    sound = build(tmp_path / "sound")
    whole = followed(sound, tmp_path / "other", "rgb", **options)
    root = shutil.copytree(sound, tmp_path / "data")
    spoil_videos(root)
    seen = followed(root, tmp_path / "run", "rgb", **options)
    assert skipped(tmp_path / "run").keys() == BAD_NAMES
    assert len(seen) == len(whole)
    for (ids, _, inputs), (all_ids, _, all_inputs) in zip(seen, whole, strict=True):
        assert ids == [clip for clip in all_ids if clip not in BAD_NAMES]
        assert all(torch.equal(value, all_inputs[clip]) for clip, value in inputs.items())
    assert read_tensors(tmp_path / "run" / "weights.safetensors")
    mutate.note({"clips": CLIPS, "skipped": len(BAD), "equal": "batches, without the bad clips"})


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_videos_that_are_read_once_before_change_nothing_for_the_rest(
    tmp_path, build, followed, workers
):
    root = build(tmp_path / "data")
    spoil_videos(root)
    clean = without_bad(root, tmp_path / "clean")
    seen = followed(root, tmp_path / "run", "rgb", precheck=True, workers=workers, epochs=2)
    other = followed(clean, tmp_path / "other", "rgb", workers=workers, epochs=2)
    assert skipped(tmp_path / "run").keys() == BAD_NAMES
    assert [each[:2] for each in seen] == [each[:2] for each in other]
    require_equal(tmp_path / "run", tmp_path / "other")
    mutate.note({"clips": CLIPS, "skipped": len(BAD), "equal": "all, read once before"})
