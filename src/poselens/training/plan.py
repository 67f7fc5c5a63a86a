"""What the loop has to know of a run, and how it ended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from poselens.training.gradients import ONE_PASS, Descent
from poselens.training.state import Progress
from poselens.training.states import Saving
from poselens.training.tensorboard import Board


@dataclass(frozen=True)
class Plan:
    """What the loop has to know beside network, data and optimiser.

    Attributes:
        folder: The run's folder; state and logs are written there.
        title: Name shown with the progress.
        epochs: Passes over the data.
        steps: Steps in one epoch.
        rate: Learning rate as a function of the epochs done, fractions included.
        amp: Whether to run under bfloat16 autocast.
        replay: Whether to record a step and replay it.
        compiled: Clips per step for which to compile the network, None to run it as written.
        clip_norm: Largest gradient norm, or None.
        ema: Decay of the moving average of weights that is judged and kept; 0 for none.
        select: Keep the weights of the last epoch, or of the best one on validation.
        fingerprint: Digest of the data; a state of other data is refused.
        settings: Of the run, saved with every state.
        saving: When to save within an epoch, and how much to keep.
        max_nan: Refused steps in a row that end the run.
        descent: How the gradient of a step is computed.
        patience: Epochs without a better validation that end the run; None for no such end.
        frozen: Modules of the network that stay as they are, statistics included.
        notes: What to tell at the start.
        board: Where rows go beside the log.
    """

    folder: Path
    title: str
    epochs: int
    steps: int
    rate: Callable[[float], float]
    amp: bool
    replay: bool
    compiled: int | None
    clip_norm: float | None
    ema: float
    select: Literal["last", "best"]
    fingerprint: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    saving: Saving = field(default_factory=Saving)
    max_nan: int = 3
    descent: Descent = ONE_PASS
    patience: int | None = None
    frozen: tuple[nn.Module, ...] = ()
    notes: tuple[str, ...] = ()
    board: Board | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """How training ended.

    Attributes:
        progress: The position reached.
        weights: What to keep: of the last or the best epoch.
        last: Weights of the last epoch, averaged where an average is kept.
        exit_code: 0, or 130/143 when a signal stopped the run; the state is saved either way.
    """

    progress: Progress
    weights: dict[str, Tensor]
    last: dict[str, Tensor]
    exit_code: int
