"""NTU RGB+D 60 and 120: names of recordings, classes, protocols and published counts.

Sources: Shahroudy et al., CVPR 2016 (60 actions, X-Sub, X-View); Liu et al., TPAMI 2019 (120
actions, X-Sub, X-Set); action names and lists of missing skeletons: github.com/shahroudy/NTURGB-D.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from poselens.data.info import ClipRecord, Column, Part, ProtocolInfo, cannot_read
from poselens.data.splits import carve
from poselens.errors import AnnotationError

ACTIONS = (
    "drink-water", "eat-meal", "brush-teeth", "brush-hair", "drop", "pick-up", "throw",
    "sit-down", "stand-up", "clap", "read", "write", "tear-up-paper", "put-on-jacket",
    "take-off-jacket", "put-on-shoe", "take-off-shoe", "put-on-glasses", "take-off-glasses",
    "put-on-hat", "take-off-hat", "cheer-up", "wave-hand", "kick-something",
    "reach-into-pocket", "hop", "jump-up", "phone-call", "play-with-phone", "type-on-keyboard",
    "point-to-something", "take-selfie", "check-time", "rub-hands", "nod-head", "shake-head",
    "wipe-face", "salute", "put-palms-together", "cross-hands-in-front", "sneeze-or-cough",
    "stagger", "fall", "touch-head", "touch-chest", "touch-back", "touch-neck",
    "nausea-or-vomiting", "use-fan", "punch-or-slap-person", "kick-person", "push-person",
    "pat-person-on-back", "point-finger-at-person", "hug-person", "give-something-to-person",
    "touch-persons-pocket", "shake-hands", "walk-towards", "walk-apart", "put-on-headphone",
    "take-off-headphone", "shoot-at-basket", "bounce-ball", "swing-tennis-bat",
    "juggle-table-tennis-balls", "hush", "flick-hair", "thumb-up", "thumb-down", "make-ok-sign",
    "make-victory-sign", "staple-book", "count-money", "cut-nails", "cut-paper", "snap-fingers",
    "open-bottle", "sniff", "squat-down", "toss-coin", "fold-paper", "ball-up-paper",
    "play-magic-cube", "apply-cream-on-face", "apply-cream-on-hand", "put-on-bag",
    "take-off-bag", "put-into-bag", "take-out-of-bag", "open-box", "move-heavy-objects",
    "shake-fist", "throw-up-cap", "hands-up", "cross-arms", "arm-circles", "arm-swings",
    "run-on-the-spot", "butt-kicks", "cross-toe-touch", "side-kick", "yawn", "stretch",
    "blow-nose", "hit-person-with-object", "wield-knife-at-person", "knock-over-person",
    "grab-persons-stuff", "shoot-at-person", "step-on-foot", "high-five", "cheers-and-drink",
    "carry-with-person", "photograph-person", "follow-person", "whisper-in-persons-ear",
    "exchange-things", "support-person", "rock-paper-scissors",
)  # fmt: skip
"""A001 to A120, shortened from the official names."""

_XSUB_60 = (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38)
_XSUB_120 = (
    *_XSUB_60,
    *(45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86),
    *(89, 91, 92, 93, 94, 95, 97, 98, 100, 103),
)
_XVIEW = (2, 3)
_XSET = tuple(range(2, 33, 2))

VAL_SHARE = 0.08
"""Share of every class of train that the validation slice is carved out to hold."""

_NAME = re.compile(r"S([0-9]{3})C([0-9]{3})P([0-9]{3})R([0-9]{3})A([0-9]{3})")
_LIST_LIMIT = 16 * 1024**2
_SHARED: Mapping[Column, str] = {
    "subject": "the same people are in train and test: the protocol is across {axis}, not people",
    "source": "every performance is filmed by three cameras at once: train and test see the same "
    "performances from other sides",
    "session": "every setup is in train and test, as the protocol is across {axis}",
    "view": "every camera is in train and test, as the protocol is across {axis}",
}


@dataclass(frozen=True, slots=True)
class NtuName:
    """What a recording's name says: setup, camera, subject, repetition and action, from 1."""

    text: str
    setup: int
    camera: int
    subject: int
    repetition: int
    action: int

    @property
    def label(self) -> int:
        """Class index."""
        return self.action - 1

    def record(self, *, video: str | None, width: int | None, height: int | None) -> ClipRecord:
        """Return the row of the clip; the three cameras of a performance share its ``source``."""
        return ClipRecord(
            id=self.text,
            video=video,
            label=self.label,
            subject=str(self.subject),
            view=str(self.camera),
            session=str(self.setup),
            source=self.text[:4] + self.text[8:],
            width=width,
            height=height,
        )


@dataclass(frozen=True)
class NtuProtocol:
    """A split by the number of a subject, camera or setup.

    Attributes:
        name: Name in the data set.
        axis: What differs between train and test.
        column: The column that holds it.
        train: Its values that train.
        published: Clips that train and that test, of all with a usable skeleton.
        shared: Columns that train and test share by the protocol.
    """

    name: str
    axis: Literal["subjects", "cameras", "setups"]
    column: Literal["subject", "view", "session"]
    train: tuple[int, ...]
    published: tuple[int, int]
    shared: tuple[Column, ...]

    def value(self, name: NtuName) -> int:
        """Return the number that decides on ``name``."""
        numbers = {"subjects": name.subject, "cameras": name.camera, "setups": name.setup}
        return numbers[self.axis]

    def is_train(self, name: NtuName) -> bool:
        """Tell whether ``name`` trains, validation included."""
        return self.value(name) in self.train


@dataclass(frozen=True)
class NtuSet:
    """One of the two data sets.

    Attributes:
        title: Its name.
        classes: Its actions.
        setups: Its last setup.
        subjects: Its last subject.
        recordings: Recordings of each class, by class, before any is left out.
        missing: How many the authors list as without a usable skeleton.
        protocols: Its protocols.
        source: Whom to cite.
    """

    title: str
    classes: tuple[str, ...]
    setups: int
    subjects: int
    recordings: tuple[int, ...]
    missing: int
    protocols: tuple[NtuProtocol, ...]
    source: str

    @property
    def published(self) -> int:
        """Clips with a usable skeleton."""
        return sum(self.recordings) - self.missing


_CITED = "NTU RGB+D, ROSE Lab, Nanyang Technological University; Shahroudy et al., CVPR 2016"

NTU60 = NtuSet(
    title="NTU RGB+D 60",
    classes=ACTIONS[:60],
    setups=17,
    subjects=40,
    recordings=(948,) * 60,
    missing=302,
    protocols=(
        NtuProtocol(
            "ntu60-xsub", "subjects", "subject", _XSUB_60, (40_091, 16_487), ("view", "session")
        ),
        NtuProtocol(
            "ntu60-xview", "cameras", "view", _XVIEW, (37_646, 18_932),
            ("subject", "source", "session"),
        ),
    ),
    source=_CITED,
)  # fmt: skip

NTU120 = NtuSet(
    title="NTU RGB+D 120",
    classes=ACTIONS,
    setups=32,
    subjects=106,
    recordings=(948,) * 60 + (960,) * 60,
    missing=535,
    protocols=(
        NtuProtocol(
            "ntu120-xsub", "subjects", "subject", _XSUB_120, (63_026, 50_919), ("view", "session")
        ),
        NtuProtocol(
            "ntu120-xset", "setups", "session", _XSET, (54_468, 59_477), ("subject", "view")
        ),
    ),
    source=f"{_CITED}; Liu et al., TPAMI 2019",
)


def read_name(text: str, ntu: NtuSet) -> NtuName | None:
    """Return what the name says, None for a name that is none of the data set's."""
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    setup, camera, subject, repetition, action = map(int, match.groups())
    limits = (ntu.setups, 3, ntu.subjects, 2, len(ntu.classes))
    numbers = (setup, camera, subject, repetition, action)
    if not all(1 <= number <= limit for number, limit in zip(numbers, limits, strict=True)):
        return None
    return NtuName(text, *numbers)


def parted(names: Sequence[NtuName], protocol: NtuProtocol) -> list[Part]:
    """Return the part of each recording.

    Validation is whole subjects of train that hold about 8 % of every class (``splits.carve``): the
    same ones whenever the names are the same. With one subject in train there is none.

    Departure: published results select on the test part; here nothing is.
    """
    parts: list[Part] = ["train" if protocol.is_train(name) else "test" for name in names]
    subjects = [str(name.subject) for name in names]
    training = {subject for subject, part in zip(subjects, parts, strict=True) if part == "train"}
    if len(training) < 2:
        return parts
    return carve(subjects, [name.label for name in names], parts, into="val", share=VAL_SHARE)


def protocol_info(
    protocol: NtuProtocol, names: Sequence[NtuName], parts: Sequence[Part], chance: float
) -> ProtocolInfo:
    """Describe a protocol: who trains, validates and tests, and what the parts share."""
    held = sorted({name.subject for name, part in zip(names, parts, strict=True) if part == "val"})
    train = ", ".join(map(str, protocol.train))
    val = f"clips by {', '.join(f'P{subject:03}' for subject in held)}" if held else "none"
    return ProtocolInfo(
        description=f"cross-{protocol.axis.removesuffix('s')}: {protocol.axis} {train} train (of "
        f"them validation: {val}), the others test",
        group=protocol.column,
        shares={name: _SHARED[name].format(axis=protocol.axis) for name in protocol.shared},
        chance=chance,
    )


def official_missing(ntu: NtuSet) -> frozenset[str]:
    """Return the recordings that the authors list as without a usable skeleton."""
    text = files("poselens.data").joinpath("ntu_missing.txt").read_text(encoding="ascii")
    listed = [line for line in text.splitlines() if not line.startswith("#")]
    return frozenset(name for name in listed if read_name(name, ntu))


def read_names(path: Path, ntu: NtuSet | None = None) -> list[str]:
    """Read a list of recordings, one a line; a heading above the first name is passed over.

    Args:
        path: The list, such as the authors' own of missing skeletons.
        ntu: Data set that every name has to be of; None for any name of the form.

    Raises:
        AnnotationError: ``DATA-031`` when it is missing, not text, or a line below the first name
            is none.
        EnvironmentFault: ``ENV-004`` not readable.
    """

    def refuse(message: str, where: str | None = None) -> AnnotationError:
        return AnnotationError(
            "DATA-031", message, file=path, where=where,
            mend="give a text file with one name such as S001C002P003R002A013 a line",
        )  # fmt: skip

    fits: Callable[[str], object] = _NAME.fullmatch if ntu is None else lambda t: read_name(t, ntu)
    try:
        if not path.is_file():
            raise refuse("no such file" if not path.exists() else "not a regular file")
        if path.stat().st_size > _LIST_LIMIT:
            raise refuse(f"larger than {_LIST_LIMIT} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise refuse("not UTF-8 text") from fault
    except OSError as fault:
        raise cannot_read(fault, path) from fault
    names: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        name = line.strip().removesuffix(".skeleton")
        if fits(name):
            names.append(name)
        elif names and name:
            raise refuse(f"{name[:40]!r} is no name of a recording", f"line {number}")
    if not names:
        raise refuse("found no name of a recording")
    return names
