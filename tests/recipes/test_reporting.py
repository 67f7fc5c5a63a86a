import shutil

import numpy as np
import pytest
import torch

from poselens.contrast.record import write_contrasted
from poselens.contrast.tally import Contrasted
from poselens.data.csv_clips import import_csv
from poselens.data.folder import open_folder
from poselens.data.video import read_frames
from poselens.recipes import reporting
from poselens.recipes.evaluating import evaluate_bundle
from poselens.recipes.reporting import make_report
from poselens.recognition.bundle import load_bundle

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def judged(drawn):
    bundle, folder = load_bundle(drawn.bundle, device=CPU), open_folder(drawn.data)
    return bundle, folder, evaluate_bundle(bundle, folder, "cross-subject", "test")


@pytest.fixture
def asked(monkeypatch):
    """The data that is asked to be written as a page."""
    seen = []
    monkeypatch.setattr(reporting, "write_report", lambda _, data: seen.append(data))
    return seen


def test_one_page_that_fetches_nothing(judged, drawn, tmp_path):
    page = tmp_path / "report.html"
    make_report(page, *judged, runs=[drawn.rgb, drawn.joint], commands=["poselens fuse a b"])
    text = page.read_text()
    assert "poselens fuse a b" in text
    assert "data:image/" in text
    assert 'src="http' not in text
    assert "<link" not in text


def test_a_report_holds_every_stream_its_curves_and_costs(judged, drawn, asked, tmp_path):
    bundle, folder, result = judged
    make_report(
        tmp_path / "page", *judged, runs=[drawn.rgb, drawn.joint], commands=[], notes=["mine"]
    )
    (data,) = asked
    assert [entry.evaluation.stream for entry in data.streams] == ["rgb", "joint"]
    assert [[row["split"] for row in entry.history] for entry in data.streams] == [
        ["train", "val"]
    ] * 2
    assert data.fused.evaluation is result.fused
    assert data.gain.n == 16
    assert [entry.stream for entry in data.costs] == ["rgb", "joint"]
    assert all(entry.gmacs > 0 and entry.milliseconds > 0 for entry in data.costs)
    assert data.costs[0].params == bundle.streams[0].facts["params"]
    assert (data.fingerprint, data.split) == (folder.fingerprint(), "test")
    assert list(data.notes) == ["mine", *result.units.told]
    assert "1 subject is too few to draw" in result.units.told[0]
    assert data.facts == {"seeds": "0, 0"}
    assert data.hardware.endswith("threads")


def test_what_was_contrasted_comes_from_the_runs(judged, drawn, asked, tmp_path):
    joint = tmp_path / "joint"
    joint.mkdir()
    table = np.arange(16 * 16).reshape(16, 16)
    write_contrasted(joint, 3, Contrasted({"class-aware": table}, table / 256, table))
    for runs in ([drawn.rgb, joint], [drawn.rgb, drawn.joint], []):
        make_report(tmp_path / "page", *judged, runs=runs, commands=[])
    with_contrast, without, gone = asked
    (history,) = with_contrast.contrasted
    assert (history.stream, list(history.epochs)) == ("joint", [3])
    np.testing.assert_array_equal(history.taken["class-aware"][0], table)
    assert (without.contrasted, gone.contrasted) == ([], [])


def test_confusions_are_shown_in_frames(judged, asked, tmp_path):
    make_report(tmp_path / "page", *judged, runs=[], commands=[])
    (data,) = asked
    assert data.pairs
    for pair in data.pairs:
        assert pair.strips[0].caption.startswith(f"{pair.label}, taken for {pair.predicted} (synth")
        for strip in pair.strips:
            assert strip.pixels.shape == (120, 6 * 120, 3)
    assert all(entry.history == [] for entry in data.streams)


def test_what_was_left_out_and_what_is_doubtful_is_said(judged, asked, tmp_path):
    bundle, folder, result = judged
    fields = {**vars(result), "skipped": {"synth-1 (rgb)": "VID-002 empty"}, "notes": ["doubt"]}
    make_report(tmp_path / "page", bundle, folder, type(result)(**fields), runs=[], commands=[])
    assert list(asked[0].notes) == [
        *result.units.told,
        "doubt",
        "skipped synth-1 (rgb): VID-002 empty",
    ]


def test_a_single_stream_has_no_fusion(drawn, asked, tmp_path):
    run, folder = load_bundle(drawn.joint, device=CPU), open_folder(drawn.data)
    result = evaluate_bundle(run, folder, "cross-subject", "test")
    make_report(tmp_path / "page", run, folder, result, runs=[drawn.joint], commands=[])
    (data,) = asked
    assert (data.fused, data.fusion, data.gain) == (None, None, None)


def test_a_strip_shows_its_own_stretch_of_the_video(drawn, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(drawn.video, source / "a.mp4")
    (source / "clips.csv").write_text(
        "id,video,label,start,end,split\none,a.mp4,x,0,0.5,train\ntwo,a.mp4,x,1,1.5,train\n"
    )
    import_csv(source / "clips.csv", tmp_path / "data")
    folder = open_folder(tmp_path / "data")
    for clip, first in (("one", 0), ("two", 24)):
        strip = reporting._strip(folder, folder.index_of(clip))
        expected = read_frames(drawn.video, [first], size=(120, 120)).pixels[0]
        np.testing.assert_array_equal(strip[:, :120], expected)


def test_a_picture_less_does_not_spoil_a_report(drawn, tmp_path):
    data = shutil.copytree(drawn.data, tmp_path / "data")
    (data / "videos" / "synth-000000.mp4").unlink()
    assert reporting._strip(open_folder(data), 0) is None
