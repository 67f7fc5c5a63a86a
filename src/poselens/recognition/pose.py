"""Which estimator finds the joints where none are given."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from poselens.errors import EnvironmentFault, UsageError
from poselens.pose.detectors import Kind, open_detector
from poselens.pose.estimators import PoseEstimator
from poselens.pose.movenet import open_movenet
from poselens.pose.people import DetectedPeople, SweptPeople
from poselens.pose.rtmpose import open_rtmpose
from poselens.pose.weights import cached, locate, sha256_of

MOVENET = "movenet-lightning"
_LITERT = "LiteRT, CPU"


@dataclass(frozen=True)
class Opened:
    """An estimator ready for work, and what runs it."""

    estimator: PoseEstimator
    provider: str


@dataclass(frozen=True)
class EstimatorChoice:
    """All that is needed to open the same estimator in any process.

    Attributes:
        name: ``movenet`` or ``rtmpose``.
        weights: Its file.
        detector: For RTMPose, the detector's file.
        detector_kind: Whose that is; None to tell by the file.
        several: Look for everybody, and not for the one person in the middle.
        min_score: Joints with a lower score are missing.
        require_gpu: Refuse the CPU.
    """

    name: Literal["movenet", "rtmpose"]
    weights: Path
    detector: Path | None = None
    detector_kind: Kind | None = None
    several: bool = False
    min_score: float = 0.3
    require_gpu: bool = False

    def open(self) -> Opened:
        """Load the networks.

        Raises:
            EnvironmentFault: ``ENV-005`` a package is missing; ``POSE-006`` no GPU, but required.
            CheckpointError: ``POSE-003``, ``POSE-007`` for files that are not these networks.
            UsageError: ``POSE-008`` when a detector may be either kind.
        """
        if self.name == "rtmpose" and self.detector is not None:
            network = open_rtmpose(self.weights, require_gpu=self.require_gpu)
            found = open_detector(self.detector, self.detector_kind, require_gpu=self.require_gpu)
            people = DetectedPeople(found, network, threshold=self.min_score)
            return Opened(people, network.provider)
        if self.require_gpu:
            raise EnvironmentFault(
                "POSE-006",
                "a GPU is required, but MoveNet runs on the CPU",
                mend="use --estimator rtmpose, or leave --require-gpu out",
            )
        single = open_movenet(self.weights, threshold=self.min_score)
        if not self.several:
            return Opened(single, _LITERT)
        return Opened(SweptPeople(single.look, threshold=self.min_score), _LITERT)

    def facts(self) -> dict[str, str | float | bool | None]:
        """Return what decides about the joints found, the same on every machine."""
        detector = None if self.detector is None else sha256_of(self.detector)
        return {
            "estimator": self.name,
            "weights_sha256": sha256_of(self.weights),
            "detector_sha256": detector,
            "detector_kind": self.detector_kind,
            "several": self.several,
            "min_score": self.min_score,
        }


def choose(
    choice: str, weights: Path | None = None, *, detector: Path | None = None
) -> tuple[EstimatorChoice | None, str | None]:
    """Return the estimator called ``movenet``, ``rtmpose``, ``none`` or ``auto``, and what to tell.

    ``auto`` takes RTMPose where a detector is given, else MoveNet where its weights are at hand,
    and nothing is downloaded for it; ``movenet`` insists, and fetches the weights.

    Raises:
        UsageError: ``CFG-012`` for another name, ``POSE-009`` for RTMPose without its files.
        EnvironmentFault: ``ENV-006`` when weights cannot be fetched.
        CheckpointError: ``WGT-002`` for a file that is missing or empty.
    """
    if choice not in ("movenet", "rtmpose", "none", "auto"):
        raise UsageError(
            "CFG-012", f"found pose {choice!r}, expected movenet, rtmpose, none or auto"
        )
    if choice == "none":
        return None, None
    if choice == "rtmpose" or detector is not None:
        if choice == "movenet" or weights is None or detector is None:
            raise UsageError(
                "POSE-009",
                "RTMPose needs --weights and --detector, and MoveNet has no use for a detector",
                mend="give both as ONNX files; docs/guides/pose.md says where to get them",
            )
        return EstimatorChoice("rtmpose", weights, detector), None
    if choice == "movenet" or weights is not None:
        return EstimatorChoice("movenet", locate(MOVENET, file=weights)), None
    stored = cached(MOVENET)
    if stored is None:
        return None, (
            "no pose estimator: skeleton streams are left out where no skeleton is given; "
            f"poselens weights fetch {MOVENET}"
        )
    return EstimatorChoice("movenet", stored), None


def choose_estimator(
    choice: str, weights: Path | None = None
) -> tuple[PoseEstimator | None, str | None]:
    """Return an estimator of one person, opened, and what to tell the user, as ``choose``.

    Raises:
        UsageError: ``CFG-012`` for another name, ``POSE-009`` for RTMPose.
        EnvironmentFault: ``ENV-005`` LiteRT is missing, ``ENV-006`` the weights cannot be fetched.
        CheckpointError: ``WGT-002``, ``POSE-003`` for a file that is not MoveNet.
    """
    chosen, note = choose(choice, weights)
    if chosen is None:
        return None, note
    try:
        return chosen.open().estimator, None
    except EnvironmentFault as fault:
        if choice == "auto" and weights is None:
            return None, f"no pose estimator: {fault}"
        raise
