"""One stream: what it reads and which network it is, as data that is saved with its weights.

The same object prepares clips in training, validation, evaluation and prediction, so the four
cannot drift apart.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)
from torch import nn

from poselens.clips.segments import Snippet
from poselens.errors import CheckpointError, UsageError
from poselens.pose.declared import declaration, layout_from
from poselens.pose.layouts import Layout, declare_layout, get_layout
from poselens.rgb.build import Backbone, build_rgb_network
from poselens.rgb.motion_attention import Mask, Motion, Phi
from poselens.rgb.staa import StaaBlocks, Start
from poselens.rgb.temporal_aggregation import TaOrder, TaSplit
from poselens.skeleton.build import build_skeleton_network
from poselens.skeleton.normalise import Footing
from poselens.skeleton.sampling import Sampling
from poselens.skeleton.streams import Pairs, pairs_by_name, require_stream
from poselens.types import Space

_Share = Annotated[float, Field(gt=0, le=1)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RgbInput(_Settings):
    """From a video to the RGB network's input."""

    segments: int = Field(8, ge=1)
    """Equal parts the clip is cut into."""
    snippet_length: int = Field(6, ge=1)
    """Consecutive frames of each part."""
    snippet: Snippet = "random"
    """Which of them the network sees."""
    crop: bool = True
    """Cut the region the skeletons move in; false looks at the whole frame."""
    margin: float = Field(0.3, ge=0)
    """Widening of the region on each side, as a share of its size (alpha)."""
    square: bool = False
    """Widen the region to a square."""
    percentile: float = Field(0.0, ge=0, lt=50)
    """Share of outermost joints left out on each side, in percent."""
    scale: int = Field(256, ge=8)
    """Side in pixels to which the region is resized."""
    size: int = Field(224, ge=8)
    """Side in pixels of the network's input."""
    background: Literal["keep", "subtract"] = "keep"
    """``subtract`` shows the network each frame's difference to the clip's mean."""

    @property
    def frames_read(self) -> int:
        """Frames of a clip that are decoded for one view of it."""
        every = self.snippet in ("mean", "difference-stem")
        return self.segments * (self.snippet_length if every else 1)

    @property
    def stem_frames(self) -> int:
        """Frames of each part that reach the network."""
        return self.snippet_length if self.snippet == "difference-stem" else 1


class RgbAugment(_Settings):
    """Augmentation of RGB clips in training."""

    scales: tuple[_Share, ...] = Field((1.0, 0.875, 0.75, 0.66), min_length=1)
    """Sides of the random inner box as shares of ``scale``."""
    flip: float = Field(0.5, ge=0, le=1)
    """Probability of mirroring, where the data set says what a mirrored clip is."""
    brightness: float = Field(0.0, ge=0, lt=1)
    """Largest relative change of brightness."""
    colour: float = Field(0.0, ge=0, le=1)
    """Strength of a change of colours."""


class RgbNetworkSettings(_Settings):
    """Arguments of ``poselens.rgb.build.build_rgb_network``."""

    backbone: Backbone = "resnet50"
    width: float = Field(1.0, gt=0)
    shift: bool = True
    causal: bool = False
    attend: bool = True
    aggregate: bool = True
    staa_blocks: StaaBlocks = "once"
    mask: Mask = "global"
    motion: Motion = "signed"
    phi: Phi = "own"
    ta_order: TaOrder = "spatial-temporal"
    ta_kernel: int = Field(3, ge=1)
    ta_split: TaSplit = "own"
    start: Start = "identity"
    dropout: float = Field(0.5, ge=0, lt=1)


class SkeletonInput(_Settings):
    """From joints to the graph network's input (``poselens.skeleton.prepare``)."""

    space: Space = "metres"
    """Which skeletons of the data set: ``metres`` or ``pixels``."""
    stream: str = Field("joint", pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    """What is looked at; also the stream's name, and that of its file in a bundle: joint, bone,
    joint-motion, bone-motion, or a name of ``pairs``."""
    pairs: dict[str, tuple[tuple[str, str], ...]] = Field(default_factory=dict)
    """Streams of one's own: name to (joint, reference) pairs; each has a ``-motion`` too."""
    window: int = Field(64, ge=4)
    """Frames after resampling."""
    sample: Sampling = "crop"
    """How the frames are brought to ``window``."""
    interval: float = Field(0.95, gt=0, le=1)
    """Share of the frames that ``crop`` keeps at test."""
    people: int = Field(1, ge=1)
    """People kept per clip."""
    footing: Footing = "centre"
    """How positions are centred and scaled."""
    face: bool = False
    """Turn the shoulders along x."""

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of ``prepare``."""
        return self.model_dump(exclude={"space", "stream", "pairs"})

    def pairs_of(self, layout: Layout) -> dict[str, Pairs]:
        """Return the streams of one's own as joints of a layout, once the stream is known to exist.

        Training calls it before the first epoch, so that a misspelt name costs no time.

        Raises:
            UsageError: ``CFG-021`` for an unknown stream, ``CFG-022`` for a joint that the layout
                does not have.
        """
        require_stream(self.stream, self.pairs)
        return {name: pairs_by_name(layout, named) for name, named in self.pairs.items()}


class SkeletonAugment(_Settings):
    """Augmentation of skeletons in training."""

    interval: tuple[_Share, _Share] = (0.5, 1.0)
    """Least and largest share of the frames that ``crop`` keeps."""
    rotation: tuple[Annotated[float, Field(ge=0)], ...] = Field((0.3, 0.3, 0.3), max_length=3)
    """Largest random rotation about x, y and z in radians; one number in the plane."""
    scaling: float = Field(0.0, ge=0, lt=1)
    """Largest relative stretch of each axis."""
    shear: float = Field(0.0, ge=0, lt=1)
    """Largest share of another axis that is added to each."""
    noise: float = Field(0.0, ge=0)
    """Standard deviation of the jitter, in normalised units."""
    dropped: float = Field(0.0, ge=0, lt=1)
    """Share of joints dropped."""
    flip: float = Field(0.0, ge=0, le=1)
    """Probability of mirroring, where the data set says what a mirrored clip is."""

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of ``poselens.skeleton.augment.draw``."""
        return self.model_dump(exclude={"noise", "dropped"})


class SkeletonNetworkSettings(_Settings):
    """Arguments of ``poselens.skeleton.build.build_skeleton_network``."""

    width: int = Field(64, ge=4, multiple_of=4)
    blocks: tuple[Annotated[int, Field(ge=1)], ...] = Field((4, 3, 3), min_length=1)
    dropout: float = Field(0.0, ge=0, lt=1)


class RgbStream(_Settings):
    """The RGB stream of a run or bundle."""

    branch: Literal["rgb"] = "rgb"
    classes: tuple[str, ...]
    input: RgbInput
    network: RgbNetworkSettings

    @property
    def name(self) -> str:
        """Return the stream's name in scores and fusion weights."""
        return "rgb"


class SkeletonStream(_Settings):
    """A skeleton stream of a run or bundle, with the layout it was trained on."""

    branch: Literal["skeleton"] = "skeleton"
    classes: tuple[str, ...]
    input: SkeletonInput
    network: SkeletonNetworkSettings
    layout: str
    dimensions: int
    declared: dict[str, Any] | None = None
    """What was read with the stream about a layout that is not built in."""

    @model_serializer(mode="wrap")
    def _with_layout(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # a layout of a user's own goes with the weights, so that prediction needs no data set
        content: dict[str, Any] = {**dump(self), "declared": declaration(self.layout)}
        return {key: value for key, value in content.items() if key != "declared" or value}

    @property
    def name(self) -> str:
        """Return the stream's name in scores and fusion weights."""
        return self.input.stream


class _Envelope(_Settings):
    stream: Annotated[RgbStream | SkeletonStream, Field(discriminator="branch")]


def read_stream(facts: Mapping[str, Any], *, file: str) -> RgbStream | SkeletonStream:
    """Read a stream's description from a run's or bundle's JSON, and declare its layout.

    Raises:
        CheckpointError: ``CKPT-012`` when it is incomplete or made by another version, or its
            layout's name stands for another layout already.
    """
    try:
        stream = _Envelope.model_validate({"stream": facts}).stream
        if isinstance(stream, SkeletonStream) and stream.declared is not None:
            declare_layout(layout_from(stream.layout, stream.declared))
        return stream
    except UsageError as fault:
        raise CheckpointError(
            "CKPT-012", fault.message, file=file, where="stream.declared", mend=fault.mend
        ) from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        raise CheckpointError(
            "CKPT-012",
            f"the stream's description is not valid: {place}: {first['msg']}",
            file=file,
            mend="use the version of poselens that wrote it",
        ) from fault


def build_network(stream: RgbStream | SkeletonStream) -> nn.Module:
    """Return the untrained network of a stream."""
    if isinstance(stream, RgbStream):
        return build_rgb_network(
            num_classes=len(stream.classes),
            stem_frames=stream.input.stem_frames,
            **stream.network.model_dump(),
        )
    return build_skeleton_network(
        layout=get_layout(stream.layout),
        num_classes=len(stream.classes),
        dimensions=stream.dimensions,
        people=stream.input.people,
        **stream.network.model_dump(),
    )
