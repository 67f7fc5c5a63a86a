import json
import shutil

import numpy as np
import pytest
import torch

from poselens.data.folder import open_folder
from poselens.errors import InputError, UsageError
from poselens.evaluation.explain_page import ShownCheck
from poselens.explain.cam import attribute_frames
from poselens.recipes.choosing import choose_clips
from poselens.recipes.explained_sanity import check_rgb
from poselens.recipes.explaining import Asking, explain_clips, load_plain
from poselens.recipes.rgb_explaining import explain_rgb
from poselens.recipes.seen_clip import see_clip
from poselens.rgb.network import RgbNetwork

PROTOCOL = "cross-subject"


@pytest.fixture(scope="module")
def folder(drawn):
    return open_folder(drawn.data)


@pytest.fixture(scope="module")
def bundle(drawn):
    return load_plain(drawn.bundle, "cpu")


def explain(bundle, folder, out, **options):
    ids = [str(folder.ids[clip]) for clip in folder.indices(PROTOCOL, "test")[:2]]
    chosen = choose_clips(bundle, folder, PROTOCOL, ids=ids)
    return explain_clips(bundle, folder, PROTOCOL, chosen, out, Asking(**options))


def test_networks_are_loaded_as_they_were_trained(bundle):
    network = bundle.streams[0].network
    assert isinstance(network, RgbNetwork)
    assert any(isinstance(part, torch.nn.BatchNorm2d) for part in network.modules())


def test_facts_say_what_was_asked_and_seen(bundle, folder, tmp_path):
    facts = explain(bundle, folder, tmp_path, about="label", layer="layer3")
    assert json.loads((tmp_path / "explanations.json").read_text()).items() <= facts.items()
    assert (facts["method"], facts["layers"]) == ("gradcam", {"rgb": "layer3.1"})
    assert facts["data_fingerprint"] == folder.fingerprint()
    first = facts["clips"][0]
    label = folder.info.classes[folder.labels[folder.index_of(first["id"])]]
    assert first["label"] == first["explained"] == label
    assert (first["part"], first["against"]) == ("test", None)
    found = first["streams"]["rgb"]
    seen = see_clip(folder, folder.index_of(first["id"]), bundle.streams[0].stream.input)
    assert found["frames"] == seen.frames.tolist()
    assert max(found["share_of_strongest_moment"]) in (0, 1)
    left, top, right, bottom = found["region"]
    assert left <= found["seen"][0] < found["seen"][2] <= right
    assert top <= found["seen"][1] < found["seen"][3] <= bottom
    assert first["label"] in first["told"]
    assert (tmp_path / first["strip"]).read_bytes().startswith(b"\x89PNG")
    assert facts["sanity"] == {}


def test_a_map_comes_with_the_frames_times_and_joints_it_is_about(bundle, folder):
    trained = bundle.streams[0]
    seen = see_clip(folder, 6, trained.stream.input)
    found = explain_rgb(trained, seen, 3, 1, layer="layer2")
    size = trained.stream.input.size
    assert found.maps.shape == (len(seen.times), size, size)
    assert seen.joints.shape == (1, len(seen.times), 17, 2)
    expected = attribute_frames(
        trained.network, seen.inputs[None], np.array([3]), against=np.array([1]), layer="layer2"
    )
    np.testing.assert_array_equal(found.maps, expected[0])
    whole = found.in_whole_frames()
    assert whole.shape == (len(seen.times), *seen.shown_size)
    # the same map at another size: what falls on each moment stays
    shares = whole.mean((1, 2)) / max(whole.mean((1, 2)).max(), 1e-12)
    np.testing.assert_allclose(shares, found.curve.values, atol=0.05)


def spoiled(drawn, tmp_path):
    """A copy of the data whose first test clip has no video that can be read, and its name."""
    data = shutil.copytree(drawn.data, tmp_path / "data")
    name = str(open_folder(data).ids[open_folder(data).indices(PROTOCOL, "test")[0]])
    (data / "videos" / f"{name}.mp4").write_text("404")
    return open_folder(data), name


def test_a_clip_that_cannot_be_read_is_named_and_stops_nothing(drawn, tmp_path):
    folder, name = spoiled(drawn, tmp_path)
    facts = explain(load_plain(drawn.rgb, "cpu"), folder, tmp_path / "out")
    assert facts["skipped"].keys() == {f"{name} (rgb)"}
    assert facts["skipped"][f"{name} (rgb)"].startswith("VID-003")
    assert len(facts["clips"]) == 1
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Left out" in page
    assert "VID-003" in page


def test_a_clip_one_stream_cannot_read_is_explained_by_the_other(bundle, drawn, tmp_path):
    folder, name = spoiled(drawn, tmp_path)
    facts = explain(bundle, folder, tmp_path / "out", video=True)
    assert facts["skipped"].keys() == {f"{name} (rgb)"}
    first, second = facts["clips"]
    assert (first["streams"].keys(), second["streams"].keys()) == ({"joint"}, {"rgb", "joint"})
    assert "video" not in first
    assert "video" in second


def test_clips_that_are_gone_since_they_were_scored(drawn, tmp_path):
    data = shutil.copytree(drawn.data, tmp_path / "data")
    run = load_plain(drawn.rgb, "cpu")
    chosen = choose_clips(run, open_folder(data), PROTOCOL, top=1)
    shutil.rmtree(data / "videos")
    with pytest.raises(InputError, match="not one of [12] clips can be read") as caught:
        explain_clips(run, open_folder(data), PROTOCOL, chosen, tmp_path / "none", Asking())
    assert caught.value.code == "EVAL-011"


def test_what_cannot_be_asked_is_refused_before_anything_is_written(bundle, folder, tmp_path):
    for options, code in (({"layer": "layer7"}, "EXP-002"), ({"about": "waltz"}, "EXP-010")):
        with pytest.raises(UsageError) as caught:
            explain(bundle, folder, tmp_path / "out", **options)
        assert caught.value.code == code
    assert not (tmp_path / "out").exists()


def test_both_branches_are_checked_over_the_clips_that_were_explained(
    bundle, folder, tmp_path, monkeypatch
):
    from poselens.recipes import explaining

    asked = {}

    class Check:
        def __init__(self, stream):
            self.stream = stream

        def as_dict(self):
            return {"stream": self.stream}

        def shown(self):
            return ShownCheck(
                self.stream, [], [], ["fc"], [0.1], [0.1], [("deletion", [0], [0], [0])]
            )

    def check(trained, inputs, classes, *, groups, **options):
        asked[trained.stream.name] = (inputs, classes.tolist(), groups, options)
        return Check(trained.stream.name)

    monkeypatch.setattr(explaining, "check_rgb", check)
    monkeypatch.setattr(explaining, "check_joints", check)
    monkeypatch.setattr(explaining, "FEWEST", 1)
    facts = explain(
        bundle, folder, tmp_path, about="label", sanity=True, joint_method="gradient-input"
    )
    assert facts["sanity"] == {"rgb": {"stream": "rgb"}, "joint": {"stream": "joint"}}
    clips = [folder.index_of(entry["id"]) for entry in facts["clips"]]
    labels, people = folder.labels[clips].tolist(), [folder.record(c).subject for c in clips]
    assert [each[1] for each in asked.values()] == [labels, labels]
    assert asked["rgb"][2:] == (people, {"method": "gradcam", "layer": None})
    assert asked["joint"][2:] == (people, {"method": "gradient-input"})
    expected = see_clip(folder, clips[1], bundle.streams[0].stream.input).inputs
    assert torch.equal(asked["rgb"][0][1], expected)
    assert asked["joint"][0].shape[0] == 2


def test_checks_ask_the_same_clips_and_leave_the_network_alone(bundle, folder):
    trained = bundle.streams[0]
    clips = torch.stack([see_clip(folder, each, trained.stream.input).inputs for each in range(5)])
    before = {name: value.clone() for name, value in trained.network.state_dict().items()}
    found = check_rgb(trained, clips, folder.labels[:5], layer="layer2", steps=3)
    after = trained.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    layers = found.randomisation.layers
    assert layers[0] == "fc"
    assert layers[-1] == "backbone.conv1"
    # what lies above the layer that is asked reaches its map through the gradient alone
    assert found.randomisation.ranks[-1].mean < 0.9
    with torch.no_grad():
        probabilities = trained.network(clips).softmax(1)[np.arange(5), folder.labels[:5]]
    assert found.deletion.curve[0] == pytest.approx(float(probabilities.mean()), abs=1e-5)
    assert found.insertion.curve[-1] == pytest.approx(float(probabilities.mean()), abs=1e-5)
    assert len(found.shown().verdicts) == 3
