import csv
import json
from pathlib import Path

import pytest

from poselens.data.video import count_frames
from poselens.errors import EnvironmentFault, NumericFault, UsageError
from poselens.recognition import predicting
from poselens.recognition.predicting import predict_clips


def predict(recognizer, videos, out, **options):
    options = {"skeleton": None, "draw": False, "overwrite": False, **options}
    return predict_clips(recognizer, videos, out=out, **options)


def table(out):
    return json.loads((out / "predictions.json").read_text())["clips"]


def rows_of(out):
    return list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))


def test_one_bad_clip_stops_nothing(recognizer, drawn, tmp_path):
    names = ["empty", "text", "truncated", "audio", "missing"]
    videos = [drawn.video, *(drawn.bad(f"{name}.mp4") for name in names), drawn.video]
    results, code = predict(recognizer, videos, tmp_path / "out")
    assert code == 1
    assert [entry["clip"] for entry in results] == [str(video) for video in videos]
    assert [entry["status"] for entry in results] == ["ok", *["error"] * 5, "ok"]
    codes = [entry["error"]["code"] for entry in results[1:-1]]
    assert codes == ["VID-002", "VID-003", "VID-004", "VID-005", "VID-001"]
    assert results[0]["scores"] == results[-1]["scores"]
    for entry in results:
        assert {"status", "label", "scores", "person_coverage"} <= entry.keys()
    assert table(tmp_path / "out") == results


def test_all_clips_bad(recognizer, drawn, tmp_path):
    bad = [drawn.bad("empty.mp4"), drawn.bad("text.mp4")]
    assert predict(recognizer, bad, tmp_path / "a")[1] == 3
    # a URL is wrong usage, not a bad file
    url = Path("https://x.org/a.mp4")
    assert predict(recognizer, [url], tmp_path / "b")[1] == 2
    assert predict(recognizer, [*bad, url], tmp_path / "c")[1] == 3


def test_the_table_has_a_row_for_every_clip(recognizer, drawn, tmp_path):
    videos = [drawn.bad("empty.mp4"), drawn.video]
    results, _ = predict(recognizer, videos, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert [row["status"] for row in rows] == ["error", "ok"]
    assert "VID-002" not in rows[0]["label"]
    assert "empty (0 bytes)" in rows[0]["notes"]
    assert rows[1]["label"] == results[1]["label"]
    assert sum(float(rows[1][name]) for name in results[1]["scores"]) == pytest.approx(1, abs=1e-4)


def test_nobody_is_a_result(skeleton_only, drawn, tmp_path):
    nobody = drawn.bad("nobody.json")
    results, code = predict(skeleton_only, [], tmp_path / "out", skeleton=nobody)
    assert code == 0
    assert (results[0]["status"], results[0]["label"]) == ("no_person", None)
    rows = rows_of(tmp_path / "out")
    assert (rows[0]["label"], rows[0]["person_coverage"]) == ("", "0.0000")


def test_labelled_videos_of_one_name_do_not_meet(recognizer, drawn, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.mp4").write_bytes(drawn.video.read_bytes())
    videos = [tmp_path / "one" / "a.mp4", tmp_path / "two" / "a.mp4"]
    out = tmp_path / "out"
    for _ in range(2):
        results, _ = predict(recognizer, videos, out, draw=True, overwrite=True)
        made = [entry["labelled_video"] for entry in results]
        assert made == [str(out / "a_labelled.mp4"), str(out / "a_2_labelled.mp4")]
    assert len(list(out.glob("*.mp4"))) == 2
    assert count_frames(made[1]) == results[1]["frames"]


def test_results_are_not_replaced_unasked(recognizer, drawn, tmp_path):
    predict(recognizer, [drawn.video], tmp_path)
    before = (tmp_path / "predictions.json").read_bytes()
    with pytest.raises(UsageError, match="results exist already") as caught:
        predict(recognizer, [drawn.bad("empty.mp4")], tmp_path)
    assert (caught.value.code, caught.value.mend) == ("RUN-001", "add --overwrite")
    assert (tmp_path / "predictions.json").read_bytes() == before
    predict(recognizer, [drawn.bad("empty.mp4")], tmp_path, overwrite=True)
    assert table(tmp_path)[0]["status"] == "error"


def test_wrong_usage(recognizer, drawn, tmp_path):
    with pytest.raises(UsageError, match="no clip") as caught:
        predict(recognizer, [], tmp_path)
    assert caught.value.code == "RUN-003"
    with pytest.raises(UsageError, match="one skeleton file for 2 videos") as caught:
        predict(recognizer, [drawn.video] * 2, tmp_path, skeleton=drawn.skeleton)
    assert caught.value.code == "RUN-005"


def test_a_data_set_folder_serves_several_videos(recognizer, drawn, tmp_path):
    videos = [drawn.video, drawn.bad("one-frame.mp4")]
    results, code = predict(recognizer, videos, tmp_path, skeleton=drawn.data)
    assert code == 1
    assert list(results[0]["streams"]) == ["rgb", "joint"]
    assert results[1]["error"]["code"] == "RUN-007"


def test_an_output_that_cannot_be_written_is_refused_before_any_work(recognizer, drawn, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match="cannot write") as caught:
        predict(recognizer, [drawn.video], tmp_path / "file" / "out")
    assert caught.value.code == "ENV-003"


def test_what_was_done_before_an_interruption_is_kept(recognizer, drawn, tmp_path, monkeypatch):
    one, count = predicting._one, [0]

    def interrupted(*arguments):
        count[0] += 1
        if count[0] == 2:
            raise KeyboardInterrupt
        return one(*arguments)

    monkeypatch.setattr(predicting, "_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(recognizer, [drawn.video] * 3, tmp_path)
    assert [entry["status"] for entry in table(tmp_path)] == ["ok"]


def test_scores_that_are_no_numbers_are_never_a_class(recognizer, drawn, tmp_path, monkeypatch):
    def broken(*_):
        raise NumericFault("EVAL-005", "stream 'rgb' gives scores that are not finite")

    monkeypatch.setattr("poselens.recognition.recognizer.score_inputs", broken)
    results, code = predict(recognizer, [drawn.video], tmp_path)
    assert (results[0]["label"], code) == (None, 3)


def test_a_full_disk_ends_it(recognizer, drawn, tmp_path, monkeypatch):
    def full(*_):
        raise EnvironmentFault("ENV-002", "the disk is full")

    monkeypatch.setattr(predicting, "write_labelled_video", full)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        predict(recognizer, [drawn.video] * 2, tmp_path, draw=True)
