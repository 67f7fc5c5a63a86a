import numpy as np
import pytest
import torch

from poselens.clips.assemble import RgbClips, choose_frames, read_video, rgb_input, rgb_views
from poselens.clips.augment import View, centre_view
from poselens.clips.batches import EpochBatches, loaded, make_loader, to_device
from poselens.clips.segments import frames_to_read
from poselens.clips.stream import RgbAugment, RgbInput
from poselens.clips.views import choose_views, count_views, one_view
from poselens.data.folder import open_folder
from poselens.errors import UsageError

CPU = torch.device("cpu")
PAPER = RgbInput()
RGB = RgbInput(segments=2, snippet_length=3, scale=36, size=32)
NAMES = ["centre", "3-crops", "3-offsets", "3-crops+3-offsets"]


def test_three_crops_go_from_edge_to_edge_at_half_the_height():
    views = choose_views("3-crops", PAPER)
    boxes = [view.pixels(rows=256, columns=256) for view in views.crops]
    assert [(box.left, box.top) for box in boxes] == [(0, 16), (16, 16), (32, 16)]
    assert {(box.width, box.height) for box in boxes} == {(224, 224)}
    assert not views.offsets


def test_one_view_is_the_default_and_the_centre():
    assert choose_views("centre", PAPER) == one_view(PAPER)
    assert one_view(PAPER).crops == (View(0.0625, 0.0625, 0.875, 0.875),)


@pytest.mark.parametrize(
    ("name", "count"), [("centre", 1), ("3-crops", 3), ("6-offsets", 6), ("3-crops+6-offsets", 18)]
)
def test_a_name_says_how_many_views_it_stands_for(name, count):
    views = choose_views(name, PAPER)
    assert views.name == name
    assert count_views(name) == count == len(views.crops) * (6 if views.offsets else 1)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("10-crops", {}, "unknown views '10-crops'.*use centre or 3-crops or 6-offsets or 3-crops"),
        ("", {}, "unknown views ''"),
        ("5-offsets", {}, "found views '5-offsets', but snippets of 6 frames"),
        ("16-offsets", {}, "found views '16-offsets', but snippets of 6 frames"),
        ("6-offsets", {"snippet": "mean"}, "a mean snippet shows all its frames in one view"),
        ("3-crops+6-offsets", {"snippet": "difference-stem"}, "a difference-stem snippet shows"),
        ("3-crops", {"scale": 224}, r"region of 224 pixels has no room for 3 crops of 224.*centre"),
    ],
)
def test_views_that_a_stream_cannot_have_are_refused(name, changes, words):
    with pytest.raises(UsageError, match=words) as caught:
        choose_views(name, PAPER.model_copy(update=changes))
    assert caught.value.code == "CFG-038"


@pytest.mark.parametrize("frames", [5, 12, 48, 100])
def test_offsets_read_each_frame_of_every_snippet_in_turn(frames):
    read = choose_frames(frames, PAPER, None, offsets=True).reshape(6, 8)
    snippets = frames_to_read(frames, segments=8, length=6, snippet="mean")
    np.testing.assert_array_equal(read, snippets.T)
    # the fourth of six is the middle frame, which one view sees
    np.testing.assert_array_equal(read[3], choose_frames(frames, PAPER, None))


def test_every_crop_is_seen_at_every_offset():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 36, 36, 3), dtype=np.uint8)
    crops = choose_views("3-crops+3-offsets", RGB).crops
    seen = rgb_views(pixels, RGB, crops)
    assert seen.shape == (9, 2, 3, 32, 32)
    for crop in range(3):
        for offset in range(3):
            alone = rgb_input(pixels[2 * offset : 2 * offset + 2], RGB, crops[crop])
            assert torch.equal(seen[3 * crop + offset], alone)


def batches(root, name, *, whole):
    views = choose_views(name, RGB)
    clips = RgbClips(
        open_folder(root), settings=RGB, augment=None, seed=5, whole=whole, views=views
    )
    order = EpochBatches(range(4), batch_size=3, shuffle=False)
    return [to_device(b, CPU, RGB) for b in loaded(make_loader(clips, order, workers=0))]


@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_makes_the_views_that_processes_make(tiny_folder, name):
    made = batches(tiny_folder, name, whole=True)
    several = () if name == "centre" else (count_views(name),)
    assert made[0]["inputs"][0].shape == (3, *several, 2, 3, 32, 32)
    for found, expected in zip(made, batches(tiny_folder, name, whole=False), strict=True):
        assert torch.equal(found["inputs"][0], expected["inputs"][0])
        assert found["id"] == expected["id"]


def test_the_views_of_a_clip_are_decoded_once(tiny_folder, monkeypatch):
    asked = []

    def counting(source, settings, wanted):
        asked.append(len(wanted))
        return read_video(source, settings, wanted)

    monkeypatch.setattr("poselens.clips.assemble.read_video", counting)
    views = choose_views("3-crops+3-offsets", RGB)
    clips = RgbClips(open_folder(tiny_folder), settings=RGB, augment=None, seed=0, views=views)
    assert clips[0, 0, 1].inputs[0].shape[0] == 9
    assert asked == [6]


def test_training_sees_one_view_of_a_clip(tiny_folder):
    views = choose_views("3-crops", RGB)
    folder = open_folder(tiny_folder)
    given = {"settings": RGB, "augment": RgbAugment(), "seed": 3}
    sample = RgbClips(folder, views=views, **given)[0, 0, 1]
    assert torch.equal(sample.inputs[0], RgbClips(folder, **given)[0, 0, 1].inputs[0])
    assert sample.inputs[0].shape == (2, 3, 32, 32)
    assert centre_view(scale=36, size=32) in views.crops
