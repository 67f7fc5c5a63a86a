"""Recipes: what a run is, as YAML that is checked before anything else happens.

Unknown keys are refused with the nearest known one; ``--set key=value`` changes one value. The
resolved recipe is written beside the weights.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from poselens.clips.stream import (
    RgbAugment,
    RgbInput,
    RgbNetworkSettings,
    SkeletonAugment,
    SkeletonInput,
    SkeletonNetworkSettings,
)
from poselens.data.plain_yaml import plain_yaml, read_plain_yaml
from poselens.errors import UsageError

_Model = TypeVar("_Model", bound=BaseModel)


class Training(BaseModel):
    """The loop's own settings, the same for both branches."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    epochs: int = Field(60, ge=1)
    """Passes over the training clips."""
    repeats: int = Field(1, ge=1)
    """How often each clip occurs in one epoch."""
    batch_size: int = Field(64, ge=1)
    """Clips per step."""
    scale_lr_from: int | None = Field(None, ge=1)
    """Batch size that ``lr`` is meant for; the rate is then ``lr * batch_size / scale_lr_from``."""
    lr: float = Field(0.01, gt=0)
    """Learning rate after the warm-up."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of SGD."""
    nesterov: bool = False
    """Nesterov's form of momentum."""
    weight_decay: float = Field(5e-4, ge=0)
    """L2 penalty; biases and normalisation layers carry none when ``decay_all`` is false."""
    decay_all: bool = True
    """Whether biases and normalisation layers decay too."""
    head_lr_factor: float = Field(1.0, gt=0)
    """Learning rate of the classifier as a multiple of ``lr``."""
    schedule: Literal["step", "cosine"] = "step"
    """``step`` multiplies the rate by ``gamma`` at each milestone; ``cosine`` falls to zero."""
    milestones: tuple[int, ...] = (30, 45, 55)
    """Epochs at which ``step`` acts."""
    gamma: float = Field(0.1, gt=0, le=1)
    """Factor of ``step``."""
    warmup_epochs: int = Field(0, ge=0)
    """Epochs of linear growth of the rate at the start."""
    clip_norm: float | None = Field(20.0, gt=0)
    """Largest gradient norm; null to leave gradients alone."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread over all classes."""
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    """Autocast: ``auto`` is bfloat16 where the GPU has it; ``fp16`` scales the loss."""
    accumulate: int = Field(1, ge=1)
    """Micro-batches a step is computed in; clips per step stay ``batch_size``."""
    micro_batch: Literal["off", "auto"] = "off"
    """``auto`` halves the micro-batch where memory runs out, and takes the same step again."""
    replay: Literal["auto", "off", "on"] = "auto"
    """Record a step once and replay it as a CUDA graph: ``auto`` on GPUs, for skeletons."""
    compile: Literal["auto", "off", "on"] = "auto"
    """Compile the RGB network: a minute before the first step, each step a third shorter.
    ``auto`` on GPUs where enough steps follow to pay for it."""
    deterministic: bool = False
    """Kernels that add up in one order: the same bits from the same run on a GPU, and slower."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the moving average of weights that is kept in their place; 0 keeps the weights."""
    validation: Literal["hold-out", "none"] = "hold-out"
    """``hold-out`` keeps the protocol's validation slice apart; ``none`` trains on it too."""
    select: Literal["last", "best"] = "last"
    """Which epoch's weights are kept: the last, or the best on validation."""
    patience: int | None = Field(None, ge=1)
    """Epochs without a better validation Top-1 after which the run ends; null for never."""
    sampling: Literal["all", "balanced"] = "all"
    """``all`` sees every clip of an epoch equally often, ``balanced`` every class."""
    class_weights: Literal["none", "inverse", "effective"] = "none"
    """Weight of a class in the loss: by its clips, or by their effective number."""
    class_beta: float = Field(0.999, ge=0, lt=1)
    """beta of the effective number."""
    logit_adjustment: float = Field(0.0, ge=0)
    """Share of the log frequency of classes that is added to logits in training (tau)."""
    freeze: str = Field("none", pattern=r"^(none|backbone|linear-probe|stages:[1-9][0-9]?)$")
    """What is not trained: ``stages:N`` the first N, ``backbone`` all but classifier and STAA,
    ``linear-probe`` all but the classifier."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of weights, order and augmentation."""
    sync_batchnorm: bool = False
    """Whether normalisations look at the clips of all ranks together, rather than each rank's."""
    share_gpu: bool = False
    """Whether ranks of one machine may share a GPU, for a trial where there are too few."""
    workers: int | None = Field(None, ge=0)
    """Data processes; null chooses from the number of cores."""
    cache: Literal["none", "disk", "packed"] = "none"
    """Decode each clip's region once, to files beside the data: ``disk`` keeps the pixels, for
    small data sets; ``packed`` keeps JPEG pictures, a twelfth of the size."""
    precheck: bool = False
    """Read every video once before the first epoch, where none is cached: the order is then that
    of the readable ones."""
    max_bad: float = Field(0.01, ge=0, le=1)
    """Largest share of unreadable clips before the run stops."""
    max_nan: int = Field(3, ge=1)
    """Steps refused in a row, because their numbers are not finite, before the run stops."""
    keep_states: int = Field(2, ge=1)
    """States kept, the newest ones: what a damaged one falls back to."""
    save_every: int | None = Field(None, ge=1)
    """Steps between saves within an epoch; null for none."""
    save_minutes: float | None = Field(10.0, gt=0)
    """Minutes between saves within an epoch; null for none."""
    tensorboard: bool = False
    """Write the log for TensorBoard too; needs ``poselens[tensorboard]``."""

    @field_validator("amp", "replay", "compile", mode="before")
    @classmethod
    def _switches_are_words(cls, value: object) -> object:
        """Take YAML's ``on`` and ``off`` for the words they are; YAML reads true and false."""
        return ("on" if value else "off") if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @model_validator(mode="after")
    def _options_go_together(self) -> Self:
        if self.accumulate > self.batch_size:
            raise ValueError("accumulate is larger than batch_size: a micro-batch needs a clip")
        if self.replay == "on" and self.in_parts:
            raise ValueError("replay=on records one batch in one pass, without fp16")
        if self.deterministic and "on" in (self.compile, self.replay):
            raise ValueError("deterministic steps are taken as written: no compile=on, replay=on")
        if self.patience is not None and self.validation == "none":
            raise ValueError("patience needs validation=hold-out")
        corrected = (
            self.sampling == "balanced",
            self.class_weights != "none",
            self.logit_adjustment > 0,
        )
        if sum(corrected) > 1:
            raise ValueError(
                "sampling=balanced, class_weights and logit_adjustment each make up for rare "
                "classes: choose one"
            )
        return self

    @property
    def in_parts(self) -> bool:
        """Whether a step is more than one pass, or may become it, or has a scale."""
        return self.accumulate > 1 or self.micro_batch == "auto" or self.amp == "fp16"

    @property
    def knows_clips(self) -> bool:
        """Whether videos that cannot be read are known before the first epoch."""
        return self.precheck or self.cache != "none"

    @property
    def part_size(self) -> int | None:
        """Clips of a micro-batch, None for the whole batch."""
        return -(-self.batch_size // self.accumulate) if self.accumulate > 1 else None

    @property
    def base_rate(self) -> float:
        """Learning rate after the warm-up, scaled to the batch where that is wanted."""
        return self.lr * self.batch_size / (self.scale_lr_from or self.batch_size)


class RgbSection(BaseModel):
    """Everything about an RGB run."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    network: RgbNetworkSettings = Field(default_factory=RgbNetworkSettings)
    input: RgbInput = Field(default_factory=RgbInput)
    augment: RgbAugment = Field(default_factory=RgbAugment)
    training: Training = Field(default_factory=Training)
    weights: str | None = None
    """Pretrained weights: a name of ``poselens weights``, or a file."""


class ContrastSettings(BaseModel):
    """Contrast of graphs beside cross entropy. Eq. (10), (12), (13)."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    samplers: tuple[Literal["hard", "random", "class-aware"], ...] = Field(
        ("random", "class-aware"), min_length=1
    )
    """Where negatives come from; each is a loss of its own, and the losses are averaged."""
    weight: float = Field(1.0, ge=0)
    """Factor of the contrast in the sum with cross entropy."""
    temperature: float = Field(0.8, gt=0)
    """Divisor of similarities (tau)."""
    positives: int = Field(128, ge=1)
    """Most positives per anchor (N+): the least similar of its class."""
    negatives: int = Field(512, ge=1)
    """Most negatives per anchor and sampler (Nc)."""
    cap: int | None = Field(64, ge=1)
    """Most negatives from one class (class-aware); null for none."""
    bank: Literal["per-sample", "fifo"] = "per-sample"
    """One slot per training clip, or the latest of each class."""
    fifo_length: int = Field(256, ge=1)
    """Slots per class of ``fifo``."""
    dimensions: int = Field(256, ge=1)
    """Length of a projected graph."""
    projection: Literal["linear", "mlp"] = "linear"
    """The head g: one linear layer, or two with a ReLU between."""


class SkeletonSection(BaseModel):
    """Everything about a skeleton run."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    network: SkeletonNetworkSettings = Field(default_factory=SkeletonNetworkSettings)
    input: SkeletonInput = Field(default_factory=SkeletonInput)
    augment: SkeletonAugment = Field(default_factory=SkeletonAugment)
    training: Training = Field(default_factory=Training)
    contrast: ContrastSettings | None = None
    """Class-aware contrast; null for cross entropy alone."""
    weights: str | None = None
    """Weights to start from: a file of this project, or a published CTR-GCN checkpoint."""

    @model_validator(mode="after")
    def _has_kernels_of_its_own(self) -> Self:
        if self.training.compile == "on":
            raise ValueError("training.compile=on is for the RGB branch")
        return self

    @model_validator(mode="after")
    def _contrast_has_what_to_train(self) -> Self:
        if self.contrast is not None and self.training.freeze in ("backbone", "linear-probe"):
            raise ValueError(
                f"training.freeze={self.training.freeze} leaves nothing for contrast to train"
            )
        return self


class FusionSection(BaseModel):
    """How the streams are fused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    weights: Literal["paper", "equal", "fitted"] | dict[str, float] = "paper"
    """``paper``: RGB 1 to skeleton 1; ``equal``; ``fitted`` on validation; or one per stream."""
    objective: Literal["likelihood", "accuracy"] = "likelihood"
    """What fitted weights seek."""
    per_class: bool = False
    """Whether fitted weights are per stream and class."""


class Recipe(BaseModel):
    """A complete run."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    rgb: RgbSection = Field(default_factory=RgbSection)
    skeleton: SkeletonSection = Field(default_factory=SkeletonSection)
    fusion: FusionSection = Field(default_factory=FusionSection)


HOW_NOT_WHAT = (
    *("workers", "max_bad", "max_nan", "replay", "compile", "share_gpu", "tensorboard"),
    *("keep_states", "save_every", "save_minutes", "deterministic"),
)
"""Settings of training that do not change what is trained."""
_SINCE = (
    *("accumulate", "micro_batch", "scale_lr_from", "patience", "sampling", "class_weights"),
    *("class_beta", "logit_adjustment", "freeze", "sync_batchnorm", "precheck"),
)


def identity(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of training that a resumed run has to share.

    Those that came after the first runs were made are left out at their default, which is what
    those runs did.
    """
    fields = Training.model_fields
    return {
        name: value
        for name, value in training.items()
        if name not in HOW_NOT_WHAT
        and not (name in _SINCE and value == fields[name].get_default(call_default_factory=True))
    }


def parse(model: type[_Model], content: Any, *, file: str | Path | None) -> _Model:
    """Check ``content`` against ``model``.

    Raises:
        UsageError: ``CFG-001`` unknown key (with the nearest known one), ``CFG-002`` bad value.
    """
    try:
        return model.model_validate(content)
    except ValidationError as fault:
        # a misspelt key is also a missing one; the misspelling says more
        first = min(fault.errors(), key=lambda error: error["type"] != "extra_forbidden")
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        if first["type"] == "extra_forbidden":
            known = _keys_beside(model, first["loc"])
            near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(
                "CFG-001",
                f"unknown key {place!r}{guess}",
                file=file,
                mend=f"known here: {', '.join(known)}",
            ) from fault
        found = "" if isinstance(first["input"], dict) else f", found {first['input']!r}"
        raise UsageError("CFG-002", f"{place}: {first['msg']}{found}", file=file) from fault


def _keys_beside(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """Return the keys allowed where the last part of ``place`` was found."""
    current: type[BaseModel] = model
    for part in place[:-1]:
        field = current.model_fields.get(str(part))
        kind = field.annotation if field else None
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            current = kind
    return sorted(current.model_fields)


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        UsageError: ``CFG-015`` unreadable, ``CFG-001``/``CFG-002`` as :func:`parse`.
    """
    try:
        content = read_plain_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as fault:
        raise UsageError("CFG-015", f"cannot read the recipe: {fault}", file=path) from fault
    return parse(Recipe, content, file=path)


def override(section: _Model, settings: Sequence[str]) -> _Model:
    """Return ``section`` with ``key.sub=value`` settings applied; values are read as YAML.

    Raises:
        UsageError: ``CFG-006`` without ``=``, not YAML, or a key below a value; ``CFG-001``,
            ``CFG-002`` as :func:`parse`.
    """
    content = section.model_dump()
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UsageError("CFG-006", f"--set expects key=value, found {setting!r}")
        branch: dict[str, Any] = content
        *parents, last = key.split(".")
        for parent in parents:
            below = branch.setdefault(parent, {})
            if not isinstance(below, dict):
                raise UsageError("CFG-006", f"--set {key}: {parent!r} holds a value, not keys")
            branch = below
        try:
            branch[last] = yaml.safe_load(value)
        except (ValueError, RecursionError, yaml.YAMLError) as fault:
            raise UsageError("CFG-006", f"--set {key}: {value!r} is not valid YAML") from fault
    return parse(type(section), content, file="--set")


def to_yaml(content: Mapping[str, Any]) -> bytes:
    """Return ``content`` as YAML in the order of its keys."""
    return plain_yaml(dict(content)).encode()


def flat(content: Any, head: str = "") -> dict[str, Any]:
    """Return settings by their whole names, such as ``training.lr``."""
    if not isinstance(content, Mapping):
        return {head: content}
    return {
        name: value
        for key, below in content.items()
        for name, value in flat(below, f"{head}.{key}" if head else str(key)).items()
    }
