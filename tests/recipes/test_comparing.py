import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from swept import ACCURACY, CLASSES, drawn, make_sweep

from poselens.data.folder import open_folder
from poselens.errors import CheckpointError, UsageError
from poselens.evaluation.compare import compare, summarise
from poselens.fusion.scores import fuse, read_scores, write_scores
from poselens.fusion.weights import fit_weights
from poselens.recipes.comparing import Question, compare_sweep
from poselens.types import Scores

AXES = {
    "contrast.samplers": [None, ["hard"], ["random", "class-aware"]],
    "training.seed": [0, 1, 2],
}
STREAMS = {"input.stream": list(ACCURACY), "training.seed": [0, 1]}


@pytest.fixture
def ablation(tmp_path: Path) -> Path:
    return make_sweep(tmp_path / "sweep", AXES)


@pytest.fixture
def streams(tmp_path: Path) -> Path:
    return make_sweep(tmp_path / "streams", STREAMS)


def seeded(contrast: object, stream: str = "joint", seeds: int = 3) -> dict[str, Scores]:
    return {str(n): drawn(stream, contrast, n, "test", None) for n in range(seeds)}


def test_rows_are_those_of_the_scores(ablation):
    facts = compare_sweep(ablation, Question("test", baseline="none"))
    assert facts["axes"] == {"rows": ["contrast.samplers"], "seeds": "training.seed", "fuse": None}
    assert [entry["row"] for entry in facts["rows"]] == ["none", "[hard]", "[random, class-aware]"]
    assert facts["selection"] == ["last of 2 epochs, trained on train"]
    assert facts["data"]["fingerprint"] == "f00"
    for entry, contrast in zip(facts["rows"], AXES["contrast.samplers"], strict=True):
        clips, spreads = summarise(seeded(contrast))
        assert entry["n"] == clips == 80
        assert entry["seeds"] == ["0", "1", "2"]
        accuracies = [
            float((s.logits.argmax(1) == s.labels).mean()) for s in seeded(contrast).values()
        ]
        assert entry["top1"]["mean"] == pytest.approx(np.mean(accuracies))
        assert entry["top1"]["deviation"] == pytest.approx(np.std(accuracies, ddof=1))
        assert entry["mean_class"] == spreads["mean_class"].as_dict()
    assert facts["rows"][0]["difference"] is None
    gain = compare(seeded(["hard"]), seeded(None))
    assert facts["rows"][1]["difference"]["top1"] == gain.as_dict()
    assert facts["notes"] == []


def test_scores_of_several_views_are_said(ablation):
    path = sorted(ablation.glob("*/scores_test.npz"))[0]
    write_scores(path, replace(read_scores(path), views="3-crops"))
    notes = compare_sweep(ablation, Question("test"))["notes"]
    assert notes == ["some scores are means over views: 3-crops"]


@pytest.mark.parametrize(
    ("text", "row"),
    [("none", "none"), ("null", "none"), ("[random,class-aware]", "[random, class-aware]")],
)
def test_a_baseline_is_given_as_in_the_sweep(ablation, text, row):
    assert compare_sweep(ablation, Question("test", baseline=text))["baseline"] == row


def test_several_axes_of_rows(tmp_path):
    axes = {"training.lr": [0.1, 0.2], "contrast.samplers": [None, ["hard"]], "training.seed": [0]}
    sweep = make_sweep(tmp_path / "sweep", axes)
    facts = compare_sweep(sweep, Question("test", baseline="0.1,none"))
    assert facts["baseline"] == "training.lr=0.1, contrast.samplers=none"
    assert len(facts["rows"]) == 4
    named = compare_sweep(sweep, Question("test", rows=("contrast", "lr"), baseline="[hard],0.2"))
    assert named["baseline"] == "contrast.samplers=[hard], training.lr=0.2"


def test_streams_and_their_fusions(streams):
    facts = compare_sweep(streams, Question("test", fuse="stream"))
    assert [entry["streams"] for entry in facts["rows"]] == [
        *ACCURACY, "2 streams: joint+bone", "4 streams: joint+bone+joint-motion+bone-motion",
    ]  # fmt: skip
    by_stream = {entry["streams"]: entry["top1"]["each"] for entry in facts["rows"]}
    for seed in (0, 1):
        every = [drawn(name, None, seed, "test", None) for name in ACCURACY]
        fused = fuse(every, [2, 2, 1, 1])
        accuracy = float((fused.logits.argmax(1) == fused.labels).mean())
        assert by_stream["4 streams: " + "+".join(ACCURACY)][str(seed)] == accuracy
        fused = fuse(every[:2], [1, 1])
        accuracy = float((fused.logits.argmax(1) == fused.labels).mean())
        assert by_stream["2 streams: joint+bone"][str(seed)] == accuracy
    given = compare_sweep(streams, Question("test", fuse="stream", weights="2:2:1:1"))
    assert given["rows"] == facts["rows"]
    other = compare_sweep(streams, Question("test", fuse="stream", weights="0:1:0:0"))
    assert other["rows"][-1]["top1"] == other["rows"][1]["top1"]


def test_weights_fitted_on_validation_seed_by_seed(streams):
    facts = compare_sweep(streams, Question("test", fuse="input.stream", weights="fitted"))
    val = [drawn(name, None, 1, "val", None) for name in ACCURACY]
    weights = fit_weights(val)
    fused = fuse(
        [drawn(name, None, 1, "test", None) for name in ACCURACY],
        weights.weights,
        weights.temperatures,
    )
    accuracy = float((fused.logits.argmax(1) == fused.labels).mean())
    assert facts["rows"][-1]["top1"]["each"]["1"] == accuracy


def test_weights_that_cannot_be(tmp_path, streams):
    for weights, code, message in (
        ("2:2:x:1", "FUS-011", "expected numbers as in 2:2:1:1"),
        ("2:2:1", "FUS-005", "found 3 weights for 4 streams"),
        ("best", "FUS-005", "unknown fusion weights 'best'"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            compare_sweep(streams, Question("test", fuse="stream", weights=weights))
        assert caught.value.code == code
    seen = make_sweep(tmp_path / "seen", STREAMS, val=0)
    with pytest.raises(UsageError, match="was trained on the validation slice too") as caught:
        compare_sweep(seen, Question("test", fuse="stream", weights="fitted"))
    assert caught.value.code == "FUS-010"
    told = compare_sweep(seen, Question("val", fuse="stream"))
    assert told["notes"] == ["some runs were trained on the clips of val"]


def test_runs_that_are_missing_are_named(ablation):
    (ablation / "samplers=[hard]_seed=1/run.json").unlink()
    (ablation / "samplers=none_seed=0/scores_test.npz").unlink()
    about = json.loads((ablation / "sweep.json").read_text())
    about["runs"][4]["outcome"] = "failed"
    (ablation / "sweep.json").write_text(json.dumps(about))
    facts = compare_sweep(ablation, Question("test"))
    assert facts["notes"] == [
        "2 of 9 runs left out: samplers=none_seed=0 (no scores of test), "
        "samplers=[hard]_seed=1 (failed)",
        "rows differ in their seeds",
    ]
    assert [entry["seeds"] for entry in facts["rows"]] == [["1", "2"], ["0", "2"], ["0", "1", "2"]]


def test_a_sweep_without_seeds(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", {"training.lr": [0.1, 0.2]})
    facts = compare_sweep(sweep, Question("test", baseline="0.1"))
    assert [entry["seeds"] for entry in facts["rows"]] == [["-"], ["-"]]
    assert facts["rows"][1]["top1"]["deviation"] is None


def test_whole_subjects(tmp_path, tiny_folder):
    folder = open_folder(tiny_folder)
    axes = {"training.lr": [0.1, 0.2], "training.seed": [0, 1]}
    sweep = make_sweep(
        tmp_path / "sweep", axes, ids=folder.ids.tolist(), fingerprint=folder.fingerprint()
    )
    with pytest.raises(UsageError, match=r"test are of 0 subject\(s\), expected 2 or") as caught:
        compare_sweep(sweep, Question("test", cluster="subject", data=tiny_folder))
    assert caught.value.code == "CMP-005"
    with pytest.raises(UsageError, match="found cluster 'clip', expected subject") as caught:
        compare_sweep(sweep, Question("test", cluster="clip", data=tiny_folder))
    assert caught.value.code == "CMP-005"
    other = make_sweep(tmp_path / "other", axes, ids=folder.ids.tolist())
    with pytest.raises(UsageError, match="another data set, or another version") as caught:
        compare_sweep(other, Question("test", cluster="subject", data=tiny_folder))
    assert caught.value.code == "CMP-004"


def test_groups_of_the_data_set(tmp_path):
    from poselens.data.info import ClipRecord, DatasetInfo
    from poselens.data.writer import FolderWriter

    ids = [f"test{n}" for n in range(80)]
    with FolderWriter(tmp_path / "data", DatasetInfo(name="d", classes=CLASSES)) as writer:
        for n, clip in enumerate(ids):
            writer.add(ClipRecord(clip, label=n % 4, subject=f"s{n % 5}"), {}, {})
    folder = open_folder(tmp_path / "data")
    sweep = make_sweep(
        tmp_path / "sweep", AXES, fingerprint=folder.fingerprint(), source=str(tmp_path / "data")
    )
    facts = compare_sweep(sweep, Question("test", cluster="subject"))
    assert (facts["interval_unit"], facts["units"]) == ("subject", 5)
    assert facts["notes"] == ["intervals over fewer than 10 groups are too narrow"]
    groups = dict(zip(ids, folder.column("subject").tolist(), strict=True))
    _, spreads = summarise(seeded(None), groups=groups)
    assert facts["rows"][0]["top1"] == spreads["top1"].as_dict()


@pytest.mark.parametrize(
    ("question", "code", "message"),
    [
        (Question("tests"), "CFG-009", "found part 'tests'"),
        (Question("test", rows=("contrst",)), "CMP-001", "no axis is called 'contrst'"),
        (Question("test", rows=("samplers", "samplers")), "CMP-001", "is named twice"),
        (Question("test", rows=("seed", "samplers")), "CMP-001", "training.seed is named twice"),
        (
            Question("test", rows=("seed",)),
            "CMP-001",
            "contrast.samplers has 3 values and is named",
        ),
        (Question("test", seeds="sed"), "CMP-001", "no axis is called 'sed'"),
        (Question("test", fuse="samplers", rows=("samplers",)), "CMP-001", "is named twice"),
        (Question("test", baseline="[harder]"), "CMP-003", r"no row is '\[harder\]'; did you mean"),
        (Question("test", baseline="a: b: c"), "CMP-003", "is not valid YAML"),
        (Question("train"), "CMP-002", "no finished run has scores of train; of 9, the first"),
    ],
)
def test_questions_that_have_no_answer(ablation, question, code, message):
    with pytest.raises(UsageError, match=message) as caught:
        compare_sweep(ablation, question)
    assert caught.value.code == code


def test_folders_that_cannot_be_compared(tmp_path, ablation):
    with pytest.raises(CheckpointError, match="sweep.json: file is missing") as caught:
        compare_sweep(tmp_path, Question("test"))
    assert caught.value.code == "CKPT-001"
    run = ablation / "samplers=none_seed=1/run.json"
    facts = json.loads(run.read_text())
    facts["data"]["fingerprint"] = "f01"
    run.write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="were trained on different data") as caught:
        compare_sweep(ablation, Question("test"))
    assert caught.value.code == "CMP-004"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "sweep format 2, this is 1"),
        ({"axes": []}, "axes is missing, or of another kind"),
        ({"runs": [{"folder": "x"}]}, "values of a run is missing"),
        ({"runs": [{"folder": "x", "values": {}, "outcome": "complete"}]}, "does not belong"),
    ],
)
def test_a_sweep_file_that_cannot_be_used(ablation, change, message):
    about = json.loads((ablation / "sweep.json").read_text())
    (ablation / "sweep.json").write_text(json.dumps(about | change))
    with pytest.raises(CheckpointError, match=message) as caught:
        compare_sweep(ablation, Question("test"))
    assert caught.value.code == "SWP-006"


def test_leaks_of_the_runs_are_told(tmp_path):
    leaks = [
        {"parts": ["train", "test"], "told": "train and test share 3 subjects"},
        {"parts": ["train", "val"], "told": "train and val share 3 subjects"},
    ]
    sweep = make_sweep(tmp_path / "sweep", AXES, leakage=leaks)
    facts = compare_sweep(sweep, Question("test"))
    assert facts["leakage"] == ["train and test share 3 subjects"]
    assert facts["notes"] == facts["leakage"]
