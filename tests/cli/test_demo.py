"""The demonstration at a size that a test can bear."""

from functools import partial

import pytest
from drawn import small_recipe

from poselens.cli.demo import demo
from poselens.data.video import count_frames
from poselens.synth.make import make_dataset


@pytest.fixture
def small(monkeypatch):
    tiny = partial(make_dataset, size=(64, 64), difficulty="easy", workers=1)
    monkeypatch.setattr("poselens.synth.make.make_dataset", tiny)
    monkeypatch.setattr("poselens.recipes.load", lambda _: small_recipe())


def test_it_draws_trains_reports_and_predicts(small, tmp_path, capsys):
    out = tmp_path / "demo"
    assert demo(out=out, clips=48, seed=0) == 0
    table, told = capsys.readouterr()
    for stream in ("rgb", "joint", "fused"):
        assert stream in table
    assert f"report         {out / 'report.html'}" in told
    (labelled,) = (out / "predictions").glob("*_labelled.mp4")
    assert f"labelled video {labelled}" in told
    assert count_frames(labelled) > 20
    # again: nothing is drawn or trained, and the same clip is predicted
    before = (out / "rgb" / "weights.safetensors").stat().st_mtime_ns
    assert demo(out=out, clips=48, seed=0) == 0
    assert (out / "rgb" / "weights.safetensors").stat().st_mtime_ns == before
    assert list((out / "predictions").glob("*_labelled.mp4")) == [labelled]


def test_a_signal_is_told(small, tmp_path, capsys, monkeypatch):
    class Stopped:
        exit_code = 143

    monkeypatch.setattr("poselens.recipes.pipeline.train", lambda *_: Stopped)
    monkeypatch.setattr("poselens.synth.make.make_dataset", lambda out, **_: None)
    (tmp_path / "data").mkdir()
    monkeypatch.setattr("poselens.data.folder.open_folder", _opened)
    assert demo(out=tmp_path, clips=48, seed=0) == 143
    assert "the same command goes on" in capsys.readouterr().err


class _opened:  # noqa: N801 - stands in for a function
    def __init__(self, root):
        self.root = root
        self.info = type("Info", (), {"skeletons": {"metres": 1}})
