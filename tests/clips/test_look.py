import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from poselens.clips.assemble import RgbClips, rgb_input
from poselens.clips.augment import View, apply_to_pixels, centre_view, random_view
from poselens.clips.batches import EpochBatches, loaded, make_loader, to_device
from poselens.clips.look import look, make_clips, normalised, resampling, view_numbers
from poselens.clips.stream import RgbAugment, RgbInput
from poselens.data.folder import open_folder

CPU = torch.device("cpu")
RGB = RgbInput(segments=2, snippet_length=3, scale=36, size=32)


def noise(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))


def pictures(seen):
    """Return what ``look`` makes with the axes of the other path."""
    return seen.permute(0, 2, 3, 1, 4)


@pytest.mark.parametrize(("stored", "size"), [(36, 32), (23, 32), (64, 24)])
@given(seed=st.integers(0, 999))
def test_views_are_those_of_torch(stored, size, seed):
    rng = np.random.default_rng(seed)
    views = [random_view(rng, scales=(1.0, 0.8, 0.6, 0.4)) for _ in range(3)]
    frames = noise(3, 2, stored, stored, 3, seed=seed)
    found = pictures(look(frames, view_numbers(views, scale=stored), size=size))
    expected = torch.stack(
        [apply_to_pixels(clip, view, size=size) for clip, view in zip(frames, views, strict=True)]
    )
    assert torch.equal(found, expected.float())


@pytest.mark.parametrize("flipped", [False, True])
def test_unrounded_views_are_those_of_torch(flipped):
    picture = noise(20, 30, seed=3).double()
    left, top, width, height, size = 4, 2, 21, 15, 12
    across = resampling(
        torch.tensor([float(left)]), torch.tensor([float(width)]), stored=30, size=size
    )[0]
    down = resampling(
        torch.tensor([float(top)]), torch.tensor([float(height)]), stored=20, size=size
    )[0]
    across = across.flip(0) if flipped else across
    found = down.double() @ picture @ across.double().T
    part = picture[None, None, top : top + height, left : left + width]
    expected = F.interpolate(part, size=(size, size), mode="bilinear", antialias=True)[0, 0]
    torch.testing.assert_close(found, expected.flip(-1) if flipped else expected, atol=0.02, rtol=0)


@given(length=st.integers(1, 40), size=st.integers(1, 40), first=st.integers(0, 9))
def test_weights_sum_to_one_and_stay_inside(length, size, first):
    weights = resampling(
        torch.tensor([float(first)]), torch.tensor([float(length)]), stored=50, size=size
    )[0]
    torch.testing.assert_close(weights.sum(1), torch.ones(size), atol=2e-4, rtol=0)
    assert weights.min() >= 0
    assert not weights[:, :first].any()
    assert not weights[:, first + length :].any()


def test_the_test_view_selects_pixels():
    weights = resampling(torch.tensor([16.0]), torch.tensor([224.0]), stored=256, size=224)
    assert torch.equal(weights[0], torch.eye(256)[16:240])
    frames = noise(1, 2, 256, 256, 3)
    view = centre_view(scale=256, size=224)
    found = pictures(look(frames, view_numbers([view], scale=256), size=224))
    assert torch.equal(found[0], frames[0, :, 16:240, 16:240].permute(0, 3, 1, 2).float())


def test_a_view_as_numbers():
    view = View(0.25, 0.5, 0.5, 0.3, True, (1.5, 1, 1), (0, 4, 0), (2, 0, 1))
    numbers = view_numbers([view, centre_view(scale=36, size=32)], scale=36)
    assert numbers[0].tolist() == [9, 18, 18, 11, 1, 1.5, 1, 1, 0, 4, 0, 2, 0, 1]
    assert numbers[1].tolist() == [2, 2, 32, 32, 0, 1, 1, 1, 0, 0, 0, 0, 1, 2]


@pytest.mark.parametrize("seed", range(3))
def test_colours_change_as_on_the_other_path(seed):
    rng = np.random.default_rng(seed)
    views = [
        random_view(rng, scales=(1.0,), brightness=0.3, colour=colour) for colour in (0.0, 0.9)
    ]
    frames = noise(2, 3, 16, 16, 3, seed=seed)
    found = pictures(look(frames, view_numbers(views, scale=16), size=16))
    for clip, view, seen in zip(frames, views, found, strict=True):
        assert torch.equal(seen, apply_to_pixels(clip, view, size=16).float())


@pytest.mark.parametrize("snippet", ["center", "mean", "difference-stem"])
@pytest.mark.parametrize("background", ["keep", "subtract"])
def test_clips_are_those_of_the_other_path(snippet, background):
    settings = RgbInput(
        segments=4,
        snippet_length=3,
        snippet=snippet,
        background=background,
        scale=24,
        size=20,
    )
    frames = noise(2, 4 if snippet == "center" else 12, 24, 24, 3)
    rng = np.random.default_rng(0)
    views = [random_view(rng, brightness=0.2), centre_view(scale=24, size=20)]
    found = make_clips(frames, view_numbers(views, scale=24)[:, None], settings)
    expected = normalised(
        torch.stack(
            [
                rgb_input(clip.numpy(), settings, view)
                for clip, view in zip(frames, views, strict=True)
            ]
        )
    )
    assert found.shape == expected.shape == (2, settings.segments * settings.stem_frames, 3, 20, 20)
    # the mean of frames may round a half otherwise
    apart = (found - expected).abs() * 255 * 0.229
    assert apart.max() <= 1.1
    assert apart.mean() < 0.01


def test_colours_of_a_pixel_lie_side_by_side():
    clips = noise(2, 3, 3, 8, 8)
    made = normalised(clips)
    assert made.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (clips.numpy() / 255 - mean[:, None, None]) / deviation[:, None, None]
    np.testing.assert_allclose(made.numpy(), expected, atol=1e-6)


def batches(root, *, whole, workers=0, augment=None):
    clips = RgbClips(open_folder(root), settings=RGB, augment=augment, seed=5, whole=whole)
    order = EpochBatches(range(8), batch_size=3, seed=5)
    return loaded(make_loader(clips, order, workers=workers))


@pytest.mark.parametrize("augment", [None, RgbAugment(brightness=0.3, colour=0.5)])
@pytest.mark.parametrize("workers", [0, 1])
def test_the_network_sees_the_same_of_whole_regions(tiny_folder, augment, workers):
    """What a GPU makes of whole regions, made here."""
    cut = [to_device(b, CPU) for b in batches(tiny_folder, whole=False, augment=augment)]
    whole = list(batches(tiny_folder, whole=True, workers=workers, augment=augment))
    assert [tuple(b["inputs"][0].shape) for b in whole] == [(3, 2, 36, 36, 3)] * 2 + [
        (2, 2, 36, 36, 3)
    ]
    assert whole[0]["inputs"][0].dtype == torch.uint8
    for given_, batch in zip(cut, whole, strict=True):
        made = to_device(batch, CPU, RGB)
        assert made["look"] is None
        assert (made["id"], made["label"].tolist()) == (given_["id"], given_["label"].tolist())
        (found,), (expected,) = made["inputs"], given_["inputs"]
        assert found.shape == expected.shape
        assert found.stride() == expected.stride()
        assert torch.equal(found, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_sees_what_a_cpu_sees():
    rng = np.random.default_rng(1)
    views = [random_view(rng) for _ in range(6)] + [centre_view(scale=256, size=224)]
    frames, numbers = noise(7, 3, 256, 256, 3), view_numbers(views, scale=256)
    here = look(frames, numbers, size=224)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        there = look(frames.cuda(), numbers.pin_memory(), size=224).cpu()
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(here, there)


def test_scoring_in_sixteen_bits_changes_no_pixel():
    frames = torch.randint(0, 256, (2, 8, 40, 40, 3), dtype=torch.uint8)
    settings = RgbInput(scale=40, size=24)
    rng = np.random.default_rng(0)
    numbers = torch.stack(
        [view_numbers([random_view(rng, colour=0.3)], scale=40) for _ in range(len(frames))]
    )
    expected = make_clips(frames, numbers, settings)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(make_clips(frames, numbers, settings), expected)
