"""Sweeps in processes of their own, on the smallest data set; signals are in end_to_end."""

import json
from pathlib import Path

import pytest

from poselens.errors import UsageError
from poselens.fusion.scores import read_scores
from poselens.recipes.combinations import parse_axes
from poselens.recipes.evaluating import evaluate_bundle
from poselens.recipes.sweep_file import Sweep, read_sweep
from poselens.recipes.sweeping import Standing, run_sweep
from poselens.recipes.workers import Ended, Task, _run, _sharing, _threads
from poselens.training.config import SkeletonSection
from poselens.training.run import Request, train

SECTION = SkeletonSection.model_validate(
    {
        "network": {"width": 8, "blocks": [1, 1]},
        "input": {"window": 8},
        "training": {"epochs": 2, "batch_size": 4, "workers": 0, "clip_norm": None},
    }
)


def request(root: Path, out: Path, *, resume: bool = False) -> Request:
    return Request(root, "p", "tiny-test", out, "cpu", resume)


def sweep(root: Path, out: Path, *axes: str, resume: bool = False, **more) -> Sweep:
    return Sweep(request(root, out, resume=resume), "skeleton", parse_axes(axes), **more)


def quiet(_standing: Standing) -> None:
    return


@pytest.fixture(scope="module")
def swept(tiny_folder, tmp_path_factory):
    """A 2 x 2 sweep with two processes, and what was told meanwhile."""
    out = tmp_path_factory.mktemp("swept") / "sweep"
    told: list[Standing] = []
    axes = ("input.stream=joint,bone", "training.seed=0,1")
    asked = sweep(tiny_folder, out, *axes, jobs=2, score="test", settings=("training.lr=0.02",))
    return out, run_sweep(SECTION, asked, told=told.append), told


def test_every_combination_is_a_run_with_scores(swept, tiny_folder):
    out, result, told = swept
    assert result.exit_code == 0
    names = [f"stream={stream}_seed={seed}" for stream in ("joint", "bone") for seed in (0, 1)]
    assert [run["folder"] for run in result.facts["runs"]] == names
    assert result.facts == read_sweep(out / "sweep.json")
    assert result.facts["axes"] == {"input.stream": ["joint", "bone"], "training.seed": [0, 1]}
    for run in result.facts["runs"]:
        assert (run["outcome"], run["error"]) == ("complete", None)
        assert run["selection"] == "last of 2 epochs, trained on train"
        facts = json.loads((out / run["folder"] / "run.json").read_text())
        assert facts["stream"]["input"]["stream"] == run["values"]["input.stream"]
        assert facts["seed"] == run["values"]["training.seed"]
        scores = read_scores(out / run["folder"] / "scores_test.npz")
        assert list(scores.ids) == ["c12", "c13"]
    assert (told[-1].done, told[-1].total) == (4, 4)
    lines = [line for standing in told for line in standing.ended]
    assert sorted(line.partition(":")[0] for line in lines) == sorted(names)
    assert "stream=joint_seed=0  epoch 1/2" in {line for standing in told for line in standing.at}
    logs = "".join((out / f"worker-{n}.log").read_text() for n in (1, 2))
    assert logs.count("epoch 2/2") == 4
    assert logs.count("-- stream=") == 4


def test_a_run_of_a_sweep_is_the_run_alone(swept, tiny_folder, tmp_path):
    from poselens.clips.device import choose_device
    from poselens.data.folder import open_folder
    from poselens.recognition.bundle import load_bundle
    from poselens.training.config import override

    out, _, _ = swept
    section = override(SECTION, ["training.lr=0.02", "input.stream=bone", "training.seed=1"])
    folder = open_folder(tiny_folder)
    train(folder, section, request(tiny_folder, tmp_path / "alone"))
    swept_run = out / "stream=bone_seed=1"
    assert (tmp_path / "alone/weights.safetensors").read_bytes() == (
        swept_run / "weights.safetensors"
    ).read_bytes()
    bundle = load_bundle(swept_run, device=choose_device("cpu"))
    judged = evaluate_bundle(bundle, folder, "p", "test")
    assert (judged.scores[0].logits == read_scores(swept_run / "scores_test.npz").logits).all()


def test_complete_runs_are_kept_axes_grow_and_a_run_that_fails_stops_no_other(swept, tiny_folder):
    out, _, _ = swept
    before = {path: path.stat().st_mtime_ns for path in out.glob("*seed=[01]/weights.safetensors")}
    assert len(before) == 4
    (out / "stream=joint_seed=2").mkdir()
    (out / "stream=joint_seed=2" / "notes.txt").write_text("in the way")
    told: list[Standing] = []
    axes = ("training.seed=0,2,3", "input.stream=joint")
    asked = sweep(tiny_folder, out, *axes, settings=("training.lr=0.02",))
    result = run_sweep(SECTION, asked, told=told.append)
    assert result.exit_code == 1
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert result.facts["axes"] == {
        "input.stream": ["joint", "bone"],
        "training.seed": [0, 1, 2, 3],
    }
    assert [run["outcome"] for run in result.facts["runs"]] == [
        *["complete"] * 4,
        "failed",
        "complete",
    ]
    broken = result.facts["runs"][4]
    assert (broken["folder"], broken["error"]["code"]) == ("stream=joint_seed=2", "RUN-001")
    assert not (out / "stream=joint_seed=3" / "scores_test.npz").exists()
    lines = [line for standing in told for line in standing.ended]
    told_of = [
        line for line in lines if line.startswith("stream=joint_seed=2: failed: RUN-001 the")
    ]
    assert len(told_of) == 1


@pytest.mark.parametrize(
    ("axes", "settings", "message"),
    [
        (("training.seed=0",), ("training.lr=0.02",), r"made with axes \['input.stream'"),
        (
            ("input.stream=joint", "training.seed=0"),
            (),
            r"made with settings \['training.lr=0.02'\]",
        ),
    ],
)
def test_another_sweep_in_the_folder_is_refused(swept, tiny_folder, axes, settings, message):
    with pytest.raises(UsageError, match=message) as caught:
        run_sweep(SECTION, sweep(tiny_folder, swept[0], *axes, settings=settings), told=quiet)
    assert caught.value.code == "SWP-003"


def test_folders_that_are_no_sweep(tiny_folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="the output exists already and is no sweep") as caught:
        run_sweep(SECTION, sweep(tiny_folder, tmp_path, "training.seed=0"), told=quiet)
    assert caught.value.code == "SWP-004"
    with pytest.raises(UsageError, match="found part 'tests'") as caught:
        out = tmp_path / "out"
        run_sweep(SECTION, sweep(tiny_folder, out, "training.seed=0", score="tests"), told=quiet)
    assert caught.value.code == "CFG-009"
    assert not (tmp_path / "out").exists()


def test_stopped_runs_need_resume(tiny_folder, tmp_path):
    run = tmp_path / "sweep" / "seed=1"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("{}")
    about = {
        "format": 1, "branch": "skeleton", "recipe": "tiny-test", "data": "", "protocol": "p",
        "settings": [], "axes": {"training.seed": []}, "runs": [],
    }  # fmt: skip
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps(about))
    asked = sweep(tiny_folder, tmp_path / "sweep", "training.seed=0,1")
    with pytest.raises(UsageError, match="1 runs of this sweep are not finished, the first seed=1"):
        run_sweep(SECTION, asked, told=quiet)


def test_a_fault_of_ours_is_noted_and_its_traceback_kept(
    monkeypatch, capsys, tiny_folder, tmp_path
):
    def broken(*_arguments: object) -> None:
        raise KeyError("nobody thought of this")

    monkeypatch.setattr("poselens.recipes.workers.train", broken)
    ended = _run(Task(SECTION, request(tiny_folder, tmp_path / "run"), None), 1)
    assert isinstance(ended, Ended)
    assert (ended.outcome, ended.error["code"]) == ("failed", "BUG-001")
    assert "nobody thought of this" in ended.error["message"]
    assert "Traceback" in capsys.readouterr().err


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    assert [_threads(jobs, 16) for jobs in (1, 3, 16, 40)] == [16, 5, 1, 1]
    assert _threads(2, 1) == 1
    free = SECTION.model_copy(
        update={"training": SECTION.training.model_copy(update={"workers": None})}
    )
    assert _sharing(free, "cpu", 4).training.workers == 2
    assert _sharing(free, "cpu", 1).training.workers is None
    assert _sharing(SECTION, "cpu", 4).training.workers == 0
