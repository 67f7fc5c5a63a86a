"""What a robustness card tries, and on which clips."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from poselens.clips.disturb import KINDS, Disturbance, kind_of, reaches
from poselens.data.folder import ClipFolder
from poselens.data.splits import draw
from poselens.errors import UsageError
from poselens.recognition.bundle import Bundle


def chosen_levels(
    kinds: Sequence[str], levels: Sequence[str], *, bundle: Bundle, folder: ClipFolder
) -> dict[str, tuple[float, ...]]:
    """Return the kinds to try and the severities of each, mildest first.

    Args:
        kinds: Names; empty for every kind that reaches a stream of the bundle.
        levels: ``kind=0.1,0.2`` for one kind, ``0.1,0.2`` for all; empty for the kinds' own.
        bundle: The model.
        folder: The data set.

    Raises:
        UsageError: ``EVAL-060`` an unknown kind, ``EVAL-061`` levels that are no numbers or that a
            kind cannot have, ``EVAL-062`` a kind that was named and reaches no stream.
    """
    stored = folder.info.skeletons
    reached = [
        name
        for name in KINDS
        if any(reaches(name, trained.stream, stored) for trained in bundle.streams)
    ]
    for name in kinds:
        kind_of(name)
        if name not in reached:
            raise UsageError(
                "EVAL-062",
                f"{name} reaches no stream of the model on this data set",
                file=folder.root,
                mend=f"leave it out; those that do: {', '.join(reached)}",
            )
    wanted = {name: KINDS[name].levels for name in dict.fromkeys(kinds or reached)}
    for text in levels:
        name, _, numbers = text.rpartition("=")
        if name and kind_of(name) and name not in wanted:
            raise UsageError(
                "EVAL-061", f"found levels of {name}, which is not tried", mend="add it to --kinds"
            )
        for kind in [name] if name else wanted:
            wanted[kind] = tuple(sorted(set(_numbers(numbers))))
    for name, several in wanted.items():
        for level in several:
            Disturbance(name, level)
    # rest is the undisturbed itself, which is there in any case
    return {
        name: tuple(level for level in several if level != KINDS[name].rest)
        for name, several in wanted.items()
    }


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError as fault:
        raise UsageError(
            "EVAL-061", f"found level {text!r}, expected numbers", mend="as in --levels 0.1,0.2"
        ) from fault


def subset(
    clips: Int[np.ndarray, " n"], folder: ClipFolder, limit: int | None, seed: int
) -> NDArray[np.int64]:
    """Return up to ``limit`` labelled clips, of every class in proportion and one at least.

    A larger limit takes more clips, and none away.

    Raises:
        UsageError: ``EVAL-064`` for fewer than one clip of each class.
    """
    labels = folder.labels[clips]
    known: NDArray[np.int64] = clips[labels >= 0]
    if limit is None or limit >= len(known):
        return known
    classes = np.unique(labels[labels >= 0])
    if limit < len(classes):
        raise UsageError(
            "EVAL-064",
            f"found a limit of {limit} clips, expected one of each class at least: {len(classes)}",
            mend=f"--limit {len(classes)} or more",
        )
    queue: list[tuple[float, int]] = []
    for label in classes.tolist():
        members = [int(clip) for clip in known if folder.labels[clip] == label]
        members.sort(key=lambda clip: draw(seed, str(folder.ids[clip])))
        # the first of each class before any second one, then evenly through each class
        places = [0.0, *((place + 0.5) / len(members) for place in range(1, len(members)))]
        queue.extend(zip(places, members, strict=True))
    chosen = {clip for _, clip in sorted(queue)[:limit]}
    drawn: NDArray[np.int64] = known[[int(clip) in chosen for clip in known]]
    return drawn
