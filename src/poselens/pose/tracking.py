"""Who is who from frame to frame: poses found without names become people with stable ids.

Each person known so far is predicted to go on at the speed of the body as a whole; what is found is
given to predictions by the assignment of largest total similarity (Hungarian method), where the
similarity of a pair is the mean of ``oks`` and ``overlap``. People who are not found for a moment
are kept, so that they have their id again when they come out from behind someone else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from poselens.pose.similarity import oks, overlap, sigmas_of, square_size

_FOLLOW = 0.25  # share of a new speed in the remembered one
_DOUBT = 0.1  # a person unseen for ten frames may be twice as far off
_TRUST = 0.97  # a pose goes to somebody seen just now rather than to somebody lost long ago
_GROWTH = 0.1  # share of a new size in the remembered one


@dataclass(frozen=True)
class TrackSettings:
    """When a pose belongs to somebody known.

    Departure: the values are ours, chosen on drawn crossings (``benchmarks/pose_tracking.py``).

    Attributes:
        least: Smallest similarity, in [0, 1], at which a pose may go to a person.
        max_gap: Frames for which somebody who is not found is remembered.
        min_seen: People found in fewer frames are noise and left out, unless the clip is as short.
    """

    least: float = 0.15
    max_gap: int = 30
    min_seen: int = 3


@dataclass(frozen=True, eq=False)
class Tracks:
    """People with stable ids.

    Attributes:
        positions: ``(m, t, v, c)``, NaN where a joint or the person is missing.
        scores: ``(m, t, v)`` as given, 0 where the person is missing.
        sources: ``(m, t)`` which of the poses of a frame it was, -1 where missing.
    """

    positions: Float[np.ndarray, "m t v c"]
    scores: Float[np.ndarray, "m t v"]
    sources: Int[np.ndarray, "m t"]


@dataclass
class _Person:
    """Where somebody was last, and how fast the body moved."""

    name: int
    joints: Float[np.ndarray, "v c"]
    unseen: Int[np.ndarray, " v"]
    size: float
    speed: Float[np.ndarray, " c"]
    missed: int = 0
    met: int = 1

    def predicted(self, limit: int) -> Float[np.ndarray, "v c"]:
        ahead = np.asarray(self.joints + self.speed * (self.missed + 1))
        ahead[self.unseen + self.missed >= limit] = np.nan
        return ahead

    def seen(self, pose: Float[np.ndarray, "v c"]) -> None:
        steps = self.missed + 1
        known = np.isfinite(pose).all(axis=-1)
        shared = known & np.isfinite(self.joints).all(axis=-1)
        if shared.any():
            moved = np.median(pose[shared] - self.joints[shared], axis=0) / steps
            # the first step says all there is to know about the speed
            follow = 1.0 if self.met == 1 else _FOLLOW
            self.speed = (1 - follow) * self.speed + follow * moved
        self.joints = np.where(known[:, None], pose, self.joints + self.speed * steps)
        self.unseen = np.where(known, 0, self.unseen + steps)
        found = float(square_size(pose[None])[0])
        self.size = max(found, (1 - _GROWTH) * self.size + _GROWTH * found)
        self.missed = 0
        self.met += 1


@dataclass
class Tracker:
    """Gives ids to the poses of one frame after another.

    Attributes:
        layout: Joint layout of the poses.
        settings: When a pose belongs to somebody known.
    """

    layout: str
    settings: TrackSettings = field(default_factory=TrackSettings)

    def __post_init__(self) -> None:
        self._people: list[_Person] = []
        self._given = 0

    def predicted(self) -> dict[int, Float[np.ndarray, "v c"]]:
        """Return by id where everybody who is remembered is expected in the next frame."""
        limit = self.settings.max_gap
        return {person.name: person.predicted(limit) for person in self._people}

    def missed(self) -> dict[int, int]:
        """Return by id for how many frames somebody was not found."""
        return {person.name: person.missed for person in self._people}

    def step(self, poses: Float[np.ndarray, "n v c"]) -> Int[np.ndarray, " n"]:
        """Return the id of each pose of the next frame; new people get new ids, in order.

        The order of the poses does not matter but for which of two new people comes first, and
        that follows from their joints.

        Args:
            poses: NaN marks a missing joint; a pose without any gets -1.
        """
        ids = np.full(len(poses), -1, np.int64)
        seen = np.isfinite(poses).all(axis=-1).any(axis=-1)
        # a fixed order, so that ties are broken alike whatever the order given
        flat = np.where(np.isfinite(poses), poses, np.inf).reshape(len(poses), poses[:1].size)
        order = [at for at in np.lexsort(flat.T[::-1]).tolist() if seen[at]] if len(poses) else []
        found = poses[order].astype(np.float64)
        pairs = assign(self._alike(found), self.settings.least)
        for place, at in pairs:
            self._people[place].seen(found[at])
            ids[order[at]] = self._people[place].name
        met = {place for place, _ in pairs}
        for place, person in enumerate(self._people):
            person.missed += place not in met
        self._people = [one for one in self._people if one.missed <= self.settings.max_gap]
        taken = {at for _, at in pairs}
        for at in range(len(found)):
            if at not in taken:
                ids[order[at]] = self._add(found[at])
        return ids

    def _alike(self, found: Float[np.ndarray, "n v c"]) -> Float[np.ndarray, "p n"]:
        if not self._people or len(found) == 0:
            return np.zeros((len(self._people), len(found)))
        expected = np.stack([one.predicted(self.settings.max_gap) for one in self._people])
        doubt = np.array([(1 + _DOUBT * one.missed) ** 2 for one in self._people])
        size = np.array([one.size for one in self._people]) * doubt
        sigmas = sigmas_of(self.layout, found.shape[1])
        alike = (oks(expected, found, size, sigmas) + overlap(expected, found)) / 2
        trust = np.array([_TRUST**one.missed for one in self._people])
        return np.asarray(alike * trust[:, None])

    def _add(self, pose: Float[np.ndarray, "v c"]) -> int:
        unseen = np.where(np.isfinite(pose).all(axis=-1), 0, self.settings.max_gap)
        size = float(square_size(pose[None])[0])
        name = self._given
        self._people.append(_Person(name, pose, unseen, size, np.zeros(pose.shape[-1])))
        self._given += 1
        return name


def assign(alike: Float[np.ndarray, "p n"], least: float) -> list[tuple[int, int]]:
    """Return the pairs (row, column) of largest total similarity, none below ``least``.

    A row or column that stays alone adds nothing, so a pair below ``least`` never takes the place
    of one above it.
    """
    worth = np.where(alike >= least, alike, 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return [
        (row, column)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if alike[row, column] >= least
    ]


def track(
    frames: Sequence[Float[np.ndarray, "n v c"]],
    layout: str,
    *,
    scores: Sequence[Float[np.ndarray, "n v"]] | None = None,
    settings: TrackSettings | None = None,
) -> Tracks:
    """Turn poses without ids into people.

    People come in the order in which they first appear; within a frame, by their joints.

    Args:
        frames: For each frame the poses found there, in any order, NaN for a missing joint.
        layout: Their joint layout.
        scores: Confidence of each joint; 1 for every known joint if left out.
        settings: When a pose belongs to somebody known.
    """
    settings = settings or TrackSettings()
    tracker = Tracker(layout, settings)
    given = [tracker.step(np.asarray(poses, np.float64)) for poses in frames]
    return gather(given, frames, scores, least=min(settings.min_seen, len(frames)))


def gather(
    given: Sequence[Int[np.ndarray, " n"]],
    frames: Sequence[Float[np.ndarray, "n v c"]],
    scores: Sequence[Float[np.ndarray, "n v"]] | None = None,
    *,
    least: int = 1,
) -> Tracks:
    """Lay poses out by person and frame, leaving out people in fewer than ``least`` frames.

    Args:
        given: The id of each pose of each frame, -1 for none.
        frames: The poses.
        scores: Confidence of each joint.
        least: Frames in which a person must be.
    """
    names, counts = np.unique(np.concatenate([*given, np.empty(0, np.int64)]), return_counts=True)
    kept = [
        int(name) for name, count in zip(names, counts, strict=True) if name >= 0 and count >= least
    ]
    row = {name: place for place, name in enumerate(kept)}
    shape = (len(kept), len(frames), *(frames[0].shape[1:] if len(frames) else (0, 2)))
    positions = np.full(shape, np.nan, np.float32)
    known_scores = np.zeros(shape[:3], np.float32)
    sources = np.full(shape[:2], -1, np.int64)
    for frame, ids in enumerate(given):
        for at, name in enumerate(ids.tolist()):
            if name in row:
                positions[row[name], frame] = frames[frame][at]
                sources[row[name], frame] = at
                known = np.isfinite(frames[frame][at]).all(axis=-1)
                known_scores[row[name], frame] = known if scores is None else scores[frame][at]
    return Tracks(positions, known_scores, sources)
