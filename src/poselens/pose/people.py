"""Several people in one clip: found in every frame, told apart by ``pose/tracking``."""

from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Float, UInt8

from poselens.pose.estimators import JointNetwork, PersonDetector, Pose, require_pictures
from poselens.pose.layouts import get_layout
from poselens.pose.movenet import next_crop, whole_frame
from poselens.pose.similarity import sigmas_of, without_duplicates
from poselens.pose.tracking import Tracker, TrackSettings, gather
from poselens.types import Box, Skeleton

_ALIKE = 0.4  # two poses that are more alike are of one person
_LEAST_JOINTS = 6
_SIZES = (1.0, 0.6)  # squares of the sweep, as shares of the frame's shorter side
_STEP = 0.5  # of a square's side from one square to the next

Look = Callable[[UInt8[np.ndarray, "h w 3"], Box], Float[np.ndarray, "v 3"]]
"""Finds ``(x, y, score)`` of the joints of the person in the middle of a square."""


class SweptPeople:
    """Finds several people with a network for one: by sweeps, and by a tracked crop for each.

    Every ``every`` frames the network looks at overlapping squares of two sizes, and at the whole
    frame. What it sees is looked at again in a crop of its own, and poses alike (OKS) to a better
    one are dropped. In every frame each person known is looked for where they are expected.

    Departure: a detector of people would find small and overlapping ones better; this one needs no
    second set of weights. Values are ours, tried on clips put together from single ones.

    Args:
        look: The network, such as ``MoveNet.look``.
        threshold: Joints with a lower score are reported as missing; a person needs 6 joints of
            that score, and as mean of these.
        every: Frames from sweep to sweep.
        settings: When a pose belongs to somebody known.
    """

    layout = "coco-17"

    def __init__(
        self,
        look: Look,
        *,
        threshold: float = 0.3,
        every: int = 10,
        settings: TrackSettings | None = None,
    ) -> None:
        self._look = look
        self._threshold = threshold
        self._every = every
        self._settings = settings or TrackSettings(min_seen=5)
        self._sigmas = sigmas_of(self.layout, len(get_layout(self.layout)))

    def estimate(self, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Pose:
        """Find everybody in every frame; people come in the order in which they appear.

        Raises:
            UsageError: ``POSE-001`` for no frames, ``POSE-002`` for frames that are no pictures.
        """
        book = _Book(self.layout, self._threshold, self._settings)
        for index, frame in enumerate(require_pictures(frames)):
            size = (frame.shape[0], frame.shape[1])
            found = [self._look(frame, next_crop(known, size)) for known in book.expected(frame)]
            if index % self._every == 0:
                seen = self._kept([self._look(frame, square) for square in sweep(size)])
                # in a crop of their own joints are more exact
                found += [self._look(frame, next_crop(joints, size)) for joints in seen]
            book.add(self._kept(found))
        return book.pose()

    def _kept(self, found: list[Float[np.ndarray, "v 3"]]) -> Float[np.ndarray, "n v 3"]:
        poses = np.array(found, np.float32).reshape(-1, len(self._sigmas), 3)
        return kept_people(poses, self._threshold, self._sigmas)


class DetectedPeople:
    """Finds several people by a detector, and the joints of each in their box.

    Args:
        detector: Where the people are.
        network: Where the joints of each are.
        threshold: Joints with a lower score are reported as missing.
        settings: When a pose belongs to somebody known.
    """

    def __init__(
        self,
        detector: PersonDetector,
        network: JointNetwork,
        *,
        threshold: float = 0.3,
        settings: TrackSettings | None = None,
    ) -> None:
        self._detector = detector
        self._network = network
        self._threshold = threshold
        self._settings = settings or TrackSettings()
        self.layout = network.layout
        self._sigmas = sigmas_of(self.layout, len(get_layout(self.layout)))

    def estimate(self, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Pose:
        """Find everybody in every frame; people come in the order in which they appear.

        Raises:
            UsageError: ``POSE-001`` for no frames, ``POSE-002`` for frames that are no pictures.
        """
        book = _Book(self.layout, self._threshold, self._settings)
        for frame in require_pictures(frames):
            boxes = self._detector.detect(frame)[:, :4]
            book.add(kept_people(self._network.find(frame, boxes), self._threshold, self._sigmas))
        return book.pose()


def kept_people(
    poses: Float[np.ndarray, "n v 3"], threshold: float, sigmas: Float[np.ndarray, " v"]
) -> Float[np.ndarray, "n v 3"]:
    """Drop what is nobody, and all but the surest pose of each person.

    Args:
        poses: ``(x, y, score)`` of each joint.
        threshold: Score of a joint that counts.
        sigmas: Spread of each joint, for ``oks``.
    """
    sure = poses[..., 2] >= threshold
    poses = poses[sure.sum(axis=1) >= min(_LEAST_JOINTS, poses.shape[1])]
    sure = poses[..., 2] >= threshold
    places = np.where(sure[..., None], poses[..., :2], np.nan)
    worth = np.where(sure, poses[..., 2], 0.0).sum(axis=1)
    return poses[without_duplicates(places, worth, sigmas, _ALIKE)]


class _Book:
    """What was found, frame by frame, and whose it was."""

    def __init__(self, layout: str, threshold: float, settings: TrackSettings) -> None:
        self._tracker = Tracker(layout, settings)
        self._threshold = threshold
        self._settings = settings
        self._places: list[Float[np.ndarray, "n v 2"]] = []
        self._scores: list[Float[np.ndarray, "n v"]] = []
        self._given: list[np.ndarray] = []
        self._seen: dict[int, Float[np.ndarray, " v"]] = {}

    def expected(self, frame: UInt8[np.ndarray, "h w 3"]) -> list[Float[np.ndarray, "v 3"]]:
        """Return where everybody is expected who may be in the picture."""
        height, width = frame.shape[:2]
        found = []
        for name, places in self._tracker.predicted().items():
            known = np.isfinite(places).all(axis=-1)
            middle = places[known].mean(axis=0) if known.any() else np.full(2, np.nan)
            if (middle >= 0).all() and (middle < (width, height)).all():
                scores = np.where(known, np.maximum(self._seen[name], self._threshold), 0.0)
                found.append(np.concatenate([np.nan_to_num(places), scores[:, None]], axis=-1))
        return found

    def add(self, poses: Float[np.ndarray, "n v 3"]) -> None:
        scores = poses[..., 2]
        places = np.where(scores[..., None] >= self._threshold, poses[..., :2], np.nan)
        ids = self._tracker.step(places)
        for at, name in enumerate(ids.tolist()):
            self._seen[name] = scores[at]
        self._places.append(places.astype(np.float32))
        self._scores.append(scores.astype(np.float32))
        self._given.append(ids)

    def pose(self) -> Pose:
        least = min(self._settings.min_seen, len(self._given))
        tracks = gather(self._given, self._places, self._scores, least=least)
        layout = self._tracker.layout
        return Pose(Skeleton(tracks.positions, layout, "pixels"), tracks.scores)


def sweep(size: tuple[int, int]) -> list[Box]:
    """Return the squares in which to look for people: the whole frame, and two smaller sizes.

    Args:
        size: Height and width of the frame.
    """
    height, width = size
    squares = {whole_frame(size): None}
    for share in _SIZES:
        side = max(round(share * min(height, width)), 2)
        for top in _starts(height, side):
            for left in _starts(width, side):
                squares[Box(left, top, left + side, top + side)] = None
    return list(squares)


def _starts(length: int, side: int) -> list[int]:
    """Return where squares begin so that they overlap by half and end at the edge."""
    count = 1 + int(np.ceil((length - side) / (_STEP * side))) if length > side else 1
    return [round(float(at)) for at in np.linspace(0, max(length - side, 0), count)]
