"""People out of slots: key points whose file does not say who is who."""

from collections.abc import Mapping

import numpy as np

from poselens.data.clip_limits import PEOPLE_LIMIT
from poselens.types import Skeleton, Space


def people_of_slots(skeletons: Mapping[Space, Skeleton]) -> Mapping[Space, Skeleton]:
    """Return the same joints, each person in a row of their own, by ``pose.tracking.track``.

    Where joints are given in pixels and metres, pixels say who is who. Nobody who is seen in fewer
    than three frames is a person; where that leaves nobody, rows stay as they are. Of more than 32
    people, those who are seen longest are kept.

    Args:
        skeletons: Positions ``(m, t, v, c)`` by space, with the same people in every space.
    """
    # SciPy's assignment is loaded where somebody has to be told from somebody else
    from poselens.pose.tracking import track

    leading = skeletons.get("pixels") or next(iter(skeletons.values()))
    frames = list(np.swapaxes(leading.positions, 0, 1))
    sources = track(frames, leading.layout).sources
    if len(sources) == 0:
        return skeletons
    longest = np.argsort(-(sources >= 0).sum(axis=1), kind="stable")[:PEOPLE_LIMIT]
    sources = sources[np.sort(longest)]
    time = np.arange(sources.shape[1])
    tracked = {}
    for space, skeleton in skeletons.items():
        positions = skeleton.positions[sources.clip(min=0), time]
        positions[sources < 0] = np.nan
        tracked[space] = Skeleton(positions, skeleton.layout, space)
    return tracked
