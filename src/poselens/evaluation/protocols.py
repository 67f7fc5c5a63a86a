"""Protocols by name: what is trained and tested on what, and which number is printed for it.

A name here says what a published protocol is; which clips of a data set follow it, the data set
says in ``clips.csv``. A number is the protocol's only where the counts agree.
"""

import difflib
from dataclasses import asdict, dataclass
from typing import Any, Literal

from poselens.errors import UsageError
from poselens.evaluation.intervals import Metric

LAST_EPOCH = (
    "the last epoch, or the best on a validation slice carved out of train; never by the test part"
)
BEST_TEST_EPOCH = (
    "the epoch best on the test part, each stream by itself: public codes of the field validate on "
    "the test part and keep the best (CTR-GCN, SkeletonGCL, PYSKL with --test-best)"
)
NTU_SOURCE = "Shahroudy et al., CVPR 2016; counts without the 302 recordings listed as unusable"
NTU120_SOURCE = "Liu et al., TPAMI 2019; counts without the 535 recordings listed as unusable"
GYM_SOURCE = "Shao et al., CVPR 2020; lists at github.com/SDOlivia/FineGym"


@dataclass(frozen=True)
class Counts:
    """Clips of the parts of a complete data set; ``train`` includes what validates."""

    train: int
    test: int


@dataclass(frozen=True)
class Protocol:
    """What a protocol of the field is.

    Attributes:
        name: Its name here.
        data: The data set.
        split: Who trains, who tests.
        classes: Number of classes; None where it depends on the data set.
        counts: Clips of the complete data set, None where there is no complete one; several where
            the authors published several lists.
        metric: The number that papers print.
        metric_said: How papers print it, in words.
        views: What one clip is looked at.
        selection: How weights are chosen here.
        published: What published numbers of this protocol were chosen by.
        source: Where the protocol and its counts are published.
        own_names: Names under which a data set folder may hold this protocol, its own first.
        without_copies: Leave out test clips whose joints are those of a training clip, number by
            number.
        caveats: What a reader of a number must know.
    """

    name: str
    data: str
    split: str
    classes: int | None
    counts: tuple[Counts, ...]
    metric: Metric
    metric_said: str
    source: str
    own_names: tuple[str, ...]
    views: str = "one view: the whole clip once, and once per stream"
    selection: str = LAST_EPOCH
    published: str = BEST_TEST_EPOCH
    without_copies: bool = False
    caveats: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the facts for ``--json``."""
        return asdict(self)

    def expected(self, part: Literal["train", "test"]) -> tuple[int, ...]:
        """Return how many clips a part of the complete data set has, one number per list."""
        return tuple(dict.fromkeys(getattr(counts, part) for counts in self.counts))


_NTU_VIEWS = "RGB: one view in the paper, one to ten clips elsewhere; skeleton: one"
_GYM_CAVEATS = (
    "Top-1 and mean-class differ by several points here, and papers print either: say which",
    "the official split is by element: videos and events are in train and in test",
)

PROTOCOLS: tuple[Protocol, ...] = (
    Protocol(
        "ntu60-xsub", "NTU RGB+D 60", "cross-subject: 20 named subjects train, the other 20 test",
        60, (Counts(40_091, 16_487),), "top1", "Top-1", NTU_SOURCE,
        ("ntu60-xsub", "xsub", "ctr-gcn"), _NTU_VIEWS,
        caveats=("56,880 recordings are named in papers; 56,578 have a usable skeleton",),
    ),
    Protocol(
        "ntu60-xview", "NTU RGB+D 60", "cross-view: cameras 2 and 3 train, camera 1 tests",
        60, (Counts(37_646, 18_932),), "top1", "Top-1", NTU_SOURCE,
        ("ntu60-xview", "xview", "ctr-gcn"), _NTU_VIEWS,
        caveats=("the same people and performances are in train and test, by definition",),
    ),
    Protocol(
        "ntu120-xsub", "NTU RGB+D 120", "cross-subject: 53 named subjects train, the others test",
        120, (Counts(63_026, 50_919),), "top1", "Top-1", NTU120_SOURCE,
        ("ntu120-xsub", "xsub", "ctr-gcn"), _NTU_VIEWS,
    ),
    Protocol(
        "ntu120-xset", "NTU RGB+D 120", "cross-setup: even setups train, odd ones test",
        120, (Counts(54_468, 59_477),), "top1", "Top-1", NTU120_SOURCE,
        ("ntu120-xset", "xset", "ctr-gcn"), _NTU_VIEWS,
    ),
    Protocol(
        "finegym99", "FineGym, 99 elements", "official lists: train list, validation list tests",
        99, (Counts(20_484, 8_521), Counts(26_320, 8_521)), "mean_class",
        "mean-class by FineGym's authors and PYSKL, Top-1 by others: both are printed",
        GYM_SOURCE, ("finegym99", "gym99"), caveats=_GYM_CAVEATS,
    ),
    Protocol(
        "finegym288", "FineGym, 288 elements", "official lists: train list, validation list tests",
        288, (Counts(22_671, 9_646), Counts(29_334, 9_646)), "mean_class",
        "mean-class and Top-1, far apart as the classes are uneven: both are printed",
        GYM_SOURCE, ("finegym288", "gym288"), caveats=_GYM_CAVEATS,
    ),
    Protocol(
        "nw-ucla", "Northwestern-UCLA", "cross-view: views 1 and 2 train, view 3 tests",
        10, (Counts(1_020, 464),), "top1", "Top-1",
        "Wang et al., CVPR 2014; counts of the skeletons published with CTR-GCN", ("nw-ucla",),
        caveats=(
            "the files in circulation hold 95 recordings twice, as view 2 and as view 3: 95 of 464 "
            "test clips equal a training clip in every number (79, where subjects 6 and 9 only "
            "validate); nw-ucla-no-copies leaves them out",
        ),
    ),
    Protocol(
        "nw-ucla-no-copies", "Northwestern-UCLA", "as nw-ucla; test clips that are copies of "
        "training or validation clips are left out", 10, (Counts(1_020, 369),), "top1", "Top-1",
        "ours; counted on the skeletons published with CTR-GCN", ("nw-ucla",),
        published="no published number is of this part", without_copies=True,
    ),
    Protocol(
        "utd-mhad", "UTD-MHAD", "cross-subject: subjects 1, 3, 5, 7 train; 2, 4, 6, 8 test",
        27, (Counts(431, 430),), "top1", "Top-1", "Chen et al., ICIP 2015", ("utd-mhad",),
        published="mostly unsaid; without a validation slice, so by the test part where epochs "
        "were chosen at all",
    ),
    Protocol(
        "bandai2", "Bandai-Namco-2", "runs of neighbouring takes: of each "
        "class the first 60 % train, 15 % validate, the last 25 % test", 70,
        (Counts(2_103, 659),), "top1", "Top-1", "ours: docs/decisions/0009-bandai2-split.md",
        ("bandai2",), published="no published number has this split",
        caveats=("one body throughout: it says nothing about new people",),
    ),
    Protocol(
        "drawn", "drawn by poselens data synth", "cross-subject: subjects 1 to 5 train, 6 "
        "validates, 7 and 8 test", None, (), "top1", "Top-1", "ours: poselens data synth",
        ("cross-subject",), published="no published number is on drawn clips",
        caveats=("drawn clips: a check of the machinery, no evidence about recordings",),
    ),
)  # fmt: skip
"""All protocols with a name, in the order in which they are listed."""


def known(name: str) -> Protocol | None:
    """Return the protocol of this name, or None."""
    return next((protocol for protocol in PROTOCOLS if protocol.name == name), None)


def named(name: str) -> Protocol:
    """Return the protocol of this name.

    Raises:
        UsageError: ``CFG-110`` unknown.
    """
    found = known(name)
    if found is not None:
        return found
    names = [protocol.name for protocol in PROTOCOLS]
    near = difflib.get_close_matches(name, names, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(
        "CFG-110", f"no published protocol is called {name!r}{guess}",
        mend=f"use one of {', '.join(names)}",
    )  # fmt: skip


def recognised(name: str, classes: int, test: int) -> Protocol | None:
    """Return the published protocol that a split is, by its name, classes and test clips, or None.

    A published name with as many classes is taken for it, complete or not; a name that a data set
    gives it, only where the test part is complete.
    """
    for protocol in PROTOCOLS:
        expected = protocol.expected("test")
        if protocol.classes not in (None, classes) or test > max(expected, default=test):
            continue
        aliased = name in protocol.own_names and not protocol.without_copies and test in expected
        if name == protocol.name or aliased:
            return protocol
    return None


def shortfall(protocol: Protocol, part: Literal["train", "test"], found: int) -> str | None:
    """Say how many clips of how many there are, or nothing where the part is complete.

    Raises:
        UsageError: ``EVAL-040`` there are more clips than the complete data set has.
    """
    expected = protocol.expected(part)
    if not expected or found in expected:
        return None
    if found > max(expected):
        raise UsageError(
            "EVAL-040",
            f"found {found:,} clips in the {part} part, {protocol.name} has "
            f"{' or '.join(f'{count:,}' for count in expected)}: this is not its split",
            mend="use the data set's own name for the protocol",
        )
    return f"{found:,} of the {max(expected):,} {part} clips of {protocol.name}"
