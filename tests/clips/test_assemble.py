import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from poselens.clips import assemble, stretch
from poselens.clips.assemble import (
    RgbClips,
    Sample,
    SkippedClip,
    mirrored_label,
    rgb_input,
    skeleton_input,
    video_source,
)
from poselens.clips.augment import centre_view
from poselens.clips.stream import RgbAugment, RgbInput, SkeletonInput
from poselens.data.folder import open_folder
from poselens.errors import AnnotationError, UsageError
from poselens.types import Box, Skeleton

RGB = RgbInput(segments=2, snippet_length=3, scale=36, size=32)


def rgb(root, augment=None, seed=0, settings=RGB):
    return RgbClips(open_folder(root), settings=settings, augment=augment, seed=seed)


def varied(root, seed=0):
    return rgb(root, RgbAugment(brightness=0.3), seed)


def test_a_sample_is_a_function_of_seed_epoch_repeat_and_clip(tiny_folder):
    def draw(key, seed=0):
        return varied(tiny_folder, seed)[key].inputs[0]

    one = draw((3, 1, 5))
    clips = varied(tiny_folder)
    for other in ((0, 0, 5), (3, 1, 4)):
        clips[other]
    assert torch.equal(clips[3, 1, 5].inputs[0], one)
    for changed in (draw((4, 1, 5)), draw((3, 0, 5)), draw((3, 1, 5), seed=1)):
        assert not torch.equal(changed, one)


def test_clips_alike_are_varied_apart(tiny_folder, monkeypatch):
    """Were the clip no part of the seed, all clips of an epoch would be turned the same way."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 36, 36, 3), dtype=np.uint8)
    monkeypatch.setattr(assemble, "read_video", lambda *_: pixels)
    clips = varied(tiny_folder)
    assert not torch.equal(clips[0, 0, 2].inputs[0], clips[0, 0, 6].inputs[0])


def test_samples_have_the_networks_shape(tiny_folder):
    sample = rgb(tiny_folder)[0, 0, 5]
    assert isinstance(sample, Sample)
    assert (sample.label, sample.clip, sample.id) == (1, 5, "c05")
    assert sample.inputs[0].shape == (2, 3, 32, 32)
    assert sample.inputs[0].dtype == torch.uint8


def test_without_augmentation_the_epoch_does_not_matter(tiny_folder):
    clips = rgb(tiny_folder)
    assert torch.equal(clips[0, 0, 1].inputs[0], clips[7, 2, 1].inputs[0])


def test_labels_follow_the_mirror(tiny_folder):
    """Left becomes right, clap stays, and point, which the data set does not name, never turns."""
    always = rgb(tiny_folder, RgbAugment(flip=1.0))
    assert [always[0, 0, clip].label for clip in range(4)] == [1, 0, 2, 3]
    never = rgb(tiny_folder, RgbAugment(flip=0.0))
    assert [never[0, 0, clip].label for clip in range(4)] == [0, 1, 2, 3]


def test_a_mirrored_clip_is_the_mirror_image(tiny_folder):
    plain = RgbAugment(flip=0.0, scales=(1.0,))
    turned = RgbAugment(flip=1.0, scales=(1.0,))
    left = rgb(tiny_folder, plain)[0, 0, 0].inputs[0]
    assert torch.equal(rgb(tiny_folder, turned)[0, 0, 0].inputs[0], left.flip(-1))
    # point is never mirrored: its pixels stay too
    point = rgb(tiny_folder, plain)[0, 0, 3].inputs[0]
    assert torch.equal(rgb(tiny_folder, turned)[0, 0, 3].inputs[0], point)


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [
        ("same", [0, 1, 2]),
        ("none", [None, None, None]),
        ({"a": "b", "b": "a"}, [1, 0, None]),
        ({"c": "c"}, [None, None, 2]),
        ({}, [None, None, None]),
    ],
)
def test_every_kind_of_mirror(mirror, expected):
    folder = SimpleNamespace(info=SimpleNamespace(mirror=mirror, classes=["a", "b", "c"]))
    assert [mirrored_label(folder, label) for label in range(3)] == expected


def test_unreadable_clips_are_skipped_with_the_reason(tiny_folder, tmp_path):
    root = shutil.copytree(tiny_folder, tmp_path / "data")
    (root / "videos" / "c01.mp4").write_bytes(b"not a video")
    (root / "videos" / "c02.mp4").unlink()
    table = (root / "clips.csv").read_text().splitlines()
    table[4] = table[4].replace("videos/c03.mp4", "")
    (root / "clips.csv").write_text("\n".join(table) + "\n")
    clips = rgb(root)
    faults = [clips[0, 0, clip] for clip in (1, 2, 3)]
    assert all(isinstance(fault, SkippedClip) for fault in faults)
    assert [fault.id for fault in faults] == ["c01", "c02", "c03"]
    assert faults[0].reason.startswith("VID-003")
    assert faults[1].reason.startswith("VID-001")
    assert faults[2].reason == "DATA-026 c03: the clip has no video"
    assert isinstance(clips[0, 0, 0], Sample)


def test_one_skeleton_is_prepared_for_prediction():
    joints = np.random.default_rng(0).normal(size=(2, 9, 17, 3)).astype(np.float32)
    skeleton = Skeleton(joints, "coco-17", "metres")
    settings = SkeletonInput(
        window=8, people=3, stream="reach", pairs={"reach": [("nose", "left_wrist")]}
    )
    found = skeleton_input(skeleton, settings)
    assert found.shape == (3, 8, 17, 3)
    plain = skeleton_input(skeleton, settings.model_copy(update={"stream": "joint"}))
    torch.testing.assert_close(found[:, :, 0], plain[:, :, 0] - plain[:, :, 9], equal_nan=True)
    assert not found[:, :, 1:, :2].any()
    wrong = settings.model_copy(update={"stream": "bones"})
    with pytest.raises(UsageError, match="did you mean 'bone'"):
        skeleton_input(skeleton, wrong)


def test_clips_travel_to_a_process_that_was_not_forked(tiny_folder):
    clips = varied(tiny_folder)
    clips[0, 0, 1]
    sent = pickle.loads(pickle.dumps(clips))
    assert torch.equal(sent[1, 0, 2].inputs[0], clips[1, 0, 2].inputs[0])


def test_a_video_is_probed_once(tiny_folder, monkeypatch):
    asked = []

    def probe(path):
        asked.append(path)
        return real(path)

    real = stretch.probe
    monkeypatch.setattr(stretch, "probe", probe)
    clips = rgb(tiny_folder)
    for epoch in range(3):
        clips[epoch, 0, 2]
    assert len(asked) == 1


def test_the_region_is_that_of_the_joints_or_the_whole_frame(tiny_folder):
    folder = open_folder(tiny_folder)
    assert rgb(tiny_folder).region(0).reason == "skeleton"
    whole = rgb(tiny_folder, settings=RGB.model_copy(update={"crop": False})).region(0)
    assert (whole.box, whole.reason) == (Box(0, 0, 64, 48), "no-joints")
    source = video_source(folder.video_path(0), None, RGB)
    assert source.region.reason == "no-joints"
    assert (source.first_frame, source.frames, source.promised) == (0, 12, 12)


def test_a_stretch_of_a_video(tiny_folder):
    path = open_folder(tiny_folder).video_path(0)
    source = video_source(path, None, RGB, start_s=0.1, end_s=0.3)
    assert (source.first_frame, source.frames, source.promised) == (3, 6, 6)
    source = video_source(path, None, RGB, start_s=0.1, end_s=99.0)
    assert (source.first_frame, source.frames) == (3, 9)
    with pytest.raises(AnnotationError, match=r"frames 60 to 12 of 12.*correct start_s") as caught:
        video_source(path, None, RGB, start_s=2.0)
    assert caught.value.code == "DATA-025"


def test_mean_snippets_are_averaged():
    pixels = np.zeros((4, 8, 8, 3), np.uint8)
    for frame, value in enumerate((10, 21, 100, 103)):
        pixels[frame] = value
    settings = RgbInput(segments=2, snippet_length=2, snippet="mean", scale=8, size=8)
    made = rgb_input(pixels, settings, centre_view(scale=8, size=8))
    assert made.shape == (2, 3, 8, 8)
    assert made.dtype == torch.uint8
    # half a grey level rounds to even
    assert made[:, 0, 0, 0].tolist() == [16, 102]


def test_a_stem_for_differences_sees_every_frame_in_order():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    settings = RgbInput(segments=2, snippet_length=3, snippet="difference-stem", scale=8, size=8)
    view = centre_view(scale=8, size=8)
    made = rgb_input(pixels, settings, view)
    np.testing.assert_array_equal(made.permute(0, 2, 3, 1).numpy(), pixels)
    bare = rgb_input(pixels, settings.model_copy(update={"background": "subtract"}), view)
    expected = (pixels - pixels.mean(0, dtype=np.float64)) / 2 + 128
    found = bare.permute(0, 2, 3, 1).numpy()
    assert found.shape == pixels.shape
    assert abs(found - expected).max() <= 0.5 + 1e-4


def test_a_sample_for_a_stem_for_differences_has_all_frames(tiny_folder):
    settings = RGB.model_copy(update={"snippet": "difference-stem"})
    clips = rgb(tiny_folder, settings=settings)
    assert clips[0, 0, 5].inputs[0].shape == (6, 3, 32, 32)
