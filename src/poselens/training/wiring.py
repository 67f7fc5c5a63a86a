"""The parts of a run, made from its settings and its data."""

import numpy as np
import torch
from numpy.typing import NDArray

from poselens.clips.stream import RgbStream, SkeletonStream
from poselens.data.folder import ClipFolder
from poselens.errors import AnnotationError
from poselens.pose.layouts import get_layout
from poselens.training.config import RgbSection, SkeletonSection
from poselens.training.contrastive import Contrast, build_contrast, contrastive
from poselens.training.objectives import Balance, Objective, cross_entropy
from poselens.training.samples import Samples


def describe(
    folder: ClipFolder, section: RgbSection | SkeletonSection
) -> RgbStream | SkeletonStream:
    """Return what the network of a run reads and says.

    Raises:
        AnnotationError: ``DATA-023`` the data set lacks the skeletons the recipe reads.
    """
    classes = tuple(folder.info.classes)
    if isinstance(section, RgbSection):
        return RgbStream(classes=classes, input=section.input, network=section.network)
    stored = folder.info.skeletons.get(section.input.space)
    if stored is None:
        raise AnnotationError(
            "DATA-023",
            f"the data set has no skeletons in {section.input.space}",
            file=folder.root,
            mend=f"--set input.space={next(iter(folder.info.skeletons), 'pixels')}",
        )
    section.input.pairs_of(get_layout(stored.layout))
    return SkeletonStream(
        classes=classes,
        input=section.input,
        network=section.network,
        layout=stored.layout,
        dimensions=stored.dimensions,
    )


def split(folder: ClipFolder, protocol: str, *, held_out: bool) -> dict[str, NDArray[np.int64]]:
    """Return the clips to train on and those held out."""
    if held_out:
        return {
            "train": folder.indices(protocol, "train"),
            "val": folder.indices(protocol, "val"),
        }
    return {"train": folder.indices(protocol, "train+val"), "val": np.zeros(0, np.int64)}


def contrast_of(
    section: RgbSection | SkeletonSection,
    samples: Samples,
    folder: ClipFolder,
    stream: RgbStream | SkeletonStream,
    device: torch.device,
) -> Contrast | None:
    """Return what compares graphs, where the recipe wants it."""
    if isinstance(section, RgbSection) or section.contrast is None:
        return None
    assert isinstance(stream, SkeletonStream)
    clips = samples.training_clips
    return build_contrast(
        section.contrast,
        labels=folder.labels[clips],
        clips=clips,
        num_classes=len(stream.classes),
        joints=len(get_layout(stream.layout)),
        seed=section.training.seed,
    ).to(device)


def objective_of(
    section: RgbSection | SkeletonSection, contrast: Contrast | None, balance: Balance
) -> Objective:
    """Return what a step minimises."""
    smoothing = section.training.label_smoothing
    if contrast is None or isinstance(section, RgbSection) or section.contrast is None:
        return cross_entropy(label_smoothing=smoothing, balance=balance)
    weight = section.contrast.weight
    return contrastive(contrast, weight=weight, label_smoothing=smoothing, balance=balance)
