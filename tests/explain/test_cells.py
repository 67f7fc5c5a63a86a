import numpy as np
import pytest
import torch
from rgb_networks import small_clips, small_network

from poselens.explain.cells import cells_of, keep_cells, without_detail


def test_everything_kept_is_the_clip_and_nothing_the_baseline():
    network, clip = small_network("staa"), small_clips(1, 4, 32)[0]
    for baseline in ("blur", "mean"):
        keep = keep_cells(network, clip, 1, baseline=baseline)
        masks = np.zeros((3, 4, 4, 4), bool)
        masks[0] = True
        masks[2, :, :2] = True
        found = keep(masks)
        with torch.no_grad():
            gone = without_detail(clip, baseline)
            half = gone.clone()
            half[:, :, :16] = clip[:, :, :16]
            expected = network(torch.stack([clip, gone, half])).softmax(1)[:, 1]
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4)


def test_frames_of_a_snippet_go_together():
    network, clip = small_network("difference-stem"), small_clips(1, 6, 32)[0]
    masks = np.zeros((1, 2, 4, 4), bool)
    masks[:, 1] = True
    with torch.no_grad():
        half = torch.cat([without_detail(clip)[:3], clip[3:]])
        expected = network(half[None]).softmax(1)[0, 2]
    assert keep_cells(network, clip, 2)(masks)[0] == pytest.approx(float(expected), rel=1e-4)


def test_many_masks_are_asked_in_parts():
    network, clip = small_network(), small_clips(1, 3, 32)[0]
    masks = np.random.default_rng(0).random((19, 3, 4, 4)) < 0.5
    keep = keep_cells(network, clip, 0)
    one_by_one = np.concatenate([keep(mask[None]) for mask in masks])
    np.testing.assert_allclose(keep(masks), one_by_one, rtol=1e-4)


def test_without_detail_the_mean_stays_and_the_edges_go():
    clip = small_clips(1, 2, 64)[0] + torch.arange(3.0).view(1, 3, 1, 1)
    for baseline in ("blur", "mean"):
        gone = without_detail(clip, baseline)
        assert gone.shape == clip.shape
        torch.testing.assert_close(gone.mean((2, 3)), clip.mean((2, 3)), atol=0.1, rtol=0)
        assert gone.std((2, 3)).max() < 0.2 * clip.std((2, 3)).min()


def test_cells_are_means():
    maps = np.zeros((2, 28, 28), np.float32)
    maps[1, :2, 2:4] = 0.8
    cells = cells_of(maps)
    assert cells.shape == (2, 14, 14)
    assert cells[1, 0, 1] == pytest.approx(0.8)
    assert cells.sum() == pytest.approx(0.8)
