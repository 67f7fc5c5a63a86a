from dataclasses import replace

import numpy as np
import pytest
import torch

from poselens.clips import resident
from poselens.clips.assemble import skeleton_input
from poselens.clips.batches import EpochBatches
from poselens.clips.resident import SkeletonBatches, moved_rows, read_ready, select
from poselens.clips.stream import SkeletonAugment, SkeletonInput
from poselens.data.folder import ClipFolder, open_folder
from poselens.errors import UsageError
from poselens.pose.layouts import get_layout
from poselens.skeleton.prepare import prepare_batch
from poselens.types import Skeleton

CPU = torch.device("cpu")
JOINTS = SkeletonInput(window=8)
VARIED = SkeletonAugment(noise=0.01, dropped=0.1, scaling=0.1, shear=0.1, flip=0.5)


def made(root, augment=None, *, clips=range(8), settings=JOINTS, **options):
    found = read_ready(open_folder(root), list(clips), settings, device=CPU)
    options = {"batch_size": 3, "seed": 5, **options}
    return SkeletonBatches(found, list(clips), settings=settings, augment=augment, **options)


def epoch(batches, number=0, first_step=0):
    batches.epoch, batches.first_step = number, first_step
    return list(batches)


def same(one, other):
    return (
        one["id"] == other["id"]
        and torch.equal(one["label"], other["label"])
        and torch.equal(one["index"], other["index"])
        and torch.equal(one["inputs"][0].nan_to_num(), other["inputs"][0].nan_to_num())
    )


def test_batches_have_the_networks_shape(tiny_folder):
    batches = epoch(made(tiny_folder, clips=[4, 6, 5, 2]))
    assert [batch["id"] for batch in batches] == [["c04", "c06", "c05"], ["c02"]]
    first = batches[0]
    assert first["inputs"][0].shape == (3, 3, 8, 17, 1)
    assert first["inputs"][0].is_contiguous()
    assert first["label"].tolist() == [0, 2, 1]
    assert first["index"].tolist() == [4, 6, 5]
    assert first["label"].dtype == first["index"].dtype == torch.int64


@pytest.mark.parametrize("stream", ["joint", "bone-motion"])
def test_without_augmentation_clips_are_as_prediction_sees_them(tiny_folder, stream):
    settings = SkeletonInput(window=8, people=2, stream=stream, footing="box", face=True)
    folder = open_folder(tiny_folder)
    for batch in epoch(made(tiny_folder, settings=settings), number=4):
        for clip, inputs in zip(batch["index"].tolist(), batch["inputs"][0], strict=True):
            expected = skeleton_input(folder.skeleton(clip, "metres"), settings)
            torch.testing.assert_close(inputs, expected, equal_nan=True, atol=1e-6, rtol=1e-5)


def test_the_order_is_that_of_the_other_branch(tiny_folder):
    batches = made(tiny_folder, VARIED, repeats=2)
    order = EpochBatches(range(8), batch_size=3, seed=5, repeats=2)
    for number in (0, 3):
        order.epoch = number
        expected = [[clip for _, _, clip in keys] for keys in order]
        assert [batch["index"].tolist() for batch in epoch(batches, number)] == expected
    assert len(batches) == len(order) == 6


def test_an_epoch_may_be_entered_at_any_step(tiny_folder):
    whole = epoch(made(tiny_folder, VARIED, repeats=2), number=2)
    used = made(tiny_folder, VARIED, repeats=2)
    epoch(used, number=1)
    for step in range(6):
        for batches in (made(tiny_folder, VARIED, repeats=2), used):
            rest = epoch(batches, number=2, first_step=step)
            assert len(rest) == 6 - step
            assert all(map(same, rest, whole[step:]))


@pytest.mark.parametrize(
    "only",
    [
        {"rotation": (0.3, 0.3, 0.3)},
        {"interval": (0.5, 1.0)},
        {"scaling": 0.1},
        {"shear": 0.1},
        {"noise": 0.01},
        {"dropped": 0.3},
        {"flip": 0.5},
    ],
    ids=lambda only: next(iter(only)),
)
def test_each_variation_changes_with_seed_epoch_and_place(tiny_folder, only, monkeypatch):
    """The joints of all clips are the same here, so what differs was varied."""
    one = open_folder(tiny_folder).skeleton(2, "metres")
    monkeypatch.setattr(ClipFolder, "skeleton", lambda *_: one)
    nothing = {"rotation": (0.0,), "interval": (0.9, 0.9)}
    augment = SkeletonAugment(**nothing | only)
    settings = JOINTS.model_copy(update={"sample": "crop" if "interval" in only else "resize"})

    def joints(number=0, **options):
        options = {"clips": [2] * 1 + [6], "settings": settings, "repeats": 8, **options}
        batches = epoch(made(tiny_folder, augment, batch_size=8, **options), number)
        return torch.cat([batch["inputs"][0] for batch in batches]).nan_to_num()

    found = joints()
    assert len({tuple(sample.flatten().tolist()) for sample in found}) > 1
    assert torch.equal(found, joints())
    assert not torch.equal(found, joints(number=1))
    assert not torch.equal(found, joints(seed=6))
    if "flip" not in only:
        assert not torch.equal(found[:8], found[8:])


def test_random_frames_are_varied_too(tiny_folder):
    settings = JOINTS.model_copy(update={"sample": "random"})
    still = SkeletonAugment(rotation=(), flip=0.0)
    one = epoch(made(tiny_folder, still, settings=settings))
    assert not all(map(same, one, epoch(made(tiny_folder, still, settings=settings, seed=6))))
    assert all(map(same, one, epoch(made(tiny_folder, still, settings=settings))))


def test_labels_follow_the_mirror(tiny_folder):
    """Left becomes right, clap stays, and point, which the data set does not name, never turns."""

    def labels(flip):
        batches = epoch(made(tiny_folder, SkeletonAugment(flip=flip), clips=range(4)))
        index = torch.cat([batch["index"] for batch in batches])
        return torch.cat([batch["label"] for batch in batches])[index.argsort()].tolist()

    assert labels(1.0) == [1, 0, 2, 3]
    assert labels(0.0) == [0, 1, 2, 3]


def test_a_mirrored_clip_is_the_mirror_image_and_no_other(tiny_folder):
    still = {"rotation": (), "interval": (1.0, 1.0)}
    plain = epoch(made(tiny_folder, SkeletonAugment(flip=0.0, **still)))
    turned = epoch(made(tiny_folder, SkeletonAugment(flip=1.0, **still)))
    mirror = list(get_layout("coco-17").mirror)
    for before, after in zip(plain, turned, strict=True):
        assert before["id"] == after["id"]
        for label, one, other in zip(
            before["label"].tolist(), before["inputs"][0], after["inputs"][0], strict=True
        ):
            expected = one[:, :, mirror] * torch.tensor([-1.0, 1, 1]).view(3, 1, 1, 1)
            torch.testing.assert_close(other, one if label == 3 else expected)


def test_a_clip_without_a_label_is_never_mirrored(tiny_folder, monkeypatch):
    folder = open_folder(tiny_folder)
    folder.labels = np.full_like(folder.labels, -1)
    found = read_ready(folder, range(4), JOINTS, device=CPU)
    augment = SkeletonAugment(flip=1.0, rotation=(), interval=(1.0, 1.0))
    options = {"settings": JOINTS, "batch_size": 4}
    (batch,) = SkeletonBatches(found, range(4), augment=augment, **options)
    assert batch["label"].tolist() == [-1] * 4
    (plain,) = SkeletonBatches(
        found, range(4), augment=augment.model_copy(update={"flip": 0.0}), **options
    )
    assert torch.equal(batch["inputs"][0], plain["inputs"][0])


def test_clips_that_cannot_be_read_are_left_out_with_the_reason(tiny_folder, monkeypatch):
    nobody = Skeleton(np.full((1, 5, 17, 3), np.nan, np.float32), "coco-17", "metres")
    whole = ClipFolder.skeleton
    spoiled = {1: None, 4: nobody}
    monkeypatch.setattr(
        ClipFolder, "skeleton", lambda self, i, space: spoiled.get(i, whole(self, i, space))
    )
    found = read_ready(open_folder(tiny_folder), range(8), JOINTS, device=CPU)
    reasons = found.reasons()
    assert reasons.keys() == {"c01", "c04"}
    assert reasons["c01"] == "SKEL-011 c01: the clip has no skeleton"
    assert reasons["c04"].startswith("SKEL-020")
    batches = SkeletonBatches(found, range(8), settings=JOINTS, augment=VARIED, batch_size=4)
    seen = epoch(batches)
    assert [len(batch["id"]) for batch in seen] == [4, 2]
    assert sorted(i for batch in seen for i in batch["index"].tolist()) == [0, 2, 3, 5, 6, 7]
    monkeypatch.setattr(ClipFolder, "skeleton", lambda *_: None)
    assert epoch(made(tiny_folder)) == []


def test_a_stream_that_does_not_exist_is_refused_before_a_clip_is_read(tiny_folder, monkeypatch):
    monkeypatch.setattr(ClipFolder, "skeleton", lambda *_: pytest.fail("a clip was read"))
    wrong = JOINTS.model_copy(update={"stream": "bnoe"})
    with pytest.raises(UsageError, match="unknown stream 'bnoe'; did you mean 'bone'"):
        made(tiny_folder, settings=wrong)


def test_rows_that_stay_on_the_host_make_the_same_batch(tiny_folder):
    settings = JOINTS.model_copy(update={"people": 2})
    found = read_ready(open_folder(tiny_folder), [7, 1, 3, 0], settings, device=CPU)
    entries = found.entries(np.array([3, 7, 0]))
    assert found.clips[entries].tolist() == [3, 7, 0]
    kept = select(found, entries)
    rows, start = moved_rows(found.rows, found.start[entries], found.frames[entries], CPU)
    assert len(rows) == found.frames[entries].sum() < len(found.rows)
    moved = replace(kept, rows=rows, start=torch.from_numpy(start))
    options = {"layout": get_layout("coco-17"), "window": 8, "footing": "range"}
    one, other = prepare_batch(kept, **options), prepare_batch(moved, **options)
    torch.testing.assert_close(one, other, equal_nan=True, atol=0, rtol=0)


def test_batches_draw_nothing_from_torchs_generator(tiny_folder):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    epoch(made(tiny_folder, VARIED))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_clip_is_made_ready_once(tiny_folder, monkeypatch):
    seen = []

    def counting(positions, **options):
        seen.append(positions)
        return plain(positions, **options)

    plain = resident.ready
    monkeypatch.setattr(resident, "ready", counting)
    batches = made(tiny_folder, VARIED)
    for number in range(3):
        epoch(batches, number)
    assert len(seen) == 8


@pytest.mark.gpu
@pytest.mark.parametrize("share", [0.25, 0.0])
@pytest.mark.parametrize("footing", ["body", "range"])
def test_a_gpu_prepares_what_the_processor_does(tiny_folder, share, footing):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    settings = SkeletonInput(window=8, people=2, stream="bone", footing=footing)
    # jitter and lost joints come from the device's own generator
    augment = VARIED.model_copy(update={"noise": 0.0, "dropped": 0.0})
    folder = open_folder(tiny_folder)
    seen = []
    for device in (CPU, torch.device("cuda")):
        found = read_ready(folder, range(8), settings, device=device, share=share)
        assert found.rows.device.type == (device.type if share else "cpu")
        options = {"settings": settings, "augment": augment, "batch_size": 3}
        seen.append(epoch(SkeletonBatches(found, range(8), **options), number=2))
    for one, other in zip(*seen, strict=True):
        assert one["id"] == other["id"]
        assert other["inputs"][0].device.type == "cuda"
        assert torch.equal(one["label"], other["label"].cpu())
        torch.testing.assert_close(
            one["inputs"][0], other["inputs"][0].cpu(), equal_nan=True, atol=1e-5, rtol=1e-5
        )
