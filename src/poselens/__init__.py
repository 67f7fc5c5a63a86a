"""poselens: fine-grained human action recognition from video and skeleton together.

::

    from poselens import Recognizer
    Recognizer.load("bundle").recognize("vault.mp4").label

The names below are the public surface; everything else is reached through its room.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Box": "poselens.types",
    "Scores": "poselens.types",
    "Skeleton": "poselens.types",
    "PoselensError": "poselens.errors",
    "open_folder": "poselens.data.folder",
    "activity_region": "poselens.clips.crop",
    "build_rgb_network": "poselens.rgb.build",
    "build_skeleton_network": "poselens.skeleton.build",
    "fuse": "poselens.fusion.scores",
    "evaluate": "poselens.evaluation.metrics",
    "Recognition": "poselens.recognition.recognizer",
    "Recognizer": "poselens.recognition.recognizer",
}

__all__ = [  # noqa: RUF022 - in the order of the data's passage
    "Box",
    "Scores",
    "Skeleton",
    "PoselensError",
    "open_folder",
    "activity_region",
    "build_rgb_network",
    "build_skeleton_network",
    "fuse",
    "evaluate",
    "Recognition",
    "Recognizer",
]

if TYPE_CHECKING:
    from poselens.clips.crop import activity_region
    from poselens.data.folder import open_folder
    from poselens.errors import PoselensError
    from poselens.evaluation.metrics import evaluate
    from poselens.fusion.scores import fuse
    from poselens.recognition.recognizer import Recognition, Recognizer
    from poselens.rgb.build import build_rgb_network
    from poselens.skeleton.build import build_skeleton_network
    from poselens.types import Box, Scores, Skeleton


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that ``import poselens`` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module 'poselens' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
