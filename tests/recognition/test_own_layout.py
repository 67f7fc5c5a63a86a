"""An animal from the data set to the prediction: what its owner declared goes with the weights."""

import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import yaml
from fake_pose import here

from poselens.clips.assemble import skeleton_input
from poselens.clips.device import choose_device
from poselens.data.folder import open_folder
from poselens.data.info import ClipRecord, DatasetInfo, ProtocolInfo, SkeletonInfo
from poselens.data.plain_yaml import plain_yaml
from poselens.data.skeleton_file import write_skeleton
from poselens.data.writer import FolderWriter
from poselens.errors import AnnotationError, CheckpointError, SkeletonError, UsageError
from poselens.evaluation.overlay import LEFT, RIGHT, draw_overlay
from poselens.pose import layouts
from poselens.pose.estimators import Pose
from poselens.pose.layouts import get_layout
from poselens.recipes import load
from poselens.recipes.costing import recipe_cost
from poselens.recipes.fusing import fuse_runs
from poselens.recipes.pose_sources import DataSetClips
from poselens.recipes.posing import Manner, estimate_poses
from poselens.recognition.pose import Opened
from poselens.recognition.pose_clip import PoseJob
from poselens.recognition.recognizer import Recognizer
from poselens.skeleton.augment import mirror
from poselens.training.config import override
from poselens.training.run import Request, train
from poselens.types import Skeleton

DOG = {
    "joints": ["nose", "withers", "hip", "paw_l", "paw_r", "tail"],
    "bones": [
        ["nose", "withers"], ["withers", "hip"], ["hip", "tail"], ["withers", "paw_l"],
        ["withers", "paw_r"],
    ],
    "centre": "withers",
    "mirror": [["paw_l", "paw_r"]],
}  # fmt: skip
SETTINGS = (
    "training.epochs=1", "training.workers=0", "network.width=8", "network.blocks=[1, 1]",
    "input.window=16", "input.stream=bone", "augment.flip=0.5", "training.batch_size=4",
)  # fmt: skip


def walk(clip, frames=12):
    """A dog that lifts its left or its right paw."""
    draw = np.random.default_rng(clip)
    stand = [[3, 1, 0], [2, 1, 0], [0, 1, 0], [2, 0, 0.2], [2, 0, -0.2], [-1, 1.2, 0]]
    joints = np.tile(np.array(stand), (1, frames, 1, 1)) + draw.normal(0, 0.02, (1, frames, 6, 3))
    joints[0, :, 3 + clip % 2, 1] += np.abs(np.sin(np.linspace(0, 6, frames)))
    return joints.astype(np.float32)


@pytest.fixture(autouse=True)
def nothing_declared(monkeypatch):
    monkeypatch.setattr(layouts, "_declared", {})


@pytest.fixture(scope="module")
def kennel(tmp_path_factory):
    """A data set of dogs, a run of their bones, and the run as a bundle."""
    root = tmp_path_factory.mktemp("kennel")
    info = DatasetInfo(
        name="dogs",
        classes=["left", "right"],
        skeletons={"metres": SkeletonInfo(layout="dog", dimensions=3)},
        protocols={"p": ProtocolInfo(description="by clip")},
        mirror={"left": "right", "right": "left"},
        layouts={"dog": DOG},
    )
    with FolderWriter(root / "data", info) as writer:
        for clip in range(12):
            part = "train" if clip < 8 else "val" if clip < 10 else "test"
            writer.add(ClipRecord(f"d{clip}", label=clip % 2), {"p": part}, {"metres": walk(clip)})
    folder = open_folder(root / "data")
    section = override(load("tiny").skeleton, SETTINGS)
    train(folder, section, Request(root / "data", "p", "tiny", root / "bone", "cpu", False))
    section = override(section, ["input.stream=joint"])
    train(folder, section, Request(root / "data", "p", "tiny", root / "joint", "cpu", False))
    runs, device = [root / "bone", root / "joint"], choose_device("cpu")
    fuse_runs(runs, folder, "p", root / "bundle", weights="equal", device=device)
    np.save(root / "clip.npy", walk(0))
    write_skeleton(root / "clip.npz", {"metres": Skeleton(walk(0), "dog", "metres")})
    return root


def test_opening_declares_and_another_process_opens_again(kennel, monkeypatch):
    folder = open_folder(kennel / "data")
    dog = get_layout("dog")
    assert (dog.joints[dog.centre], dog.mirror) == ("withers", (0, 1, 2, 4, 3, 5))
    sent = pickle.dumps(folder)
    monkeypatch.setattr(layouts, "_declared", {})
    assert pickle.loads(sent).skeleton(0, "metres").layout == "dog"
    assert get_layout("dog") == dog


def test_a_bundle_knows_the_layout_without_the_data_set(kennel, tmp_path):
    bundle = shutil.copytree(kennel / "bundle", tmp_path / "bundle")
    found = Recognizer.load(bundle, device="cpu", pose=None).recognize(skeleton=kennel / "clip.npy")
    assert set(found.scores) == {"left", "right"}
    assert list(found.streams) == ["bone", "joint"]
    assert found.notes == ()
    run = json.loads((kennel / "bone" / "run.json").read_text())
    assert run["stream"]["declared"]["parents"]["tail"] == "hip"


def test_a_run_of_a_built_in_layout_stores_nothing_more(drawn):
    assert "declared" not in json.loads((drawn.joint / "run.json").read_text())["stream"]


def test_the_command_predicts_in_a_process_of_its_own(kennel, tmp_path):
    shutil.copytree(kennel / "bundle", tmp_path / "bundle")
    (tmp_path / "dog.yaml").write_text(yaml.safe_dump(DOG))
    shutil.copy(kennel / "clip.npz", tmp_path / "clip.npz")
    words = "predict bundle --skeleton clip.npz --layout dog.yaml --pose none --device cpu --json"
    done = subprocess.run(
        [sys.executable, "-m", "poselens", *words.split()],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(done.stdout)["clips"]
    assert entry["status"] == "ok"
    assert set(entry["scores"]) == {"left", "right"}


def test_a_mirrored_dog_lifts_the_other_paw(kennel):
    open_folder(kennel / "data")
    joints = torch.from_numpy(walk(0)).transpose(0, 1)[None]
    turned = mirror(joints, get_layout("dog"), torch.tensor([True]))
    flip = torch.tensor([-1.0, 1.0, 1.0])
    assert torch.equal(turned[0, :, 0, 4], joints[0, :, 0, 3] * flip)
    assert torch.equal(turned[0, :, 0, 5], joints[0, :, 0, 5] * flip)


def test_left_and_right_are_drawn_from_the_pairs(kennel):
    open_folder(kennel / "data")
    frame = np.full((480, 480, 3), 120, np.uint8)
    joints = walk(0)[:, 0, :, :2] * [80, -80] + [150, 300]
    picture = draw_overlay(frame, joints, get_layout("dog"))[:, :480]
    for colour in (LEFT, RIGHT):
        assert (picture == np.array(colour, np.uint8)).all(axis=-1).sum() > 10


def test_two_declarations_under_one_name_do_not_mix(kennel, tmp_path):
    other = shutil.copytree(kennel / "data", tmp_path / "other")
    info = yaml.safe_load((other / "dataset.yaml").read_text())
    info["layouts"]["dog"]["mirror"] = []
    (other / "dataset.yaml").write_text(yaml.safe_dump(info))
    open_folder(other)
    with pytest.raises(AnnotationError, match="'dog' is declared in two ways") as caught:
        open_folder(kennel / "data")
    assert (caught.value.code, caught.value.where) == ("DATA-003", "layouts.dog")
    with pytest.raises(CheckpointError, match="'dog' is declared in two ways") as spoilt:
        Recognizer.load(kennel / "bundle", device="cpu", pose=None)
    assert spoilt.value.code == "CKPT-012"
    with pytest.raises(CheckpointError, match="the layout's|unknown key 'joint'"):
        run = shutil.copytree(kennel / "bone", tmp_path / "run")
        facts = json.loads((run / "run.json").read_text())
        facts["stream"]["declared"]["joint"] = []
        (run / "run.json").write_text(json.dumps(facts))
        Recognizer.load(run, device="cpu", pose=None)


def test_a_built_in_name_is_not_declared_again(kennel, tmp_path):
    other = shutil.copytree(kennel / "data", tmp_path / "other")
    text = (other / "dataset.yaml").read_text().replace("dog", "coco-17")
    (other / "dataset.yaml").write_text(text)
    with pytest.raises(AnnotationError, match="layout 'coco-17' is built in") as caught:
        open_folder(other)
    assert caught.value.code == "DATA-003"


def test_a_fault_in_dataset_yaml_names_the_key(kennel, tmp_path):
    other = shutil.copytree(kennel / "data", tmp_path / "other")
    text = (
        (other / "dataset.yaml")
        .read_text()
        .replace("- - hip\n      - tail", "- - hip\n      - tial")
    )
    (other / "dataset.yaml").write_text(text)
    with pytest.raises(AnnotationError, match="did you mean 'tail'") as caught:
        open_folder(other)
    assert caught.value.where == "layouts.dog.bones"


def test_what_is_said_of_layouts_counts_and_nothing_said_does_not(kennel, drawn, tmp_path):
    for data, same in ((drawn.data, True), (kennel / "data", False)):
        other = shutil.copytree(data, tmp_path / data.parent.name)
        info = yaml.safe_load((other / "dataset.yaml").read_text())
        del info["layouts"]
        if not same:
            info["layouts"] = {"dog": DOG, "cat": DOG}
        (other / "dataset.yaml").write_text(plain_yaml(info))
        unlike = open_folder(other).fingerprint() != open_folder(data).fingerprint()
        assert unlike is not same


def test_a_data_set_says_itself_what_its_layout_is(kennel, tmp_path):
    info = open_folder(kennel / "data").info.model_copy(update={"layouts": {}})
    with pytest.raises(AnnotationError, match="'dog' is not built in, and not under layouts") as no:
        FolderWriter(tmp_path / "other", info)
    assert (no.value.code, no.value.where) == ("DATA-003", "skeletons.metres.layout")


def test_an_estimators_own_layout_is_declared_with_its_joints(kennel, drawn, tmp_path):
    open_folder(kennel / "data")

    class Kennel:
        layout = "dog"

        def estimate(self, frames):
            many = sum(1 for _ in frames)
            joints = np.repeat(walk(0)[:, :1, :, :2], many, axis=1)
            return Pose(Skeleton(joints, "dog", "pixels"), np.ones(joints.shape[:3]))

    @dataclass(frozen=True)
    class Opens:
        def open(self):
            return Opened(Kennel(), "kennel")

        def facts(self):
            return {"estimator": "kennel"}

    source = DataSetClips(open_folder(drawn.data))
    estimate_poses(source, tmp_path / "posed", PoseJob(Opens()), manner=Manner(engine=here))
    layouts._declared.clear()
    assert open_folder(tmp_path / "posed").skeleton(0, "pixels").layout == "dog"
    assert get_layout("dog").sides[3:5] == ("left", "right")


def test_joints_of_another_count_name_the_dog(kennel):
    recognizer = Recognizer.load(kennel / "bundle", device="cpu", pose=None)
    np.save(kennel / "seven.npy", np.ones((5, 7, 3), np.float32))
    with pytest.raises(SkeletonError, match=r"found 7 joints, expected 6 .dog.") as caught:
        recognizer.recognize(skeleton=kennel / "seven.npy")
    assert caught.value.code == "SKEL-004"
    np.save(kennel / "six.npy", np.ones((5, 6, 3), np.float32))
    with pytest.raises(SkeletonError, match="these joints fit dog"):
        recognizer.recognize(skeleton=kennel / "six.npy", layout="coco-17")


def test_a_dog_has_no_shoulders_to_turn_by(kennel):
    folder = open_folder(kennel / "data")
    settings = override(load("tiny").skeleton, ["input.face=true"]).input
    with pytest.raises(UsageError, match="layout dog has no left_shoulder") as caught:
        skeleton_input(folder.skeleton(0, "metres"), settings)
    assert (caught.value.code, caught.value.mend) == ("CFG-047", "--set input.face=false")


def test_the_cost_of_a_dog(kennel, tmp_path):
    (tmp_path / "hound.yaml").write_text(yaml.safe_dump(DOG))
    file = str(tmp_path / "hound.yaml")
    facts = recipe_cost(load("tiny"), layout=file, classes=2, branches=["skeleton"])
    assert (facts["layout"], facts["skeleton"]["joints"]) == ("hound", 6)
