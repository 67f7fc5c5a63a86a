import json
import shutil

import numpy as np
import pytest
from PIL import Image

from poselens.clips.regions import cache_folder, cached_regions
from poselens.data.folder import open_folder
from poselens.recipes import load
from poselens.training.config import override

SMALL = ["--recipe", "tiny", "--set", "input.scale=36", "--set", "input.size=32"]
INPUT = override(load("tiny").rgb, ["input.scale=36", "input.size=32"]).input


@pytest.fixture
def data(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "data")


@pytest.fixture
def cache(poselens, data):
    return lambda *words: poselens("data", "cache", data, *SMALL, "--workers", 0, *words)


@pytest.mark.parametrize("form", ["raw", "packed"])
def test_what_training_looks_for_is_there(cache, data, form, monkeypatch):
    answer = cache("--format", form, "--json")
    assert answer.code == 0
    facts = answer.facts
    place = cache_folder(data, INPUT, form)
    assert facts["cache"] == str(place)
    assert (facts["clips"], facts["added"], facts["skipped"], facts["frames"]) == (14, 14, {}, 168)
    assert facts["bytes"] == sum(file.stat().st_size for file in place.iterdir())
    if form == "raw":
        assert facts["bytes_per_clip"] == 12 * 36 * 36 * 3
    assert facts["use"] == f"training.cache={ {'raw': 'disk', 'packed': 'packed'}[form] }"
    monkeypatch.setattr("poselens.clips.regions._pack_clip", lambda *_: pytest.fail("decoded"))
    folder = open_folder(data)
    found = cached_regions(folder, folder.indices("p", "train"), INPUT, form, workers=0)
    assert found.read(3, [0]).shape == (1, 36, 36, 3)


def test_an_existing_cache_is_told_and_grows_by_what_it_lacks(cache):
    assert cache("--protocol", "p", "--json").facts["added"] == 14
    answer = cache()
    assert (answer.code, answer.out) == (0, "")
    assert "14 clips, all of them there already, 0 skipped" in answer.err
    assert "--set training.cache=packed" in answer.err


def test_a_protocol_is_its_own_clips(cache, data):
    table = data / "clips.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], lines[1].removesuffix("train"), *lines[2:]]) + "\n")
    assert cache("--protocol", "p", "--json").facts["clips"] == 13
    assert cache("--json").facts["added"] == 1
    answer = cache("--protocol", "q", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, "CFG-004")


def test_unreadable_clips_are_named_and_exit_1(cache, data):
    (data / "videos" / "c01.mp4").write_bytes(b"")
    answer = cache()
    assert answer.code == 1
    assert "14 decoded now, 1 skipped" in answer.err
    assert "c01: VID-002" in answer.err
    assert list(cache("--json").facts["skipped"]) == ["c01"]


def test_a_cache_on_another_disk_is_linked(cache, data, tmp_path):
    first = cache("--out", tmp_path / "fast", "--json")
    place = cache_folder(data, INPUT, "packed")
    assert first.code == 0
    assert place.is_symlink()
    assert (tmp_path / "fast" / place.name / "frames.bin").stat().st_size > 0
    assert cache("--out", tmp_path / "fast", "--json").facts["added"] == 0
    shutil.rmtree(tmp_path / "fast")
    assert cache("--out", tmp_path / "other", "--json").facts["added"] == 14
    answer = cache("--out", tmp_path / "third", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, "DATA-020")
    assert "are kept in" in answer.err
    (tmp_path / "file").touch()
    shutil.rmtree(data / ".cache")
    answer = cache("--out", tmp_path / "file", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (5, "ENV-003")


def test_a_damaged_cache_is_exit_3(cache, data):
    cache()
    (cache_folder(data, INPUT, "packed") / "clips.jsonl").write_text("{}\n")
    answer = cache("--json")
    assert (answer.code, answer.facts["error"]["code"]) == (3, "DATA-027")


def test_a_preview_shows_cached_frames(cache, data, tmp_path):
    assert cache("--format", "raw", "--preview", tmp_path / "p.png").code == 0
    with Image.open(tmp_path / "p.png") as sheet:
        assert sheet.size == (200 + 8 * 114, 12 * 114)
        tile = np.asarray(sheet.crop((200, 0, 312, 112)).resize((36, 36)), float)
    first = cached_regions(open_folder(data), [0], INPUT, "raw", workers=0).read(0, [0])[0]
    assert np.abs(tile - first).mean() < 12
    answer = cache("--preview", tmp_path / "no" / "p.png", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (5, "ENV-003")


def test_the_ledger_speaks_of_each_clip_once(cache, data):
    cache()
    ledger = cache_folder(data, INPUT, "packed") / "clips.jsonl"
    clips = [json.loads(line)["clip"] for line in ledger.read_text().splitlines()]
    assert clips == [*range(14)]
