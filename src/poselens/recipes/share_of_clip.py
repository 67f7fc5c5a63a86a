"""The share of one clip's attribution that falls on the moving body, of either branch."""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from poselens.clips.placing import joints_at
from poselens.clips.stream import SkeletonStream
from poselens.data.folder import ClipFolder
from poselens.errors import SkeletonError
from poselens.explain.cam import attribute_frames, require_method
from poselens.explain.joints import Method, attribute_joints, baseline_of
from poselens.explain.moving import (
    MOVING,
    MovingShare,
    joint_speeds,
    moving_body_share,
    moving_joint_share,
)
from poselens.pose.layouts import get_layout
from poselens.recipes.seen_clip import SeenClip
from poselens.recognition.streams import TrainedStream
from poselens.skeleton.prepare import prepare
from poselens.skeleton.ready import bone_length
from poselens.skeleton.streams import stream

RADIUS = 0.5
"""Of discs and bones in mean bone lengths: about 10 cm on a body."""


@dataclass(frozen=True)
class ShareQuestion:
    """What is measured.

    Attributes:
        part: ``train``, ``val`` or ``test``.
        limit: Clips looked at, evenly spread over the part; None for all.
        moving: Share of a clip's joints that count as moving (``explain.moving``).
        radius: Of discs and bones in mean bone lengths of the first person; RGB only.
        method: Of attribution, as in ``explain.cam`` or ``explain.joints``; None for Grad-CAM of
            RGB runs and integrated gradients of skeleton runs.
        layer: Layer of RGB networks; None for the last.
        cluster: ``subject``, ``source`` or ``clip``: what intervals draw whole. None takes the
            first of these that is known for every clip and has two values or more.
        control: Whether to measure the first run's network with its weights shuffled, too: what the
            method and the clips give by themselves, whatever was learned.
    """

    part: str = "test"
    limit: int | None = None
    moving: float = MOVING
    radius: float = RADIUS
    method: str | None = None
    layer: str | None = None
    cluster: str | None = None
    control: bool = False


def rgb_share(
    trained: TrainedStream, seen: SeenClip, label: int, question: ShareQuestion
) -> MovingShare:
    """Return the share of one clip's attribution of pixels.

    Speeds are those of the whole clip, at the frames that were seen.

    Raises:
        SkeletonError: ``SKEL-011`` without joints in pixels, ``EXP-034`` where the moving body
            cannot be told.
        InputError: ``EXP-035`` where nothing speaks for the class.
        UsageError: As ``attribute_frames``.
    """
    if seen.skeleton is None or seen.joints is None:
        raise SkeletonError("SKEL-011", "the clip has no skeleton in pixels", where=seen.id)
    maps = attribute_frames(
        trained.network,
        seen.inputs[None].to(trained.device),
        np.array([label]),
        method=require_method(question.method or "gradcam"),
        layer=question.layer,
    )[0]
    layout = get_layout(seen.skeleton.layout)
    positions = seen.skeleton.positions[..., :2].astype(np.float64)
    speed = joints_at(joint_speeds(positions)[..., None], seen.frames, seen.source.frames)[..., 0]
    where = seen.placement
    # a region that is not square is squeezed on one side: the mean of both scales
    scale = (where.size[0] / where.height * where.size[1] / where.width) ** 0.5
    length = bone_length(positions, layout)
    if length <= 0:
        raise SkeletonError("EXP-034", "found no bone to measure the body by", where=seen.id)
    share = moving_body_share(
        maps,
        seen.joints.astype(np.float64),
        radius=question.radius * length * scale,
        moving=question.moving,
        speed=speed,
        bones=layout.edges,
    )
    if share.chance == 0:
        raise SkeletonError(
            "EXP-034", "the moving body is outside of what the network sees", where=seen.id
        )
    return share


def skeleton_share(
    trained: TrainedStream,
    described: SkeletonStream,
    folder: ClipFolder,
    clip: int,
    label: int,
    question: ShareQuestion,
) -> MovingShare:
    """Return the share of one clip's attribution of joints, in the window of the network.

    Raises:
        SkeletonError: ``SKEL-011`` for a clip without a skeleton, ``EXP-034`` where nothing moves.
        InputError: ``EXP-035`` where nothing speaks for the class.
        UsageError: As ``attribute_joints``.
    """
    skeleton = folder.skeleton(clip, described.input.space)
    if skeleton is None:
        raise SkeletonError("SKEL-011", "the clip has no skeleton", where=str(folder.ids[clip]))
    layout = get_layout(skeleton.layout)
    joints = prepare(skeleton.positions, layout=layout, **described.input.arguments())
    inputs = stream(
        torch.from_numpy(joints)[None],
        described.input.stream,
        layout,
        custom=described.input.pairs_of(layout),
    )
    attribution = attribute_joints(
        trained.network,
        inputs.to(trained.device),
        [label],
        method=cast(Method, question.method or "integrated-gradients"),
        baseline=baseline_of(described.input.stream),
    )[0]
    places = joints.transpose(3, 1, 2, 0).astype(np.float64)
    return moving_joint_share(attribution, places, moving=question.moving)
