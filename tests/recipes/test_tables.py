import shutil

import numpy as np
import pytest
from copied_clips import copied_folder
from swept import make_sweep
from table_run import CLASSES, make_run, some_scores

from poselens.clips.stream import RgbInput, RgbNetworkSettings, RgbStream
from poselens.errors import CheckpointError, InputError, UsageError
from poselens.evaluation.compare import summarise
from poselens.fusion.scores import fuse, read_scores, write_scores
from poselens.fusion.weights import fixed_weights
from poselens.recipes import load
from poselens.recipes.table_rows import component_row
from poselens.recipes.table_runs import Given, Item, read_given
from poselens.recipes.tables import make_table
from poselens.types import Scores

ROWS = {
    "baseline": ("input.crop=false", "network.attend=false", "network.aggregate=false"),
    "crop": ("network.attend=false", "network.aggregate=false"),
    "ma": ("network.aggregate=false",),
    "staa": (),
}
CONTRAST = {
    "none": (),
    "hard": ("contrast={samplers: [hard]}",),
    "random": ("contrast={samplers: [random]}",),
    "class-aware": ("contrast={samplers: [class-aware]}",),
    "hard+random": ("contrast={samplers: [random, hard]}",),
    "hard+class-aware": ("contrast={samplers: [hard, class-aware]}",),
    "random+class-aware": ("contrast={samplers: [random, class-aware]}",),
}


def measured(facts):
    """Row to its settings, for rows that were run."""
    return {line["key"]: line["measured"] for line in facts["rows"] if line["measured"]}


def reasons(facts):
    return {each["source"].rpartition("/")[2]: each["reason"] for each in facts["unmatched"]}


# --- which run is of which row --------------------------------------------------------------------


def test_rgb_runs_are_matched_by_what_they_are_and_not_by_name(tmp_path):
    # names that say the contrary
    names = dict(zip(ROWS, ["staa", "ma", "crop", "baseline"], strict=True))
    runs = [make_run(tmp_path / names[row], "rgb", *settings) for row, settings in ROWS.items()]
    found = measured(make_table(4, Given(runs)))
    assert {
        row: entry[0]["cells"][0]["sources"][0].rpartition("/")[2] for row, entry in found.items()
    } == names


@pytest.mark.parametrize("row", ["tsm", "crop", "ma", "staa"])
def test_the_recipes_of_table_4_are_of_their_rows(row):
    section = load(f"table4-{row}").rgb
    stream = RgbStream(classes=CLASSES, input=section.input, network=section.network)
    item = Item("x", (stream,), {"a": 1}, "0", some_scores("rgb", 0.5, 0), None, "last")
    assert component_row(item)[0] == {"tsm": "baseline"}.get(row, row)


@pytest.mark.parametrize(
    ("given", "network"),
    [
        ({}, {"attend": False}),
        ({"crop": False}, {}),
        ({}, {"shift": False}),
        ({}, {"causal": True}),
    ],
)
def test_other_rgb_networks_are_of_no_row(given, network):
    stream = RgbStream(
        classes=CLASSES, input=RgbInput(**given), network=RgbNetworkSettings(**network)
    )
    item = Item("x", (stream,), {"a": 1}, "0", some_scores("rgb", 0.5, 0), None, "last")
    row, reason = component_row(item)
    assert row is None
    assert "is of no row" in reason


@pytest.mark.parametrize("row", CONTRAST)
def test_skeleton_runs_are_matched_by_where_negatives_come_from(tmp_path, row):
    run = make_run(tmp_path / "run", "skeleton", *CONTRAST[row])
    assert list(measured(make_table(5, Given([run])))) == [row]


def test_what_is_of_no_row_is_told_with_its_numbers(tmp_path):
    run = make_run(tmp_path / "odd", "rgb", "network.attend=false")
    three = make_run(
        tmp_path / "three", "skeleton", "contrast={samplers: [hard, random, class-aware]}"
    )
    assert "attend off, aggregate on; Top-1 " in reasons(make_table(4, Given([run])))["odd"]
    told = reasons(make_table(5, Given([run, three])))
    assert told["odd"].startswith("an RGB run has no contrast")
    assert told["three"].startswith("the paper has no row for negatives hard+random+class-aware")


def test_comparisons_take_their_own_data_alone(tmp_path):
    here = make_run(tmp_path / "here", "skeleton")
    sixty = tuple(f"a{number}" for number in range(60))
    there = make_run(
        tmp_path / "there", "skeleton", classes=sixty, clips=120, name="NTU", protocol="ntu60-xsub"
    )
    facts = make_table(1, Given([here, there]))
    assert reasons(facts)["here"].startswith("was measured on tiny, p: table 1 compares ntu60-xsub")
    (entry,) = measured(facts)["skeleton"]
    assert (entry["cells"][0]["n"], entry["cells"][0]["of"]) == (120, 16_487)
    assert any("120 of 16,487" in remark for remark in facts["remarks"])


# --- seeds, settings, fusion ----------------------------------------------------------------------


def test_runs_that_differ_in_their_seed_alone_are_averaged(tmp_path):
    runs = [
        make_run(tmp_path / f"r{seed}", "rgb", f"training.workers={seed}", seed=seed)
        for seed in range(3)
    ]
    (setting,) = measured(make_table(4, Given(runs)))["staa"]
    (cell,) = setting["cells"]
    scores = {str(seed): read_scores(run / "scores_test.npz") for seed, run in enumerate(runs)}
    assert cell["top1"] == summarise(scores)[1]["top1"].as_dict()
    assert cell["seeds"] == ["0", "1", "2"]


def test_other_settings_are_lines_of_their_own(tmp_path):
    runs = [
        make_run(tmp_path / f"lr{lr}-{seed}", "rgb", f"training.lr={lr}", seed=seed)
        for lr in (0.01, 0.02)
        for seed in range(2)
    ]
    lines = measured(make_table(4, Given(runs)))["staa"]
    assert [line["setting"].rpartition("; ")[2] for line in lines] == [
        "training.lr=0.01", "training.lr=0.02",
    ]  # fmt: skip
    assert [line["cells"][0]["seeds"] for line in lines] == [["0", "1"]] * 2


def test_settings_that_many_keys_part_never_become_seeds_of_each_other(tmp_path):
    keys = ("lr", "momentum", "weight_decay", "gamma", "max_bad", "ema", "label_smoothing")
    runs = []
    for number in range(4):
        settings = [f"training.{key}=0.{2 + number % 2}" for key in keys]
        settings.append(f"training.head_lr_factor={1 + number}")
        runs.append(make_run(tmp_path / str(number), "skeleton", *settings))
    lines = measured(make_table(4, Given(runs)))["pose"]
    assert len(lines) == 4
    assert all(line["cells"][0]["seeds"] == ["0"] for line in lines)


def test_a_second_run_of_one_seed_is_no_further_seed(tmp_path):
    first = make_run(tmp_path / "a", "rgb")
    shutil.copytree(first, tmp_path / "b")
    facts = make_table(4, Given([first, tmp_path / "b"]))
    assert measured(facts)["staa"][0]["cells"][0]["seeds"] == ["0"]
    assert reasons(facts)["b"] == f"the same setting and seed as {first}"


def test_runs_of_one_seed_are_fused_for_the_whole_method(tmp_path):
    runs = [make_run(tmp_path / f"rgb{seed}", "rgb", seed=seed) for seed in range(2)]
    joint, bone = (
        make_run(tmp_path / name, "skeleton", f"input.stream={name}") for name in ("joint", "bone")
    )
    facts = make_table(4, Given([*runs, joint, bone]))
    (ours,) = measured(facts)["ours"]
    # seed 1 has no skeleton run
    assert ours["cells"][0]["seeds"] == ["0"]
    scores = [read_scores(run / "scores_test.npz") for run in (runs[0], joint, bone)]
    fused = fuse(scores, fixed_weights(["rgb", "joint", "bone"], "paper").weights)
    assert ours["cells"][0]["top1"] == summarise({"0": fused})[1]["top1"].as_dict()
    assert ours["setting"].startswith("rgb + joint + bone, paper weights, no contrast")
    settings = [line["setting"] for line in measured(facts)["pose"]]
    assert settings[2] == "joint + bone, paper weights, no contrast"
    fitted = measured(make_table(4, Given([*runs, joint, bone], weights="fitted")))["ours"][0]
    assert "fusion: fitted weights" in fitted["cells"][0]["selection"][0]
    (joint / "scores_val.npz").unlink()
    with pytest.raises(InputError, match="file is missing"):
        make_table(4, Given([*runs, joint, bone], weights="fitted"))


def test_one_setting_on_two_data_sets_is_one_line(tmp_path):
    runs = [
        make_run(tmp_path / name, "skeleton", f"training.lr={lr}", name=name, fingerprint=name)
        for name, lr in (("a", 0.1), ("b", 0.2))
    ]
    (line,) = measured(make_table(4, Given(runs)))["pose"]
    assert [cell["sources"] for cell in line["cells"]] == [[str(run)] for run in runs]


def test_what_test_shares_with_training_is_told(tmp_path):
    leak = {"kind": "clip", "parts": ["train", "test"], "told": "train and test share 79 pairs"}
    other = {"kind": "clip", "parts": ["train", "val"], "told": "train and val share 2 pairs"}
    run = make_run(tmp_path / "run", "skeleton", leakage=[leak, other])
    remarks = make_table(4, Given([run]))["remarks"]
    assert leak["told"] in remarks
    assert other["told"] not in remarks


def test_among_several_contrasts_the_papers_is_fused(tmp_path):
    rgb = make_run(tmp_path / "rgb", "rgb")
    runs = [
        make_run(tmp_path / row, "skeleton", *CONTRAST[row]) for row in ("hard", "none")
    ]  # fmt: skip
    assert "ours" not in measured(make_table(4, Given([rgb, *runs])))
    runs.append(make_run(tmp_path / "both", "skeleton", *CONTRAST["random+class-aware"]))
    (ours,) = measured(make_table(4, Given([rgb, *runs])))["ours"]
    assert ours["cells"][0]["sources"] == [str(rgb), str(runs[-1])]
    again = make_run(
        tmp_path / "again", "skeleton", *CONTRAST["random+class-aware"], "training.lr=0.5"
    )
    facts = make_table(4, Given([rgb, *runs, again]))
    assert "several skeleton settings of one stream and seed" in reasons(facts)["rgb"]


def test_streams_of_one_sampling_are_fused_in_table_5(tmp_path):
    runs = [
        make_run(tmp_path / name, "skeleton", *CONTRAST["hard"], f"input.stream={name}")
        for name in ("joint", "bone")
    ]
    settings = [line["setting"] for line in measured(make_table(5, Given(runs)))["hard"]]
    assert settings[2] == "joint + bone, paper weights, contrast hard"


# --- score files, bundles, sweeps, data -----------------------------------------------------------


def test_score_files_say_their_row_or_are_asked_for_it(tmp_path):
    for name in ("rgb", "joint", "fused"):
        write_scores(tmp_path / f"{name}.npz", some_scores(name, 0.7, 0))
    rgb, joint, fused = (str(tmp_path / f"{name}.npz") for name in ("rgb", "joint", "fused"))
    facts = make_table(4, Given(scores=[f"crop={rgb}", joint, fused]))
    assert list(measured(facts)) == ["pose", "crop", "ours"]
    with pytest.raises(UsageError, match="the stream 'rgb' do not say of which row") as caught:
        make_table(4, Given(scores=[rgb]))
    assert caught.value.code == "EVAL-044"
    with pytest.raises(UsageError, match="table 4 has no row 'crops'") as caught:
        make_table(4, Given(scores=[f"crops={rgb}"]))
    assert caught.value.code == "EVAL-042"
    with pytest.raises(UsageError, match="do not say of which row") as caught:
        make_table(5, Given(scores=[joint]))
    assert list(measured(make_table(5, Given(scores=[f"hard={joint}"])))) == ["hard"]


def test_a_bundle_needs_its_data_and_fills_its_row(drawn):
    with pytest.raises(UsageError, match="a bundle holds no scores") as caught:
        make_table(4, Given(bundles=[drawn.bundle]))
    assert caught.value.code == "EVAL-043"
    facts = make_table(4, Given(bundles=[drawn.bundle], data=drawn.data, device="cpu"))
    (ours,) = measured(facts)["ours"]
    assert ours["setting"] == "rgb + joint, paper weights"
    assert ours["cells"][0]["n"] == 16
    # a bundle among the runs is known for one
    again = make_table(4, Given([drawn.bundle], data=drawn.data, device="cpu"))
    assert measured(again) == measured(facts)
    told = reasons(make_table(5, Given([drawn.bundle], data=drawn.data, device="cpu")))
    assert told["bundle"].startswith("a bundle does not say how negatives were sampled")


def test_real_runs_are_scored_once_where_the_data_is_given(drawn, tmp_path):
    run = tmp_path / "joint"
    shutil.copytree(drawn.joint, run)
    (run / "scores_test.npz").unlink(missing_ok=True)
    assert "has no scores of test" in reasons(make_table(4, Given([run])))["joint"]
    facts = make_table(4, Given([run], data=drawn.data, device="cpu", cluster="subject"))
    assert (run / "scores_test.npz").is_file()
    assert facts["interval_unit"] == "subject"
    assert measured(facts)["pose"][0]["cells"][0]["n"] == 16
    (place,) = facts["on"]
    assert (place["data"], place["protocol"]) == ("synth-easy", "cross-subject")


def test_runs_of_other_data_and_protocols_are_left_out_and_named(drawn, tmp_path):
    other = make_run(tmp_path / "other", "skeleton")
    (other / "scores_test.npz").unlink()
    told = reasons(make_table(4, Given([other], data=drawn.data)))
    assert told["other"] == "was trained on another data set, or version of it"
    given = Given([other], data=drawn.data, protocol="cross-subject")
    told = reasons(make_table(4, given))
    assert told["other"] == "was trained under the protocol 'p', not 'cross-subject'"


def test_a_sweep_stands_for_its_runs(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", {"training.seed": [0, 1]})
    for folder in sweep.iterdir():
        if folder.is_dir():
            seed = int(folder.name[-1])
            shutil.rmtree(folder)
            make_run(folder, "skeleton", seed=seed)
    (pose,) = measured(make_table(4, Given([sweep])))["pose"]
    assert pose["cells"][0]["seeds"] == ["0", "1"]


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="found cluster without --data") as caught:
        make_table(4, Given(cluster="subject"))
    assert caught.value.code == "CMP-005"
    with pytest.raises(UsageError, match="found part 'tset'"):
        make_table(4, Given(part="tset"))
    with pytest.raises(CheckpointError, match="no such folder"):
        make_table(4, Given([tmp_path / "none"]))
    run = make_run(tmp_path / "run", "skeleton")
    (run / "config.yaml").write_text("[1, 2")
    with pytest.raises(CheckpointError) as damaged:
        make_table(4, Given([run]))
    assert damaged.value.code == "CKPT-024"


def test_the_protocol_restricts_clips_to_those_it_judges(tmp_path):
    folder = copied_folder(tmp_path / "data")
    names = folder.ids[folder.indices("nw-ucla", "test")].tolist()
    run = make_run(
        tmp_path / "run", "skeleton", classes=tuple(folder.info.classes), clips=len(names),
        name="made up", protocol="nw-ucla", fingerprint=folder.fingerprint(),
    )  # fmt: skip
    scores = read_scores(run / "scores_test.npz")
    write_scores(
        run / "scores_test.npz",
        Scores(scores.logits, names, np.asarray(scores.labels), scores.classes, "joint"),
    )
    given = Given([run], data=folder.root, protocol="nw-ucla-no-copies")
    read = read_given(given)
    assert list(read.items[0].scores.ids) == ["c006", "c008", "c009"]
    assert read.items[0].on.protocol == "nw-ucla-no-copies"


# --- costs ---------------------------------------------------------------------------------------


def test_costs_of_recipes_are_those_of_the_counter_and_streams_are_measured(drawn):
    given = Given([drawn.joint], bundles=[drawn.bundle], device="cpu")
    facts = make_table(3, given, presets=["paper"])
    lines = {line["setting"]: line for line in facts["measured"]}
    paper = lines["recipe paper, NTU60: 25 joints, 2 people"]
    assert paper["gmacs"] == pytest.approx(34.79, abs=0.01)
    assert paper["gmacs"] <= 35.1
    both = lines["drawn/bundle: rgb + joint"]
    assert both["milliseconds"] > 0
    assert both["gmacs"] == pytest.approx(both["rgb_gmacs"] + both["skeleton_gmacs"])
    assert lines["drawn/joint: joint"]["rgb_gmacs"] is None
    assert len(lines) == 4
