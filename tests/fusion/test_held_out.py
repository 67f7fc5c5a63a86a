from functools import partial

import numpy as np
import pytest

from poselens.errors import UsageError
from poselens.fusion.held_out import fixed, fuse_held_out, refitted
from poselens.fusion.scores import fuse
from poselens.fusion.weights import fit_weights, fixed_weights
from poselens.types import Scores


def made(name, seed, clips=60, classes=4, strength=1.5):
    labels = np.arange(clips) % classes
    logits = np.random.default_rng(seed).normal(0, 1, (clips, classes))
    logits += strength * np.eye(classes)[labels]
    ids = [f"c{row}" for row in range(clips)]
    return Scores(logits.astype(np.float32), ids, labels, [f"k{k}" for k in range(classes)], name)


def test_no_clip_is_judged_by_weights_it_was_fitted_on():
    streams = [made("rgb", 1), made("joint", 2)]
    seen = []

    def fit(scores):
        seen.append(set(scores[0].ids))
        return fixed_weights(["rgb", "joint"], "equal")

    fused = fuse_held_out(streams, fit)
    assert sorted(fused.ids) == sorted(streams[0].ids)
    assert len(seen) == 5
    assert all(len(part) == 48 for part in seen)
    # each clip was missing from exactly one fit
    assert all(sum(clip not in part for part in seen) == 1 for clip in streams[0].ids)
    whole = fuse(streams, [1, 1])
    row = {clip: place for place, clip in enumerate(whole.ids)}
    np.testing.assert_allclose(fused.logits, whole.logits[[row[clip] for clip in fused.ids]])


def test_groups_stay_together():
    streams = [made("rgb", 1), made("joint", 2)]
    groups = [f"s{row // 6}" for row in range(60)]
    seen = []

    def fit(scores):
        seen.append({groups[int(clip[1:])] for clip in scores[0].ids})
        return fixed_weights(["rgb", "joint"], "equal")

    fuse_held_out(streams, fit, groups=groups)
    assert all(len(part) == 8 for part in seen)


def test_a_fit_that_knows_its_clips_by_heart_gains_nothing_out_of_fold():
    draw = np.random.default_rng(0)
    labels = np.arange(200) % 4
    ids = [f"c{row}" for row in range(200)]
    # pure noise
    streams = [
        Scores(draw.normal(0, 1, (200, 4)).astype(np.float32), ids, labels, list("abcd"), name)
        for name in ("u", "v", "w", "x", "y", "z")
    ]
    fit = partial(fit_weights, objective="accuracy")
    inside = fit(streams).accuracy
    fused = fuse_held_out(streams, fit)
    outside = (fused.logits.argmax(axis=1) == fused.labels).mean()
    assert inside > 0.3
    assert outside < inside


def test_clips_that_no_stream_left_knows_are_left_out():
    rgb, joint = made("rgb", 1), made("joint", 2)
    few = Scores(joint.logits[:40], joint.ids[:40], joint.labels[:40], joint.classes, "joint")
    fused = refitted(fit_weights)([few])
    assert len(fused.ids) == 40
    weights = fixed_weights(["rgb", "joint"], "equal")
    assert len(fixed(weights)([rgb, few]).ids) == 60
    rgb.logits[45:] = np.nan
    assert len(fixed(weights)([rgb, few]).ids) == 45
    groups = {clip: str(place % 7) for place, clip in enumerate(rgb.ids)}
    assert len(refitted(fit_weights, groups)([rgb, few]).ids) == 45


def test_one_clip_is_too_few():
    streams = [made("rgb", 1, clips=1), made("joint", 2, clips=1)]
    with pytest.raises(UsageError, match="found 1 labelled clips, expected two or more") as caught:
        fuse_held_out(streams, fit_weights)
    assert caught.value.code == "FUS-022"
