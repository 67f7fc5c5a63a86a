"""Explain what a skeleton stream says of a clip: joints over time, on the frames others look at.

Rows and curves are those of ``explain.strips``, so that a strip may hold both branches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from poselens.clips.assemble import skeleton_input
from poselens.clips.stream import SkeletonStream
from poselens.data.folder import ClipFolder
from poselens.errors import SkeletonError, UsageError
from poselens.evaluation.attribution_figure import attribution_figure
from poselens.explain.body import (
    blank_frames,
    draw_body_attribution,
    frames_of,
    front_view,
    over_stretches,
    positive_share,
    reading_times,
)
from poselens.explain.joint_cells import cascade_layers, joint_cells, keep_joints
from poselens.explain.joints import Method, attribute_joints, baseline_of
from poselens.explain.sanity import randomisation_test, removal_curves
from poselens.explain.strips import Curve, StripRow
from poselens.pose.layouts import get_layout
from poselens.recipes.checked import Checked
from poselens.recognition.streams import TrainedStream
from poselens.skeleton.network import CtrGcn
from poselens.types import Skeleton

CANVAS = (480, 480)
"""Size of a view without a picture."""
_LEAST = 320  # pixels along the shorter side of a picture that is drawn on


@dataclass(frozen=True, eq=False)
class JointExplanation:
    """Which joints spoke for a class, and when, in one clip.

    Attributes:
        stream: Name of the stream.
        skeleton: The clip's joints as they are stored.
        attribution: ``(m, t, v)`` over the window of the network, signed; people as stored.
        times: ``(t,)`` where the window was read, in frames of the skeleton.
    """

    stream: str
    skeleton: Skeleton
    attribution: Float[np.ndarray, "m t v"]
    times: Float[np.ndarray, " t"]

    def on_frames(
        self, frames: Int[np.ndarray, " s"], clip_frames: int
    ) -> Float[np.ndarray, "m s v"]:
        """Return the mean attribution around some frames of a clip (``body.over_stretches``).

        Args:
            frames: Ascending, counted from the clip's first.
            clip_frames: Frames of the clip; a skeleton of another length is spread over it.
        """
        known = self.skeleton.frames
        full = frames_of(self.attribution, self.times, known)
        spread = frames * ((known - 1) / max(clip_frames - 1, 1))
        rows = np.clip(np.round(spread).astype(np.int64), 0, known - 1)
        return over_stretches(full, rows)

    def curve(self, rate: float) -> Curve:
        """Return how much falls on each moment, as a share of the strongest.

        Args:
            rate: Frames a second.
        """
        sums = np.maximum(self.attribution, 0).sum(axis=(0, 2)).astype(np.float64)
        return Curve(self.times / rate, sums / max(float(sums.max()), 1e-12))

    def figure(self, *, title: str, key: str, person: int = 0) -> str:
        """Return the map of joints over time of one person as an inline SVG."""
        layout = get_layout(self.skeleton.layout)
        if self.skeleton.positions.shape[-1] == 3:
            flat = front_view(self.skeleton.positions, layout, size=CANVAS)[person]
        else:
            flat = self.skeleton.positions[person]
        known = np.isfinite(flat).all(axis=-1).sum(axis=1)
        # the moment of the most known joints nearest to the strongest moment
        strongest = int(np.maximum(self.attribution[person], 0).sum(axis=1).argmax())
        away = np.abs(np.arange(len(flat)) - self.times[strongest])
        moment = int(np.lexsort((away, -known))[0])
        return attribution_figure(
            self.attribution[person], layout, times=self.times, pose=flat[moment], title=title,
            key=key,
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for JSON: shares of what speaks for the class, by joint."""
        positive = np.maximum(self.attribution, 0).sum(axis=(0, 1))
        total = max(float(positive.sum()), 1e-12)
        names = get_layout(self.skeleton.layout).joints
        return {
            "share_by_joint": {
                name: round(float(value) / total, 4)
                for name, value in zip(names, positive, strict=True)
            },
            "sum": float(self.attribution.sum()),
            "nothing_found": not bool((self.attribution > 0).any()),
        }


def explain_joints(
    trained: TrainedStream,
    folder: ClipFolder,
    clip: int,
    wanted: int,
    against: int | None = None,
    *,
    method: Method = "integrated-gradients",
) -> JointExplanation:
    """Ask a skeleton stream which joints speak for a class in one clip, and when.

    Raises:
        SkeletonError: ``SKEL-011`` for a clip without a skeleton; as ``skeleton.prepare``.
        UsageError: As ``attribute_joints``; ``EXP-041`` for a stream that reads no joints.
    """
    described = require_skeleton(trained)
    skeleton = folder.skeleton(clip, described.input.space)
    if skeleton is None:
        raise SkeletonError("SKEL-011", "the clip has no skeleton", where=str(folder.ids[clip]))
    found = attribute_joints(
        trained.network,
        skeleton_input(skeleton, described.input)[None].to(trained.device),
        [wanted],
        method=method,
        baseline=baseline_of(described.name),
        against=None if against is None else [against],
    )[0]
    known = np.asarray(np.isfinite(skeleton.positions).all(axis=-1))
    # as skeleton.ready orders people: who is never seen goes last
    order = np.argsort(~known.any(axis=(1, 2)), kind="stable")[: described.input.people]
    attribution = np.zeros((len(known), *found.shape[1:]), found.dtype)
    attribution[order] = found[: len(order)]
    seen = np.flatnonzero(known[order].any(axis=(0, 2)))
    times = reading_times(
        int(seen[-1] - seen[0]) + 1,
        window=described.input.window,
        sample=described.input.sample,
        interval=described.input.interval,
        first=int(seen[0]),
    )
    return JointExplanation(described.name, skeleton, attribution, times)


def require_skeleton(trained: TrainedStream) -> SkeletonStream:
    """Return the description of a stream that reads joints.

    Raises:
        UsageError: ``EXP-041``.
    """
    if not isinstance(trained.stream, SkeletonStream):
        raise UsageError(
            "EXP-041",
            f"found the stream {trained.stream.name!r}, expected one that reads joints",
            file=trained.weights.parent,
            mend="explain it as an RGB stream",
        )
    return trained.stream


def joint_row(
    found: JointExplanation,
    pictures: UInt8[np.ndarray, "s h w 3"],
    joints: Float[np.ndarray, "m s v 2"],
    frames: Int[np.ndarray, " s"],
    clip_frames: int,
    *,
    rate: float,
    note: str = "",
) -> StripRow:
    """Return a row of a strip: the clip's frames with the body coloured by what each joint gave.

    Args:
        found: Of the clip.
        pictures: The frames, such as ``SeenClip.pictures``.
        joints: In their pixels, of the layout of the stream.
        frames: Which frames of the clip they are.
        clip_frames: Frames of the clip.
        rate: Frames a second.
        note: Second line.
    """
    values = found.on_frames(frames, clip_frames)
    people = min(len(values), len(joints))
    layout = get_layout(found.skeleton.layout)
    larger, scale = _enlarged(pictures)
    drawn = draw_body_attribution(
        larger, scale * joints[:people], values[:people], layout, legend=False
    )
    return StripRow(found.stream, drawn, note, found.curve(rate))


def _enlarged(
    pictures: UInt8[np.ndarray, "s h w 3"],
) -> tuple[UInt8[np.ndarray, "s h2 w2 3"], int]:
    """Return pictures so many times as large that thin lines can be drawn on them."""
    scale = max(1, -(-_LEAST // min(pictures.shape[1:3])))
    size = (pictures.shape[2] * scale, pictures.shape[1] * scale)
    larger = [
        np.asarray(Image.fromarray(each).resize(size, Image.Resampling.BICUBIC))
        for each in pictures
    ]
    return np.stack(larger), scale


def front_row(
    found: JointExplanation, frames: Int[np.ndarray, " s"], *, rate: float, note: str = ""
) -> StripRow:
    """Return a row of a strip of a clip without a video: the body seen from the front.

    Args:
        found: Of the clip.
        frames: Frames of the skeleton to show, ascending.
        rate: Frames a second.
        note: Second line.
    """
    layout = get_layout(found.skeleton.layout)
    positions = found.skeleton.positions
    if positions.shape[-1] == 3:
        joints = front_view(positions, layout, size=CANVAS)[:, frames]
    else:
        joints = _fitted(positions)[:, frames]
    values = found.on_frames(frames, found.skeleton.frames)
    drawn = draw_body_attribution(
        blank_frames(len(frames), CANVAS), joints, values, layout, legend=False
    )
    return StripRow(found.stream, drawn, note, found.curve(rate))


def _fitted(positions: Float[np.ndarray, "m t v 2"]) -> Float[np.ndarray, "m t v 2"]:
    """Return joints in pixels moved and scaled to the canvas."""
    low = np.nanmin(positions, axis=(0, 1, 2))
    high = np.nanmax(positions, axis=(0, 1, 2))
    scale = 0.84 * min(CANVAS) / max(float((high - low).max()), 1e-6)
    fitted: NDArray[np.float32] = (positions - (low + high) / 2) * scale + min(CANVAS) / 2
    return fitted


def check_joints(
    trained: TrainedStream,
    clips: Float[Tensor, "n c t v m"],
    classes: Int[np.ndarray, " n"],
    *,
    method: Method = "integrated-gradients",
    groups: Sequence[str] | None = None,
    steps: int = 10,
) -> Checked:
    """Check the attributions of some clips.

    Args:
        trained: The stream.
        clips: Its inputs, on the host.
        classes: Class of each that is explained.
        method: Of attribution.
        groups: Subject of each clip; intervals are over subjects then.
        steps: Steps of deletion and insertion.

    Raises:
        UsageError: ``EXP-041`` for a stream that reads no joints.
    """
    described = require_skeleton(trained)
    network = trained.network
    assert isinstance(network, CtrGcn)
    baseline = baseline_of(described.name)
    inputs = clips.to(trained.device)

    def attribute(asked: nn.Module) -> NDArray[np.float32]:
        return attribute_joints(
            asked, inputs, torch.from_numpy(classes), method=method, baseline=baseline
        )

    def shown(asked: nn.Module) -> NDArray[np.float32]:
        return np.stack([positive_share(each) for each in attribute(asked)])

    randomisation = randomisation_test(
        network, cascade_layers(network), shown, window=None, groups=groups
    )
    keeps = [
        keep_joints(network, clip, int(label), baseline=baseline)
        for clip, label in zip(inputs, classes, strict=True)
    ]
    cells = [joint_cells(each) for each in attribute(network)]
    deletion, insertion = removal_curves(cells, keeps, steps=steps, groups=groups)
    return Checked(described.name, randomisation, deletion, insertion)
