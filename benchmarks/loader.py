"""What a training sample costs to read, five ways, and what a copy changes in the pixels.

Run: ``python benchmarks/loader.py --asl FOLDER --utd FOLDER --out loader.json``. Every way reads
the same eight frames of a clip at 224 x 224, one thread, in turn, and the medians are compared:

1. libav decodes up to the last of these frames and converts nothing (the floor);
2. all frames to full RGB arrays, then resized one by one with Pillow: the usual pipeline;
3. this package: crop and scale in FFmpeg's filters, only of the frames wanted;
4. the same, from a copy made by ``poselens data cache --format video``;
5. the cache of decoded regions (JPEG), as training reads it.

Clips: 1080p drawn here, and two folders of real videos. The files are in memory: the disk is not
measured. Prints one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from decode import decode_bare
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image

from poselens.clips.assemble import RgbClips, choose_frames, video_source
from poselens.clips.copies import CopySettings
from poselens.clips.regions import cached_regions
from poselens.clips.stream import RgbInput
from poselens.data.folder import ClipFolder, open_folder
from poselens.data.info import ClipRecord, DatasetInfo
from poselens.data.video import count_frames, probe, write_video
from poselens.data.writer import FolderWriter
from poselens.recipes.copying import copy_folder

SETTINGS = RgbInput(crop=False)
SIZE = SETTINGS.size


def draw_clip(path: Path, frames: int) -> None:
    """Write 1080p: detail on every scale, as in photographs, that moves under a sensor's noise.

    The amplitude of natural pictures falls with the frequency (Field 1987).
    """
    draw = np.random.default_rng(0)
    height, width = 1600, 2500
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    falling = 1 / np.maximum(np.hypot(y, x), 1 / width)

    def layer(deviation: float) -> NDArray[np.float64]:
        phases = np.exp(2j * np.pi * draw.random(falling.shape))
        drawn = np.fft.irfft2(falling * phases, (height, width))
        return np.asarray(deviation * drawn / drawn.std())

    light = 128 + layer(45)
    scene = np.stack([light + layer(12) for _ in range(3)], axis=-1).clip(16, 240).astype(np.int16)
    noise = draw.normal(0, 2, (1200, 2100, 1)).round().astype(np.int16)

    def picture(index: int) -> NDArray[np.uint8]:
        top, left = 2 * index, 3 * index
        shown = scene[top : top + 1080, left : left + 1920].copy()
        # somebody who moves against the background
        side = 300 + int(400 * np.sin(index / 15) ** 2)
        shown[300:900, side : side + 300] = scene[700:1300, 2000 - 2 * index : 2300 - 2 * index]
        above, beside = draw.integers(0, (120, 180))
        grain = noise[above : above + 1080, beside : beside + 1920]
        return (shown + grain).clip(0, 255).astype(np.uint8)

    write_video(path, (picture(index) for index in range(frames)), fps=30, gop=250, crf=20)


def usual(path: Path, wanted: list[int]) -> UInt8[np.ndarray, "n h w 3"]:
    """Decode every frame to a full array, keep them all, resize those wanted, cut the centre."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    side, start = SETTINGS.scale, (SETTINGS.scale - SIZE) // 2
    pictures = []
    for index in wanted:
        picture = Image.fromarray(frames[index]).resize((side, side), Image.Resampling.BILINEAR)
        pictures.append(np.asarray(picture)[start : start + SIZE, start : start + SIZE])
    return np.stack(pictures)


def folder_of(videos: list[Path], root: Path) -> ClipFolder:
    """Return a data set folder of videos, all of one class."""
    roots = sorted({str(path.resolve().parent) for path in videos})
    with FolderWriter(root, DatasetInfo(name="b", classes=["x"], video_roots=roots)) as writer:
        (writer.staging / "videos").mkdir()
        for path in videos:
            name = f"videos/{path.parent.name}-{path.name}"
            (writer.staging / name).symlink_to(path.resolve())
            writer.add(ClipRecord(name, name, 0), {}, {})
    return open_folder(root)


def clips_of(folder: ClipFolder) -> RgbClips:
    """Return the clips as a test sees them: eight frames, the centre."""
    return RgbClips(folder, settings=SETTINGS, augment=None, seed=0)


def clocked(work: Callable[[], object]) -> float:
    """Return the processor's milliseconds of a call."""
    begun = time.process_time()
    work()
    return 1e3 * (time.process_time() - begun)


def measure(videos: list[Path], work: Path, repeats: int) -> dict[str, Any]:
    """Read every clip in every way, in turn."""
    folder = folder_of(videos, work / "data")
    copied = copy_folder(folder, range(len(folder)), work / "copies", CopySettings(crop="none"))
    small = open_folder(work / "copies")
    cache = cached_regions(folder, range(len(folder)), SETTINGS, "packed", workers=1)
    from_videos, from_copies = clips_of(folder), clips_of(small)
    from_cache = RgbClips(folder, settings=SETTINGS, augment=None, seed=0, cache=cache)
    spent: dict[str, list[list[float]]] = {}
    for clip in range(len(folder)):
        path = folder.video_path(clip)
        assert path is not None
        source = video_source(path, None, SETTINGS)
        wanted = choose_frames(source.frames, SETTINGS, None).tolist()
        last = max(wanted)
        # looked up once an epoch's clip is first seen, and kept; not part of reading
        for clips in (from_videos, from_copies, from_cache):
            clips[0, 0, clip]
        ways: dict[str, Callable[[], object]] = {
            "bare_decode": lambda path=path, last=last: decode_bare(path, last, 1),
            "full_frames_then_pillow": lambda path=path, wanted=wanted: usual(path, wanted),
            "reader": lambda clip=clip: from_videos[0, 0, clip],
            "reader_on_copy": lambda clip=clip: from_copies[0, 0, clip],
            "region_cache_packed": lambda clip=clip: from_cache[0, 0, clip],
        }
        for name in ways:
            spent.setdefault(name, []).append([])
        for _ in range(repeats):
            for name, way in ways.items():
                spent[name][-1].append(clocked(way))
    costs = {
        name: statistics.median(statistics.median(turns) for turns in clips)
        for name, clips in spent.items()
    }
    facts = probe(videos[0])
    return {
        "clips": len(videos),
        "size": f"{facts.width}x{facts.height}",
        "frames": count_frames(videos[0]),
        "cpu_ms_a_clip": {name: round(cost, 2) for name, cost in costs.items()},
        "to_bare_decode": {n: round(c / costs["bare_decode"], 3) for n, c in costs.items()},
        "copy_to_original": round(costs["reader_on_copy"] / costs["reader"], 3),
        "usual_to_copy": round(costs["full_frames_then_pillow"] / costs["reader_on_copy"], 1),
        "mb": {"videos": round(copied.before / 1e6, 2), "copies": round(copied.after / 1e6, 2)},
        "pixels": differences(from_videos, from_copies, len(folder)),
    }


def differences(one: RgbClips, other: RgbClips, number: int) -> dict[str, float]:
    """Compare what the network sees, 0 to 255, over all clips."""
    apart = []
    for clip in range(number):
        first, second = (source[0, 0, clip].inputs[0].numpy() for source in (one, other))
        apart.append(np.abs(first.astype(int) - second).ravel())
    every = np.concatenate(apart)
    return {
        "mean_absolute": round(float(every.mean()), 3),
        "percentile_99": round(float(np.percentile(every, 99)), 1),
        "share_over_16": round(float((every > 16).mean()), 5),
    }


def with_joints(root: Path, work: Path) -> dict[str, Any]:
    """Compare what the network sees of a data set with joints: its regions, and copies of those."""
    folder, settings = open_folder(root), RgbInput()
    chosen = np.arange(0, len(folder), max(len(folder) // 40, 1))
    copied = copy_folder(folder, chosen, work / "regions", CopySettings())
    sources = [
        RgbClips(data, settings=settings, augment=None, seed=0)
        for data in (folder, open_folder(work / "regions"))
    ]
    apart = []
    for place, clip in enumerate(chosen):
        first = sources[0][0, 0, int(clip)].inputs[0].numpy().astype(int)
        apart.append(np.abs(first - sources[1][0, 0, place].inputs[0].numpy()).ravel())
    every = np.concatenate(apart)
    return {
        "clips": len(chosen),
        "mb": {"videos": round(copied.before / 1e6, 2), "copies": round(copied.after / 1e6, 2)},
        "mean_absolute": round(float(every.mean()), 3),
        "percentile_99": round(float(np.percentile(every, 99)), 1),
        "share_over_16": round(float((every > 16).mean()), 5),
    }


def revision() -> str:
    """Return the commit that is measured."""
    words = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asl", type=Path, help="folder of .mkv videos")
    parser.add_argument("--utd", type=Path, help="folder of .mp4 videos")
    parser.add_argument("--joints", type=Path, help="data set folder with joints in pixels")
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--frames", type=int, default=150, help="frames of the drawn clip")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found: dict[str, Any] = {"commit": revision(), "cores": len(os.sched_getaffinity(0))}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "drawn").mkdir()
        drawn = work / "drawn" / "a.mp4"
        draw_clip(drawn, asked.frames)
        sets = {"drawn_1080p": [drawn]}
        if asked.asl:
            sets["asl"] = sorted(asked.asl.glob("*.mkv"))[: asked.clips]
        if asked.utd:
            sets["utd_mhad"] = sorted(asked.utd.glob("*.mp4"))[:: 861 // asked.clips]
        for key, videos in sets.items():
            (work / key).mkdir()
            found[key] = measure(videos, work / key, asked.repeats)
        if asked.joints:
            found["regions"] = with_joints(asked.joints, work)
    text = json.dumps(found, indent=2)
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
