"""Choose and picture the clips of a report: confused pairs, worst clips, likely label errors."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from poselens.data.folder import ClipFolder
from poselens.errors import UsageError
from poselens.evaluation.explorer import (
    AttributionStrip,
    ClipCard,
    ConfusedPair,
    FrameStrip,
    Opinions,
    pairs_of,
)
from poselens.evaluation.label_errors import Suspect, Suspects, find_suspects
from poselens.evaluation.pictures import FIRST_PAIRS
from poselens.fusion.scores import fuse, read_scores
from poselens.recipes.strips import clip_strip
from poselens.types import Scores

RGB = "rgb"
"""Name of the stream that sees pictures."""

PAIRS, MISTAKEN, WORST, SUSPECTS = 24, 2, 12, 24
"""Pairs with pictures, wrong clips of each, worst clips, and likely label errors on the page."""

Attribute = Callable[[str, int, int], Sequence[AttributionStrip]]
"""What speaks for one class rather than another in a clip: its id, and the classes' numbers."""

Weighed = Sequence[tuple[int, int]]
"""Pairs of classes: what speaks for the first rather than the second."""


@dataclass(eq=False)
class Album:
    """Strips of clips, each read once.

    Attributes:
        folder: The data set.
        attribute: Gives attributions of a clip for a class, or None.
    """

    folder: ClipFolder
    attribute: Attribute | None = None
    _made: dict[str, UInt8[np.ndarray, "h w 3"] | None] = field(default_factory=dict)

    def strip(self, clip: str, caption: str, weighed: Weighed = ()) -> FrameStrip | None:
        """Return the frames of a clip, with attributions for some pairs; None without frames."""
        if clip not in self._made:
            self._made[clip] = clip_strip(self.folder, self.folder.index_of(clip))
        pixels = self._made[clip]
        if pixels is None:
            return None
        return FrameStrip(pixels, caption, list(self._attributions(clip, weighed)))

    def _attributions(self, clip: str, weighed: Weighed) -> Iterator[AttributionStrip]:
        if self.attribute is None:
            return
        classes = self.folder.info.classes
        for wanted, against in weighed:
            told = f"for {classes[wanted]} rather than {classes[against]}"
            for each in self.attribute(clip, wanted, against):
                yield AttributionStrip(f"{each.name}, {told}", each.pixels)


def confused_pairs(found: Opinions, album: Album) -> list[ConfusedPair]:
    """Return the most confused pairs: clips of both classes side by side, and who is right."""
    pairs = []
    for place, (label, predicted, count) in enumerate(pairs_of(found, PAIRS)):
        explained = album.attribute is not None and place < FIRST_PAIRS
        cards = list(_cards_of_pair(found, album, label, predicted, explained=explained))
        fixes = found.fixes(label, predicted)
        names = found.classes[label], found.classes[predicted]
        pairs.append(ConfusedPair(*names, count, (), cards, fixes))
    return pairs


def _cards_of_pair(
    found: Opinions, album: Album, label: int, predicted: int, *, explained: bool
) -> Iterator[ClipCard]:
    """Yield clips that were confused, then one of each class that was recognised."""
    names = found.classes[label], found.classes[predicted]
    mistaken = [
        (
            clip,
            f"{names[0]}, taken for {names[1]}",
            ((predicted, label), (label, predicted)),
        )
        for clip in found.of_pair(label, predicted)[:MISTAKEN].tolist()
    ]
    known = [
        (clip, f"{found.classes[number]}, recognised", ((number, other),))
        for number, other in ((predicted, label), (label, predicted))
        for clip in found.of_pair(number, number)[:1].tolist()
    ]
    for place, (clip, told, weighed) in enumerate([*mistaken, *known]):
        shown = weighed if explained and place in (0, len(mistaken)) else ()
        yield _card(found, album, clip, told, (label, predicted), shown)


def _card(
    found: Opinions,
    album: Album,
    clip: int,
    told: str,
    pair: tuple[int, int],
    weighed: Weighed = (),
) -> ClipCard:
    own = int(found.labels[clip])
    other = pair[1] if own == pair[0] else pair[0]
    return ClipCard(
        found.ids[clip],
        told,
        found.classes[own],
        found.classes[other],
        found.beliefs(clip, other),
        album.strip(found.ids[clip], f"{told} ({found.ids[clip]})", weighed),
    )


def worst_clips(found: Opinions, album: Album) -> list[ClipCard]:
    """Return the wrong clips of highest loss."""
    cards = []
    for clip in found.worst(WORST):
        label, said = int(found.labels[clip]), int(found.verdict[clip])
        told = f"{found.classes[label]}, taken for {found.classes[said]}"
        cards.append(
            ClipCard(
                found.ids[clip],
                told,
                found.classes[label],
                found.classes[said],
                found.beliefs(clip, said),
                album.strip(found.ids[clip], f"{told} ({found.ids[clip]})"),
                float(found.loss[clip]),
            )
        )
    return cards


def suspect_cards(found: Suspects, album: Album) -> list[ClipCard]:
    """Return the likeliest label errors."""
    return [_suspect_card(entry, album) for entry in found.entries[:SUSPECTS]]


def _suspect_card(entry: Suspect, album: Album) -> ClipCard:
    told = f"labelled {entry.label}, perhaps {entry.suggested}"
    return ClipCard(
        entry.clip,
        told,
        entry.label,
        entry.suggested,
        entry.witnesses,
        album.strip(entry.clip, f"{told} ({entry.clip})"),
    )


@dataclass(frozen=True, eq=False)
class Searched:
    """A search for wrong labels, and whose scores it read.

    Attributes:
        found: What it found.
        source: Whose scores, and how honest that is, in a sentence.
    """

    found: Suspects
    source: str


def search_files(files: Sequence[Path], folder: ClipFolder) -> Searched:
    """Search score files for labels that are probably wrong.

    Args:
        files: Scores of two or more streams, each clip by networks that did not train on it.
        folder: The data set they belong to.

    Raises:
        UsageError: ``EVAL-082`` when classes or clips are not those of the data set; else as
            ``poselens.evaluation.label_errors.find_suspects``.
        InputError: ``FUS-006`` for a file that cannot be read.
    """
    scores = [read_scores(file) for file in files]
    for file, stream in zip(files, scores, strict=True):
        _require_of(folder, stream, file)
    names = " and ".join(file.name for file in files)
    return Searched(
        find_suspects(scores),
        f"Searched: {names}, as given; they must come from networks that did not train on the "
        "clips, such as those of held-out folds.",
    )


def _require_of(folder: ClipFolder, scores: Scores, file: Path) -> None:
    if list(scores.classes) != folder.info.classes:
        found = f"{len(scores.classes)} classes, first {', '.join(scores.classes[:3])}"
        wanted = f"{len(folder.info.classes)}, first {', '.join(folder.info.classes[:3])}"
        problem = f"found {found}, expected the data set's {wanted}"
    else:
        strange = np.flatnonzero(~np.isin(np.array(scores.ids, dtype=np.str_), folder.ids))
        if len(strange) == 0:
            return
        problem = f"{len(strange)} clips are not in the data set, first {scores.ids[strange[0]]!r}"
    raise UsageError(
        "EVAL-082", problem, file=file, mend="give scores of clips of this data set folder"
    )


def search_result(scores: Sequence[Scores], part: str) -> Searched | None:
    """Search the scores that were just made; None with a single stream.

    Pictures and joints are the two witnesses where there are both: skeleton streams see the same
    joints, and count as one, their mean.
    """
    if len(scores) < 2:
        return None
    bodies = [each for each in scores if each.stream != RGB]
    if len(bodies) < len(scores):
        mean = fuse(bodies, dict.fromkeys([each.stream for each in bodies], 1.0))
        together = replace(mean, stream="skeleton") if len(bodies) > 1 else bodies[0]
        scores = [*(each for each in scores if each.stream == RGB), together]
    source = f"Searched: the scores of the {part} part"
    source += {
        "train": ", which the networks were trained on: they have learned wrong labels too, and "
        "few can be found.",
        "val": ", which the networks were not trained on, though they may have been chosen on it.",
    }.get(part, ", which the networks were not trained on.")
    return Searched(find_suspects(scores), source)
