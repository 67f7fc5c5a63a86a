"""The demonstration at a size that a test can bear."""

import shutil

import pytest
from drawn import small_recipe

from poselens.cli.demo import demo
from poselens.data.video import count_frames


@pytest.fixture
def small(monkeypatch, drawn):
    """The clips of the other tests instead of new ones, and networks as small as theirs."""
    asked = []

    def make(out, **options):
        asked.append(options)
        shutil.copytree(drawn.data, out)

    monkeypatch.setattr("poselens.synth.make.make_dataset", make)
    monkeypatch.setattr("poselens.recipes.load", lambda _: small_recipe())
    return asked


def test_it_draws_trains_reports_and_predicts(small, tmp_path, capsys):
    out = tmp_path / "demo"
    assert demo(out=out, clips=48, seed=3) == 0
    assert [(options["clips"], options["seed"]) for options in small] == [(48, 3)]
    table, told = capsys.readouterr()
    for stream in ("rgb", "joint", "fused"):
        assert stream in table
    assert f"report         {out / 'report.html'}" in told
    (labelled,) = (out / "predictions").glob("*_labelled.mp4")
    assert f"labelled video {labelled}" in told
    assert count_frames(labelled) > 20
    # again: nothing is drawn or trained, and the same clip is predicted
    before = (out / "rgb" / "weights.safetensors").stat().st_mtime_ns
    assert demo(out=out, clips=48, seed=3) == 0
    assert len(small) == 1
    assert (out / "rgb" / "weights.safetensors").stat().st_mtime_ns == before
    assert list((out / "predictions").glob("*_labelled.mp4")) == [labelled]


def test_a_signal_is_told(small, tmp_path, capsys, monkeypatch):
    class Stopped:
        exit_code = 143

    monkeypatch.setattr("poselens.recipes.pipeline.train", lambda *_: Stopped)
    assert demo(out=tmp_path, clips=48, seed=0) == 143
    assert "the same command goes on" in capsys.readouterr().err
