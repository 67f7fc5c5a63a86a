import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from poselens.data.folder import open_folder
from poselens.errors import UsageError
from poselens.explain.overlay import CUT
from poselens.recipes.figure3 import draw_figure3

PROTOCOL = "cross-subject"


@pytest.fixture(scope="module")
def folder(drawn):
    return open_folder(drawn.data)


def test_rows_are_named_by_what_the_networks_have(drawn, folder, tmp_path):
    out = tmp_path / "new" / "figure3.png"
    ids = [str(folder.ids[clip]) for clip in (3, 4, 3)]
    facts = draw_figure3([drawn.rgb, drawn.bundle], folder, PROTOCOL, out, ids=ids, device="cpu")
    assert [each["name"] for each in facts["networks"]] == ["STAA", "STAA"]
    assert [each["id"] for each in facts["clips"]] == ids[:2]
    first, second = facts["clips"][0]["networks"]
    # the bundle's RGB stream is the run: the same maps
    assert first["share_of_strongest_moment"] == second["share_of_strongest_moment"]
    assert facts["about"] == "label"
    json.dumps(facts)
    pixels = np.asarray(Image.open(io.BytesIO(out.read_bytes())))
    assert pixels.shape[1] > 1000
    assert pixels.std() > 20


def test_without_a_clip_it_is_the_surest_right_one(drawn, folder, tmp_path):
    out = tmp_path / "figure3.svg"
    facts = draw_figure3([drawn.rgb] * 2, folder, PROTOCOL, out, device="cpu")
    (clip,) = facts["clips"]
    assert clip["label"] == clip["networks"][-1]["predicted"]
    assert clip["part"] == "test"
    assert out.read_text().count("<image") >= 3


def test_networks_that_read_other_frames_are_not_compared(drawn, folder, tmp_path):
    run = shutil.copytree(drawn.rgb, tmp_path / "run")
    facts = json.loads((run / "run.json").read_text())
    facts["stream"]["input"]["segments"] = 4
    (run / "run.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="the networks read other frames") as caught:
        draw_figure3(
            [drawn.rgb, run], folder, PROTOCOL, tmp_path / "f.png", ids=[str(folder.ids[0])],
            device="cpu",
        )  # fmt: skip
    assert caught.value.code == "EXP-012"


def test_other_pictures_are_refused_before_any_work(folder, tmp_path):
    with pytest.raises(UsageError, match=r"kind '.pdf'") as caught:
        draw_figure3([tmp_path / "no-run"], folder, PROTOCOL, tmp_path / "f.pdf")
    assert caught.value.code == "EXP-007"


def test_a_model_without_pictures_is_refused(drawn, folder, tmp_path):
    with pytest.raises(UsageError, match="no stream of joint sees pictures") as caught:
        draw_figure3([drawn.joint], folder, PROTOCOL, tmp_path / "f.png", device="cpu")
    assert caught.value.code == "EXP-006"


def test_networks_that_look_at_other_regions_are_shown_in_the_whole_frame(drawn, folder, tmp_path):
    run = shutil.copytree(drawn.rgb, tmp_path / "run")
    facts = json.loads((run / "run.json").read_text())
    facts["stream"]["input"]["crop"] = False
    (run / "run.json").write_text(json.dumps(facts))
    ids, frame = [str(folder.ids[7])], tmp_path / "frame.png"
    facts = draw_figure3([drawn.rgb, run], folder, PROTOCOL, frame, ids=ids, device="cpu")
    region, whole = (each["region"] for each in facts["clips"][0]["networks"])
    assert region != whole == [0, 0, 64, 64]
    colours = np.asarray(Image.open(frame).convert("RGB")).reshape(-1, 3).astype(int)
    assert (abs(colours - CUT).sum(axis=1) < 30).sum() > 500
    region = tmp_path / "region.png"
    draw_figure3([drawn.rgb, drawn.rgb], folder, PROTOCOL, region, ids=ids, device="cpu")
    colours = np.asarray(Image.open(region).convert("RGB")).reshape(-1, 3).astype(int)
    assert (abs(colours - CUT).sum(axis=1) < 30).sum() < 50
