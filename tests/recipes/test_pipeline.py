import json
import shlex
import shutil
from pathlib import Path

import pytest
from drawn import small_recipe

from poselens.cli import _run
from poselens.data.folder import open_folder
from poselens.data.info import read_info, write_info
from poselens.errors import CheckpointError, UsageError
from poselens.recipes import pipeline
from poselens.recipes.pipeline import settings_for, streams_for, train_fuse_report


def go(data, out, streams=("rgb", "joint"), **options):
    told = []
    folder = open_folder(data)
    made = train_fuse_report(
        folder,
        options.pop("recipe", small_recipe()),
        "cross-subject",
        out,
        streams=streams,
        device="cpu",
        told=told.append,
        **options,
    )
    return made, told


@pytest.fixture(scope="module")
def made(drawn, tmp_path_factory):
    out = tmp_path_factory.mktemp("pipeline") / "out"
    return go(drawn.data, out, settings=["training.lr=0.02"], notes=["a note of mine"])


def test_everything_is_there(made, drawn):
    found, told = made
    out = found.bundle.parent
    assert told == [
        "training rgb", "training joint", "fusing and evaluating", "explaining and reporting",
    ]  # fmt: skip
    assert (found.exit_code, found.result.fused.n) == (0, 16)
    expected = ["bundle", "joint", "label_suspects.csv", "report.html", "rgb"]
    assert sorted(path.name for path in out.iterdir()) == expected
    page = found.report.read_text()
    assert "a note of mine" in page
    assert "cross-subject" in page


def test_a_second_call_keeps_what_is_finished(made, drawn, monkeypatch):
    found, _ = made
    before = (found.bundle.parent / "rgb" / "weights.safetensors").stat().st_mtime_ns

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("poselens.training.run._fit", never)
    again, _ = go(drawn.data, found.bundle.parent, settings=["training.lr=0.02"])
    assert again.result.fused.top1 == found.result.fused.top1
    assert (found.bundle.parent / "rgb" / "weights.safetensors").stat().st_mtime_ns == before


def test_a_recipe_says_what_fitted_weights_seek(made, drawn):
    found, _ = made
    recipe = small_recipe()
    sought = {"weights": "fitted", "objective": "accuracy", "per_class": True}
    fusion = recipe.fusion.model_copy(update=sought)
    again, _ = go(
        drawn.data,
        found.bundle.parent,
        recipe=recipe.model_copy(update={"fusion": fusion}),
        settings=["training.lr=0.02"],
    )
    kept = json.loads((again.bundle / "bundle.json").read_text())["fusion"]
    assert (kept["method"], kept["objective"]) == ("fitted", "accuracy")
    assert set(kept["per_class"]) == {"rgb", "joint"}
    assert "--objective accuracy --per-class" in again.report.read_text()


def test_other_settings_are_not_answered_with_old_results(made, drawn):
    found, _ = made
    with pytest.raises(CheckpointError, match="made with other settings or data") as caught:
        go(drawn.data, found.bundle.parent, settings=["training.lr=0.03"])
    assert caught.value.code == "CKPT-011"


def test_the_commands_in_the_report_can_be_typed(drawn, tmp_path, capsys):
    """Set for set the same run, though the pipeline chose another space and took settings."""
    data = shutil.copytree(drawn.data, tmp_path / "data")
    info = read_info(data)
    flat = info.model_copy(update={"skeletons": {"pixels": info.skeletons["pixels"]}})
    (data / "dataset.yaml").write_bytes(write_info(flat))
    seen = []
    write = pipeline.make_report
    pipeline.make_report, report = (lambda *a, **k: seen.append(k["commands"])), write
    try:
        made, _ = go(
            data,
            tmp_path / "out",
            streams=["joint"],
            settings=["training.epochs=1", "training.seed=3"],
        )
    finally:
        pipeline.make_report = report
    train, fuse, judge = (shlex.split(command) for command in seen[0])
    # the recipe of this test has no name that the command line knows: add its size
    sizes = ["network.width=8", "network.blocks=[1, 1]", "input.window=16", "training.workers=0"]
    again = [word.replace(str(tmp_path / "out"), str(tmp_path / "again")) for word in train[1:]]
    flags = [flag for size in sizes for flag in ("--set", size)]
    assert _run([*again, *flags]) == 0
    runs = [tmp_path / folder / "joint" / "weights.safetensors" for folder in ("out", "again")]
    assert runs[0].read_bytes() == runs[1].read_bytes()
    shutil.rmtree(made.bundle)
    assert _run(fuse[1:]) == 0
    capsys.readouterr()
    assert _run([*judge[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"] == made.result.fused.top1


def test_a_stopped_run_is_told(drawn, tmp_path, monkeypatch):
    class Stopped:
        exit_code = 130

    monkeypatch.setattr(pipeline, "train", lambda *_: Stopped)
    made, told = go(drawn.data, tmp_path / "out")
    assert (made.result, made.exit_code) == (None, 130)
    assert told == ["training rgb"]


def test_a_folder_that_is_no_bundle_is_not_replaced(drawn, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="exists already") as caught:
        go(drawn.data, tmp_path)
    assert caught.value.code == "RUN-001"
    assert (tmp_path / "bundle" / "thesis.tex").exists()
    assert not (tmp_path / "rgb").exists()


def test_nothing_to_train_on(drawn, tmp_path):
    with pytest.raises(UsageError, match="nothing to train on") as caught:
        go(drawn.data, tmp_path / "out", streams=[])
    assert caught.value.code == "RUN-009"


def test_a_stream_that_does_not_exist(drawn, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'joint'") as caught:
        go(drawn.data, tmp_path / "out", streams=["jiont"])
    assert caught.value.code == "CFG-021"


def spaces(drawn, tmp_path, *names):
    data = tmp_path / "-".join(["data", *names])
    shutil.copytree(drawn.data, data)
    info = read_info(data)
    kept = {space: info.skeletons[space] for space in names}
    (data / "dataset.yaml").write_bytes(write_info(info.model_copy(update={"skeletons": kept})))
    return open_folder(data)


def test_a_stream_reads_the_joints_that_are_there(drawn, tmp_path):
    recipe = small_recipe()
    both = open_folder(drawn.data)
    assert settings_for(both, recipe, "rgb") == []
    assert settings_for(both, recipe, "bone") == ["input.stream=bone"]
    flat = settings_for(spaces(drawn, tmp_path, "pixels"), recipe, "joint")
    assert flat == [
        "input.stream=joint",
        "input.space=pixels",
        "augment.rotation=[0.1]",
        "input.face=false",
    ]
    none = spaces(drawn, tmp_path)
    with pytest.raises(UsageError, match="the data set has no skeletons") as caught:
        settings_for(none, recipe, "joint")
    assert caught.value.code == "RUN-006"


def test_streams_that_can_be_fed(drawn, tmp_path):
    wanted = ["rgb", "joint", "bone"]
    assert streams_for(open_folder(drawn.data), wanted) == wanted
    assert streams_for(spaces(drawn, tmp_path), wanted) == ["rgb"]
    data = spaces(drawn, tmp_path, "metres").root
    text = (data / "clips.csv").read_text().splitlines()
    rows = [text[0], *(",".join([r.split(",")[0], "", *r.split(",")[2:]]) for r in text[1:])]
    (data / "clips.csv").write_text("\n".join(rows) + "\n")
    assert streams_for(open_folder(data), wanted) == ["joint", "bone"]


def test_commands_quote_what_a_shell_would_split():
    from poselens.training.run import Request

    request = Request(Path("my data"), "p", "tiny", Path("out"), "cpu", True)
    command = pipeline._training_command(request, "joint", ["augment.rotation=[0.1, 0.2]"])
    assert shlex.split(command)[3] == "my data"
    assert shlex.split(command)[-1] == "augment.rotation=[0.1, 0.2]"
