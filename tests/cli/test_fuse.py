import json

import numpy as np
import pytest
from score_files import made_up_scores, write_csv, write_pyskl

from poselens.data.folder import open_folder


@pytest.fixture
def files(drawn, tmp_path):
    folder = open_folder(drawn.data)
    rows = folder.indices("cross-subject", "val")
    found = []
    for seed, name in enumerate(("joint", "bone")):
        scores = made_up_scores(rows, len(folder.info.classes), seed)
        scores[np.arange(len(rows)), folder.labels[rows]] += 3
        found.append(
            write_csv(tmp_path / f"{name}.csv", folder.ids[rows], scores, folder.info.classes)
        )
    return found


def data(drawn):
    return ["--data", drawn.data, "--protocol", "cross-subject"]


def test_runs_to_a_bundle_that_predicts(drawn, poselens, tmp_path):
    out, picture = tmp_path / "bundle", tmp_path / "pictures" / "weights.svg"
    answer = poselens(
        "fuse", drawn.rgb, drawn.joint, *data(drawn), "--out", out, "--weights", "fitted",
        "--objective", "accuracy", "--per-class", "--landscape", picture, "--device", "cpu",
    )  # fmt: skip
    assert answer.code == 0
    assert "fitted weights for accuracy" in " ".join(answer.out.split())
    assert "on validation, weights fitted out of fold: fusion against the best stream" in answer.err
    assert "McNemar p = " in answer.err
    assert "GMACs" in answer.err
    assert picture.read_text().startswith("<svg")
    fusion = json.loads((out / "bundle.json").read_text())["fusion"]
    assert fusion["gain"]["over_best"]["mcnemar"]["p"] <= 1
    assert {entry["stream"] for entry in fusion["gain"]["worth"]} == {"rgb", "joint"}
    judged = poselens("evaluate", out, *data(drawn)[1:], "--device", "cpu", "--json")
    assert judged.code == 0
    assert (
        "fitted weights per class for accuracy, on 16 validation clips" in judged.facts["selection"]
    )
    named = poselens("predict", out, drawn.video, "--skeleton", drawn.skeleton, "--device", "cpu",
                     "--out", tmp_path / "predictions", "--json")  # fmt: skip
    assert named.code == 0


def test_fixed_weights_are_judged_on_validation_too(drawn, poselens, tmp_path):
    answer = poselens("fuse", drawn.rgb, drawn.joint, *data(drawn), "--out", tmp_path / "b",
                      "--device", "cpu", "--json")  # fmt: skip
    assert answer.code == 0
    gain = answer.facts["fusion"]["gain"]
    assert gain["clips"] == "validation"
    assert gain["over_best"]["n"] == 16
    assert answer.facts["fusion"]["method"] == "paper"


def test_score_files_to_a_score_file_that_can_be_evaluated(drawn, files, poselens, tmp_path):
    out = tmp_path / "fused"
    answer = poselens("fuse", *files, *data(drawn), "--out", out, "--weights", "fitted")
    assert answer.code == 0
    assert "McNemar p = " in answer.err
    assert sorted(path.name for path in out.iterdir()) == ["fusion.json", "scores.npz"]
    for path in (out / "scores.npz", files[0]):
        judged = poselens("evaluate", path, *data(drawn)[1:], "--part", "val", "--json")
        assert judged.code == 0
        assert judged.facts["n"] == 16
    told = poselens("evaluate", files[0], *data(drawn)[1:], "--part", "val")
    assert "how its weights were selected is not known" in told.err
    assert "Top-1" in told.out


def test_rows_without_names_need_a_list(drawn, poselens, tmp_path):
    folder = open_folder(drawn.data)
    rows = folder.indices("cross-subject", "test")
    path = write_pyskl(tmp_path / "result.pkl", made_up_scores(rows, len(folder.info.classes)))
    refused = poselens("evaluate", path, *data(drawn)[1:])
    assert refused.code == 3
    assert "FUS-026" in refused.err
    (tmp_path / "ids.txt").write_text("\n".join(folder.ids[rows]))
    judged = poselens("evaluate", path, *data(drawn)[1:], "--ids", tmp_path / "ids.txt", "--json")
    assert judged.code == 0
    assert judged.facts["n"] == 16


def test_what_is_refused(drawn, files, poselens, tmp_path):
    def refusal(*words):
        answer = poselens("fuse", *words, "--out", tmp_path / "no", "--json")
        assert not (tmp_path / "no").exists()
        return answer.code, answer.facts["error"]["code"]

    assert refusal(drawn.rgb, drawn.joint) == (2, "FUS-030")
    assert refusal(*files, "--scores-are", "guesses") == (2, "FUS-030")
    assert refusal(*files, "--data", drawn.data) == (2, "FUS-030")
    assert refusal(*files, *data(drawn), "--part", "test") == (3, "FUS-032")
    assert refusal(files[0], tmp_path / "gone.pkl", *data(drawn)) == (3, "FUS-024")
    named = f"mine={files[0]}"
    assert refusal(named, files[1], *data(drawn), "--weights", "paper") == (2, "FUS-005")
    assert refusal(drawn.rgb, drawn.joint, *data(drawn), "--per-class") == (2, "FUS-030")
