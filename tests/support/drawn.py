"""A small drawn data set, runs and bundles trained on it, and bad files; made once a session."""

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from poselens.clips.device import choose_device
from poselens.data.folder import open_folder
from poselens.data.skeleton_file import write_skeleton
from poselens.data.video import write_video
from poselens.recipes import load
from poselens.recipes.fusing import fuse_runs
from poselens.synth.make import PROTOCOL, make_dataset
from poselens.training.config import FusionSection, Recipe, override
from poselens.training.run import Request, train
from poselens.types import Skeleton

CLIPS = 48
"""The fewest with clips of every class in train, validation and test."""

QUICK = ("training.epochs=1", "training.workers=0")
SMALL_RGB = (
    *QUICK,
    "training.cache=none",
    "network.width=0.125",
    "input.scale=36",
    "input.size=32",
)
SMALL_SKELETON = (*QUICK, "network.width=8", "network.blocks=[1, 1]", "input.window=16")
IN_PIXELS = ("input.space=pixels", "augment.rotation=[0.1]")


@dataclass(frozen=True)
class Drawn:
    """Where everything lies."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def rgb(self) -> Path:
        return self.root / "rgb"

    @property
    def joint(self) -> Path:
        """A run that reads joints in metres."""
        return self.root / "joint"

    @property
    def pixels(self) -> Path:
        """A run that reads joints in pixels, as estimators find them."""
        return self.root / "pixels"

    @property
    def bundle(self) -> Path:
        """RGB and joints in metres."""
        return self.root / "bundle"

    @property
    def posed(self) -> Path:
        """RGB and joints in pixels."""
        return self.root / "posed"

    @property
    def video(self) -> Path:
        return self.data / "videos" / "synth-000040.mp4"

    @property
    def skeleton(self) -> Path:
        """The joints of ``video`` in both spaces."""
        return self.root / "synth-000040.npz"

    def bad(self, name: str) -> Path:
        return self.root / "bad" / name


def make_once(factory: pytest.TempPathFactory) -> Drawn:
    """Return what is there already in this session, or make it; safe under xdist."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    drawn = Drawn(base / "drawn")
    with (base / "drawn.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (drawn.root / "complete").exists():
            torch.set_num_threads(1)
            _make(drawn)
            (drawn.root / "complete").touch()
    return drawn


def _make(drawn: Drawn) -> None:
    drawn.root.mkdir()
    make_dataset(drawn.data, clips=CLIPS, seed=0, difficulty="easy", size=(64, 64), workers=1)
    folder, recipe = open_folder(drawn.data), load("tiny")
    for out, section in (
        (drawn.rgb, override(recipe.rgb, SMALL_RGB)),
        (drawn.joint, override(recipe.skeleton, SMALL_SKELETON)),
        (drawn.pixels, override(recipe.skeleton, [*SMALL_SKELETON, *IN_PIXELS])),
    ):
        train(folder, section, Request(drawn.data, PROTOCOL, "tiny", out, "cpu", False))
    for out, runs in (
        (drawn.bundle, [drawn.rgb, drawn.joint]),
        (drawn.posed, [drawn.rgb, drawn.pixels]),
    ):
        fuse_runs(runs, folder, PROTOCOL, out, weights="paper", device=choose_device("cpu"))
    clip = folder.index_of("synth-000040")
    write_skeleton(drawn.skeleton, {s: folder.skeleton(clip, s) for s in ("pixels", "metres")})
    _make_bad(drawn)


def _make_bad(drawn: Drawn) -> None:
    drawn.bad("").mkdir()
    drawn.bad("empty.mp4").touch()
    drawn.bad("text.mp4").write_text("404 not found\n" * 40)
    whole = drawn.video.read_bytes()
    drawn.bad("truncated.mp4").write_bytes(whole[: len(whole) // 2])
    with av.open(str(drawn.bad("audio.mp4")), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    grey = np.full((48, 64, 3), 90, np.uint8)
    write_video(drawn.bad("one-frame.mp4"), [grey], fps=24)
    write_video(drawn.bad("nobody.mp4"), [grey] * 20, fps=24)
    nobody = np.full((1, 20, 17, 3), np.nan, np.float32)
    lists = np.where(np.isnan(nobody), None, nobody).tolist()
    drawn.bad("nobody.json").write_text(json.dumps({"layout": "coco-17", "metres": lists}))
    np.save(drawn.bad("kinect.npy"), np.ones((1, 20, 20, 3), np.float32))
    other = Skeleton(np.ones((1, 20, 20, 3), np.float32), "kinect-20", "metres")
    write_skeleton(drawn.bad("kinect.npz"), {"metres": other})
    flat = Skeleton(np.ones((1, 20, 17, 2), np.float32), "coco-17", "metres")
    write_skeleton(drawn.bad("flat.npz"), {"metres": flat})


def small_recipe() -> Recipe:
    """Return the recipe ``tiny``, as small as the drawn runs."""
    tiny = load("tiny")
    small = {
        "rgb": override(tiny.rgb, SMALL_RGB),
        "skeleton": override(tiny.skeleton, SMALL_SKELETON),
        "fusion": FusionSection(weights="paper"),
    }
    return tiny.model_copy(update=small)
