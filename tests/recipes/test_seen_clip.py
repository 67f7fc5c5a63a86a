import numpy as np
import pytest
import torch

from poselens.clips.stream import RgbInput
from poselens.data.folder import open_folder
from poselens.errors import AnnotationError, VideoError
from poselens.recipes.seen_clip import see_clip
from poselens.recognition.bundle import load_bundle
from poselens.recognition.score import score_folder

CPU = torch.device("cpu")
SETTINGS = RgbInput(segments=4, snippet_length=3, scale=72, size=64)


@pytest.fixture(scope="module")
def folder(drawn):
    return open_folder(drawn.data)


@pytest.mark.parametrize("snippet", ["center", "random", "mean", "difference-stem"])
@pytest.mark.parametrize("background", ["keep", "subtract"])
def test_frames_and_pictures_are_those_the_network_is_given(folder, snippet, background):
    settings = SETTINGS.model_copy(update={"snippet": snippet, "background": background})
    seen = see_clip(folder, 5, settings)
    assert len(seen.inputs) == 4 * settings.stem_frames
    assert seen.pictures.shape == (4, 64, 64, 3)
    plain = see_clip(folder, 5, SETTINGS.model_copy(update={"snippet": "center"}))
    np.testing.assert_array_equal(seen.pictures, plain.pictures)
    np.testing.assert_array_equal(seen.frames, plain.frames)
    assert (np.diff(seen.frames) > 0).all()
    np.testing.assert_allclose(seen.times, seen.frames / 24)
    if snippet == "center" and background == "keep":
        grey = seen.inputs * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        grey = (grey + torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) * 255
        np.testing.assert_allclose(grey.permute(0, 2, 3, 1), seen.pictures, atol=0.01)


def test_what_is_explained_is_what_was_scored(drawn, folder):
    bundle = load_bundle(drawn.rgb, device=CPU, folded=False)
    (trained,) = bundle.streams
    clips = folder.indices("cross-subject", "test")[:3]
    scores = score_folder(trained, folder, clips, workers=0).scores
    inputs = torch.stack([see_clip(folder, int(c), trained.stream.input).inputs for c in clips])
    with torch.no_grad():
        logits = trained.network(inputs)
    np.testing.assert_allclose(logits, scores.logits, atol=1e-5)


def moving(pictures):
    """How far each pixel lies from the clip's usual picture."""
    usual = np.median(pictures.astype(float), axis=0)
    return abs(pictures - usual).sum(axis=-1)


def at(change, points):
    """How much changes at some points, those outside the picture left out."""
    places = np.floor(points).astype(int)
    inside = ((places >= 0) & (places < change.shape[-1])).all(axis=-1)
    times = np.nonzero(inside)[0]
    x, y = places[inside].T
    return change[times, y, x].mean()


def test_joints_land_on_the_figure(folder):
    """The person is what moves: joints moved or mirrored by a wrong map would meet less of it."""
    settings = RgbInput(segments=12, snippet_length=1, margin=0.3, scale=72, size=64)
    found = []
    for clip in range(0, 48, 2):
        seen = see_clip(folder, clip, settings)
        assert seen.joints.shape == (1, 12, 17, 2)
        change, joints = moving(seen.pictures), seen.joints[0]
        others = [joints + shift for shift in ((12, 0), (-12, 0), (0, 12), (0, -12))]
        mirrored = joints * [-1, 1] + [64, 0]
        found.append([at(change, each) for each in (joints, *others, mirrored)])
    right, *wrong = np.mean(found, axis=0)
    assert all(right > 1.15 * each for each in wrong), (right, wrong)


def test_wrists_land_on_the_square_that_is_drawn_at_them(tiny_folder):
    folder = open_folder(tiny_folder)
    settings = RgbInput(segments=6, snippet_length=1, margin=0.4, scale=64, size=64)
    for clip in range(6):
        seen = see_clip(folder, clip, settings)
        yellow = (seen.pictures[..., 0] > 180) & (seen.pictures[..., 2] < 120)
        for time in range(6):
            down, across = np.nonzero(yellow[time])
            middle = (across.mean() + 0.5, down.mean() + 0.5)
            scale = 64 / np.array([seen.placement.width, seen.placement.height])
            apart = (seen.joints[0, time, 9 + clip % 2] - middle) / scale
            # the square covers whole pixels of the frame
            assert abs(apart).max() < 1.2


def test_whole_frames_are_those_the_pictures_were_cut_from(folder):
    seen = see_clip(folder, 3, SETTINGS)
    whole = seen.whole_frames()
    assert whole.shape == (4, *seen.frame_size, 3)
    (left, top), (height, width) = seen.cut
    part = whole[:, round(top) : round(top + height), round(left) : round(left + width)]
    for cut, picture in zip(part, seen.pictures, strict=True):
        assert abs(cut.mean((0, 1)) - picture.mean((0, 1))).max() < 6


def test_large_frames_are_shown_smaller(folder, monkeypatch):
    monkeypatch.setattr("poselens.recipes.seen_clip.LONGEST_SIDE", 32)
    seen = see_clip(folder, 3, SETTINGS)
    assert seen.shown_size == (32, 32)
    assert seen.whole_frames().shape == (4, 32, 32, 3)
    assert max(seen.cut[1]) <= 32


def test_clips_without_video_or_with_a_broken_one(drawn, tmp_path):
    import shutil

    data = shutil.copytree(drawn.data, tmp_path / "data")
    name = str(open_folder(data).ids[2])
    (data / "videos" / f"{name}.mp4").write_text("404")
    with pytest.raises(VideoError) as caught:
        see_clip(open_folder(data), 2, SETTINGS)
    assert caught.value.code == "VID-003"
    rows = (data / "clips.csv").read_text().replace(f"videos/{name}.mp4", "")
    (data / "clips.csv").write_text(rows)
    with pytest.raises(AnnotationError, match="the clip has no video"):
        see_clip(open_folder(data), 2, SETTINGS)
