"""Made-up scores whose truth is known: of clips by themselves, or of people of unequal skill."""

import numpy as np

from poselens.types import Scores


def scores_of(logits, labels, stream="rgb", ids=None):
    """Scores with clips c0, c1, ... and classes k0, k1, ..."""
    logits = np.asarray(logits, np.float32)
    names = [f"c{row}" for row in range(len(logits))] if ids is None else list(ids)
    classes = [f"k{column}" for column in range(logits.shape[1])]
    return Scores(logits, names, np.asarray(labels), classes, stream)


def made_up(draw, clips=400, classes=8, skill=1.5, stream="rgb"):
    """Clips whose label gets ``skill`` more than the noise of every class."""
    labels = draw.integers(0, classes, clips)
    logits = draw.normal(0, 1, (clips, classes))
    logits[np.arange(clips), labels] += skill
    return scores_of(logits, labels, stream)


def people(draw, subjects, clips, *, spread=0.8, classes=4):
    """Scores of ``clips`` clips each of people, some of whom are recognised better than others."""
    skill = np.repeat(2 + spread * draw.normal(size=subjects), clips)
    scores = made_up(draw, subjects * clips, classes, skill)
    return scores, [f"s{subject}" for subject in np.repeat(np.arange(subjects), clips)]
