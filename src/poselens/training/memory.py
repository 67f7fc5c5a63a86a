"""What is said when memory does not hold a step."""

from contextlib import AbstractContextManager

from poselens.clips.batches import memory_faults_named
from poselens.clips.stream import RgbInput
from poselens.training.config import RgbSection, SkeletonSection


def memory_faults_told(
    section: RgbSection | SkeletonSection,
) -> AbstractContextManager[None]:
    """Say what a batch was made of, and which setting would do.

    Raises:
        EnvironmentFault: ``ENV-011``, ``ENV-012`` as ``poselens.clips.batches``.
    """
    read, settings = section.input, section.training
    if isinstance(read, RgbInput):
        of = f" of {read.segments * read.stem_frames} frames of {read.size}x{read.size}"
    else:
        of = f" of {read.window} frames of {read.people} people"
    instead = "" if settings.micro_batch == "auto" else "--set training.micro_batch=auto, or "
    return memory_faults_named(settings.batch_size, of=of, instead=instead)
