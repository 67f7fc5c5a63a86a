import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from poselens.data.folder import open_folder
from poselens.errors import CheckpointError, InputError, UsageError
from poselens.explain.sanity import mean_interval
from poselens.recipes.moving_share import CONTROL, moving_shares
from poselens.recipes.share_of_clip import ShareQuestion

PROTOCOL = "cross-subject"


def measured(runs, drawn, **changed):
    return moving_shares(
        runs, open_folder(drawn.data), PROTOCOL, ShareQuestion(**changed), device="cpu"
    )


@pytest.fixture(scope="module")
def twin(drawn, tmp_path_factory):
    """The same RGB run under another name."""
    target = tmp_path_factory.mktemp("runs") / "twin"
    shutil.copytree(drawn.rgb, target)
    return target


def test_rgb_runs_are_compared_on_the_same_clips(drawn, twin):
    facts = measured([drawn.rgb, twin], drawn)
    first, second = facts["runs"]
    assert facts["branch"] == "rgb"
    assert facts["clips"] == len(facts["per_clip"])
    # a network of one epoch: in some clips nothing at all speaks for the class
    assert len(facts["skipped"]) == 2 * (facts["asked"] - facts["clips"])
    assert all(reason.startswith("EXP-035") for reason in facts["skipped"].values())
    assert (first["run"], second["run"]) == ("rgb", "twin")
    assert first["difference"] is None
    assert second["difference"]["mean"] == second["difference"]["low"] == 0.0
    assert first["share"]["mean"] == second["share"]["mean"]
    shares = np.array([clip["rgb"] for clip in facts["per_clip"]])
    assert ((shares >= 0) & (shares <= 1)).all()
    assert first["share"]["mean"] == pytest.approx(shares[:, 0].mean(), abs=1e-4)
    assert first["chance"] == pytest.approx(shares[:, 1].mean(), abs=1e-4)
    assert first["times_chance"] == pytest.approx(first["share"]["mean"] / first["chance"])
    json.dumps(facts)


def test_intervals_draw_whole_subjects(drawn):
    folder = open_folder(drawn.data)
    people_of = np.array([f"S{clip % 3}" for clip in range(len(folder))])
    folder.column = lambda name: people_of
    facts = moving_shares([drawn.joint], folder, PROTOCOL, ShareQuestion(), device="cpu")
    assert facts["interval_unit"] == "subject"
    people = [str(people_of[folder.index_of(clip["id"])]) for clip in facts["per_clip"]]
    assert facts["units"] == len(set(people)) == 3
    shares = np.array([clip["joint"][0] for clip in facts["per_clip"]])
    want = mean_interval(shares, people)
    found = facts["runs"][0]["share"]
    assert (found["low"], found["high"]) == pytest.approx((want.low, want.high), abs=1e-4)
    assert any("too narrow" in note for note in facts["notes"])
    # the test part is of one subject
    assert measured([drawn.joint], drawn, limit=2)["interval_unit"] == "source"
    clips = measured([drawn.joint], drawn, cluster="clip")
    assert clips["interval_unit"] == "clip"
    assert clips["units"] == clips["clips"]


def test_a_skeleton_run_beside_itself_with_shuffled_weights(drawn):
    facts = measured([drawn.joint], drawn, control=True, limit=3, moving=0.5)
    own, other = facts["runs"]
    assert facts["asked"] == 3
    assert facts["radius"] is None
    assert own["chance"] == pytest.approx(0.5, abs=0.02)
    assert other["run"] == CONTROL
    assert other["share"]["mean"] != own["share"]["mean"]
    again = measured([drawn.joint], drawn, control=True, limit=3, moving=0.5)
    assert again == facts


def test_a_larger_radius_holds_more_and_the_share_of_chance_with_it(drawn):
    small, large = (
        measured([drawn.rgb], drawn, radius=radius, limit=4)["runs"][0] for radius in (0.2, 1.0)
    )
    assert small["share"]["mean"] < large["share"]["mean"]
    assert small["chance"] < large["chance"]


def test_clips_without_label_or_joints_are_named(drawn, monkeypatch):
    folder = open_folder(drawn.data)
    clips = folder.indices(PROTOCOL, "test")
    folder.labels = folder.labels.copy()
    folder.labels[clips[0]] = -1
    read = type(folder).skeleton

    def without(self, i, space):
        found = read(self, i, space)
        if i == clips[1]:
            return None
        if i == clips[2]:
            still = found.positions[:, :1].repeat(found.frames, axis=1)
            return replace(found, positions=still)
        return found

    monkeypatch.setattr(type(folder), "skeleton", without)
    for run in (drawn.joint, drawn.rgb):
        facts = moving_shares([run], folder, PROTOCOL, ShareQuestion(), device="cpu")
        names = [str(folder.ids[clip]) for clip in clips[:3]]
        reasons = list(facts["skipped"].items())
        assert reasons[0] == (names[0], "the clip has no label, so no class to explain")
        assert reasons[1][0] == f"{names[1]} ({run.name})"
        assert reasons[1][1].startswith("SKEL-011")
        assert reasons[2][1].startswith(("EXP-034", "EXP-035"))
        assert facts["clips"] == len(clips) - len(facts["skipped"])
    folder.labels[:] = -1
    with pytest.raises(InputError, match="for none of") as caught:
        moving_shares([drawn.joint], folder, PROTOCOL, ShareQuestion(), device="cpu")
    assert caught.value.code == "EXP-040"


@pytest.mark.parametrize(
    ("code", "text", "changed"),
    [
        ("EXP-038", "found a limit of 0 clips", {"limit": 0}),
        ("EXP-038", "found a radius of 0", {"radius": 0.0}),
        ("EXP-038", "found a radius of nan", {"radius": float("nan")}),
        ("EXP-038", "found moving=1.5", {"moving": 1.5}),
        ("EXP-039", "found cluster 'camera'", {"cluster": "camera"}),
        ("CFG-009", "found part 'exam'", {"part": "exam"}),
    ],
)
def test_questions_that_cannot_be_are_refused(drawn, code, text, changed):
    with pytest.raises(UsageError, match=text) as caught:
        measured([drawn.joint], drawn, **changed)
    assert caught.value.code == code


def test_methods_and_layers_may_be_chosen(drawn):
    coarse = measured([drawn.rgb], drawn, limit=3)
    fine = measured([drawn.rgb], drawn, limit=3, method="hirescam", layer="layer3")
    assert coarse["attribution"] == "gradcam of layer4.1, of the clip's own class"
    assert fine["attribution"] == "hirescam of layer3.1, of the clip's own class"
    assert coarse["runs"][0]["share"]["mean"] != fine["runs"][0]["share"]["mean"]
    pixels = measured([drawn.rgb], drawn, limit=2, method="input-x-gradient")
    assert pixels["attribution"] == "input-x-gradient of the clip's own class"
    joints = measured([drawn.joint], drawn, limit=2, method="occlusion")
    assert joints["attribution"] == "occlusion of the clip's own class"
    for run, code, changed in (
        (drawn.rgb, "EXP-003", {"method": "occlusion"}),
        (drawn.rgb, "EXP-002", {"layer": "layer9"}),
        (drawn.joint, "EXP-030", {"layer": "layer4"}),
        (drawn.joint, "EXP-030", {"method": "gradcam++"}),
    ):
        with pytest.raises(UsageError) as caught:
            measured([run], drawn, **changed)
        assert caught.value.code == code


def test_runs_that_cannot_be_compared_are_refused(drawn, tmp_path):
    with pytest.raises(UsageError, match="found RGB and skeleton runs") as caught:
        measured([drawn.joint, drawn.rgb], drawn)
    assert caught.value.code == "EXP-038"
    with pytest.raises(UsageError, match="found no run"):
        measured([], drawn)
    with pytest.raises(UsageError, match="found one run twice"):
        measured([drawn.joint, drawn.joint.parent / "joint"], drawn)
    with pytest.raises(CheckpointError, match="no such folder"):
        measured([tmp_path / "nothing"], drawn)
    one = open_folder(drawn.data)
    column = one.column("subject")
    column[:] = "S1"
    one.column = lambda name: column
    with pytest.raises(UsageError, match="not known of every clip, or the same") as caught:
        moving_shares([drawn.joint], one, PROTOCOL, ShareQuestion(cluster="subject"), device="cpu")
    assert caught.value.code == "EXP-039"


def test_runs_of_one_name_are_told_apart_by_their_path(drawn, tmp_path):
    other = tmp_path / "joint"
    shutil.copytree(drawn.joint, other)
    facts = measured([drawn.joint, other], drawn, limit=2)
    names = [entry["run"] for entry in facts["runs"]]
    assert len(set(names)) == 2
    for name, run in zip(names, [drawn.joint, other], strict=True):
        assert f"/{name}/joint" in str(run.resolve())
