"""Check an RGB stream's attributions: random weights, deletion and insertion."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from poselens.explain.cam import Method, attribute_frames, cascade_layers, require_plain
from poselens.explain.cells import Baseline, cells_of, keep_cells
from poselens.explain.sanity import (
    randomisation_test,
    removal_curves,
)
from poselens.recipes.checked import Checked
from poselens.recognition.streams import TrainedStream


def check_rgb(
    trained: TrainedStream,
    clips: Float[Tensor, "n t 3 h w"],
    classes: Int[np.ndarray, " n"],
    *,
    method: Method = "gradcam",
    layer: str | None = None,
    groups: Sequence[str] | None = None,
    baseline: Baseline = "blur",
    steps: int = 10,
) -> Checked:
    """Check the attributions of some clips.

    Args:
        trained: The stream, not folded.
        clips: Its inputs, on the host.
        classes: Class of each that is explained.
        method: Of attribution.
        layer: Of the network.
        groups: Subject of each clip; intervals are over subjects then.
        baseline: What stands where something was taken away.
        steps: Steps of deletion and insertion.
    """

    def attribute(network: nn.Module) -> NDArray[np.float32]:
        # clip by clip: a map takes the memory of a training step
        return np.concatenate(
            [
                attribute_frames(
                    network, clip[None].to(trained.device), wanted, method=method, layer=layer
                )
                for clip, wanted in zip(clips, classes[:, None], strict=True)
            ]
        )

    network = require_plain(trained.network)
    randomisation = randomisation_test(network, cascade_layers(network), attribute, groups=groups)
    keeps = [
        keep_cells(network, clip.to(trained.device), int(label), baseline=baseline)
        for clip, label in zip(clips, classes, strict=True)
    ]
    cells = [cells_of(each) for each in attribute(network)]
    deletion, insertion = removal_curves(cells, keeps, steps=steps, groups=groups)
    return Checked(trained.stream.name, randomisation, deletion, insertion)
