import numpy as np
import pytest

from poselens.data.folder import open_folder
from poselens.errors import InputError, NumericFault
from poselens.recipes.attributing import attribute_clips
from poselens.recipes.explained_clip import Question, explain_streams
from poselens.recipes.explaining import load_plain
from poselens.recipes.strips import STRIP_HEIGHT


@pytest.fixture(scope="module")
def asked(drawn):
    folder = open_folder(drawn.data)
    clip = str(folder.ids[folder.indices("cross-subject", "test")[0]])
    return folder, clip, attribute_clips(drawn.bundle, folder, device="cpu")


def test_both_streams_show_the_frames_they_were_given(asked, drawn):
    folder, clip, strips = asked
    found = strips(clip, 2, 3)
    assert [each.name for each in found] == ["rgb", "joint"]
    rows = explain_streams(
        load_plain(drawn.bundle, "cpu"), folder, folder.index_of(clip), Question(2, 3), {}
    ).rows
    frames = len(rows[0].pictures)
    for each in found:
        assert each.pixels.shape[0] == STRIP_HEIGHT
        assert each.pixels.shape[1] % frames == 0
        assert each.pixels.dtype == np.uint8


def test_what_speaks_for_one_class_is_not_what_speaks_for_the_other(asked):
    _, clip, strips = asked
    for one, other in zip(strips(clip, 2, 3), strips(clip, 3, 2), strict=True):
        assert not np.array_equal(one.pixels, other.pixels)


def test_of_many_skeleton_streams_the_one_that_weighs_most_is_asked(drawn, monkeypatch):
    from dataclasses import replace

    from poselens.recipes import attributing

    whole = load_plain(drawn.bundle, "cpu")
    rgb, joint = whole.streams
    settings = joint.stream.input.model_copy(update={"stream": "bone"})
    bone = replace(joint, stream=joint.stream.model_copy(update={"input": settings}))
    weights = {"rgb": 0.2, "joint": 0.3, "bone": 0.5}
    many = replace(whole, streams=[joint, bone, rgb], fusion=replace(whole.fusion, weights=weights))
    monkeypatch.setattr(attributing, "load_plain", lambda *_: many)
    folder = open_folder(drawn.data)
    found = attribute_clips(drawn.bundle, folder, device="cpu")(str(folder.ids[0]), 0, 1)
    assert [each.name for each in found] == ["rgb", "bone"]


@pytest.mark.parametrize(
    "fault", [InputError("VID-002", "empty"), NumericFault("EXP-005", "not finite")]
)
def test_a_clip_that_cannot_be_explained_has_no_strips(drawn, monkeypatch, fault):
    from poselens.recipes import attributing

    def refuse(*_):
        raise fault

    monkeypatch.setattr(attributing, "explain_streams", refuse)
    folder = open_folder(drawn.data)
    assert attribute_clips(drawn.bundle, folder, device="cpu")(str(folder.ids[0]), 0, 1) == []
