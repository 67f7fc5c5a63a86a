"""What the networks of a bundle look at, as strips for the confused pairs of a report."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image

from poselens.clips.stream import RgbStream
from poselens.data.folder import ClipFolder
from poselens.errors import InputError, NumericFault
from poselens.evaluation.explorer import AttributionStrip
from poselens.recipes.explained_clip import Question, explain_streams
from poselens.recipes.explaining import load_plain
from poselens.recipes.exploring import Attribute
from poselens.recipes.strips import STRIP_HEIGHT
from poselens.recognition.bundle import Bundle

EXPLAINED_STREAMS = 2
"""RGB and the skeleton stream that weighs most: integrated gradients cost many passes a clip."""


def attribute_clips(model: Path, folder: ClipFolder, *, device: str) -> Attribute:
    """Return what gives the strips of a clip for one class against another, by a model's networks.

    Grad-CAM for RGB, integrated gradients for skeletons, on the frames that the network is shown.
    A clip that no stream can read, or whose attribution is not finite, has no strips.

    Args:
        model: The run or bundle; read again, for prediction folds networks.
        folder: The data set.
        device: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        CheckpointError: As ``poselens.recognition.bundle.load_bundle``.
    """
    bundle = _foremost(load_plain(model, device))

    def strips(clip: str, wanted: int, against: int) -> list[AttributionStrip]:
        question = Question(wanted, against)
        try:
            found = explain_streams(bundle, folder, folder.index_of(clip), question, {})
        except (InputError, NumericFault):
            # the clip was scored a moment ago; a picture less does not spoil a report
            return []
        named = {trained.stream.name for trained in bundle.streams}
        return [
            AttributionStrip(row.name, _side_by_side(row.pictures))
            for row in found.rows
            if row.name in named
        ]

    return strips


def _foremost(bundle: Bundle) -> Bundle:
    """Return a bundle of the RGB streams and the skeleton stream of the largest weight."""
    weights = bundle.fusion.weights
    pictures = [each for each in bundle.streams if isinstance(each.stream, RgbStream)]
    joints = [each for each in bundle.streams if not isinstance(each.stream, RgbStream)]
    joints.sort(key=lambda each: -weights.get(each.stream.name, 0.0))
    return replace(bundle, streams=[*pictures, *joints][: max(EXPLAINED_STREAMS, len(pictures))])


def _side_by_side(pictures: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    width = max(1, round(pictures.shape[2] * STRIP_HEIGHT / pictures.shape[1]))
    shown = [
        np.asarray(Image.fromarray(each).resize((width, STRIP_HEIGHT), Image.Resampling.LANCZOS))
        for each in pictures
    ]
    strip: NDArray[np.uint8] = np.concatenate(shown, axis=1)
    return strip
