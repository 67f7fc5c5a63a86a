"""From the facts of all clips to findings, counts, an exit code and files."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from poselens.data.duplicates import clusters
from poselens.data.folder import ClipFolder
from poselens.data.info import PARTS
from poselens.data.leakage import Leak, find_leaks, unknown_columns
from poselens.recipes.check_items import Finding, Item, Items
from poselens.recipes.check_rules import RULES, Facts, Rule, Severity
from poselens.recipes.checking import Copy

NEIGHBOURS = 64
IMBALANCE = 10.0
FORMAT = 1
_RANK: dict[Severity, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, eq=False)
class Parts:
    """How the clips of one protocol lie.

    Attributes:
        protocol: Its name.
        description: What it says about itself.
        table: ``(k + 1, 4)`` clips by class (the last row has no class) and train, val, test, none.
        leaks: What the parts share.
        unknown: Clips without a value in a column in which leakage is looked for.
    """

    protocol: str
    description: str
    table: NDArray[np.int64]
    leaks: list[Leak]
    unknown: dict[str, int]


@dataclass(frozen=True, eq=False)
class Checked:
    """What a check found.

    Attributes:
        facts: The facts of all clips.
        findings: What is wrong, the worst first.
        parts: Counts and leaks of the protocols.
        groups: Clips that show one recording, group by group.
        copies: Pairs behind the groups.
        twins: Pairs of the groups, for who looks for clips that two parts share.
        unreadable: Clips whose video cannot be read.
        with_errors: Other clips with an error.
        with_warnings: Other clips with a warning.
    """

    facts: Facts
    findings: list[Finding]
    parts: list[Parts]
    groups: list[list[int]]
    copies: list[Copy]
    twins: list[tuple[int, int]]
    unreadable: int
    with_errors: int
    with_warnings: int
    quick: bool = field(default=False)

    @property
    def fine(self) -> int:
        """Clips with neither error nor warning."""
        others = self.unreadable + self.with_errors + self.with_warnings
        return len(self.facts.columns) - others

    def count(self, severity: Severity) -> int:
        """Return how many kinds of fault of this severity there are."""
        return sum(finding.severity == severity for finding in self.findings)

    def failed(self, *, strict: bool = False) -> bool:
        """Tell whether the check fails: by errors, or by warnings too."""
        return self.count("error") > 0 or (strict and self.count("warning") > 0)

    def verdict(self) -> str:
        """Return the outcome in one line that anybody understands."""
        total = len(self.facts.columns)
        parts = [f"{'all' if self.fine == total > 1 else self.fine} fine"]
        if self.with_warnings:
            parts.append(f"{self.with_warnings} with warnings")
        if self.with_errors:
            parts.append(f"{self.with_errors} with errors")
        if self.unreadable:
            parts.append(f"{self.unreadable} cannot be read")
        text = f"{total} {'clip' if total == 1 else 'clips'}: {', '.join(parts)}"
        severe = [(p.protocol, leak) for p in self.parts for leak in p.leaks if leak.severe]
        told = [
            f"in {protocol}, test shares {leak.what.partition(' (')[0]} with {leak.parts[0]}"
            for protocol, leak in severe[:2]
        ]
        if len(severe) > 2:
            told.append(f"and {len(severe) - 2} more such")
        warnings = self.count("warning")
        if self.fine == total and not severe and warnings:
            plural = "" if warnings == 1 else "s"
            told.append(f"{warnings} warning{plural} about the set as a whole")
        return "; ".join([text, *told])


def judge(
    facts: Facts, copies: Sequence[Copy], protocols: Sequence[str], *, quick: bool = False
) -> Checked:
    """Turn facts into findings.

    Args:
        facts: The facts of all clips.
        copies: Pairs of clips that show one recording.
        protocols: Splits to look at.
        quick: Whether frames were only counted.
    """
    groups = clusters([(copy.first, copy.second) for copy in copies])
    twins = [pair for group in groups for pair in _pairs(group)]
    parts = [_parts(facts.folder, protocol, twins) for protocol in protocols]
    clips = [_clip_finding(facts, rule) for rule in RULES]
    others = [*_copy_findings(facts, groups, copies), *_part_findings(facts, parts)]
    findings = [finding for finding in [*clips, *others] if finding.count]
    findings.sort(key=lambda finding: (_RANK[finding.severity], finding.code))
    worst = np.full(len(facts.columns), 3, np.int8)
    for finding in findings:
        place = finding.items.clips
        worst[place] = np.minimum(worst[place], _RANK[finding.severity])
    unreadable = facts.columns.fault >= 0
    return Checked(
        facts=facts,
        findings=findings,
        parts=parts,
        groups=groups,
        copies=list(copies),
        twins=twins,
        unreadable=int(unreadable.sum()),
        with_errors=int(((worst == 0) & ~unreadable).sum()),
        with_warnings=int(((worst == 1) & ~unreadable).sum()),
        quick=quick,
    )


def _pairs(group: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield each two clips of a group; of a large one, neighbours alone.

    A copy of a copy in another part is shared too, whichever pair was compared.
    """
    for place, first in enumerate(group):
        for second in group[place + 1 : place + 1 + NEIGHBOURS]:
            yield first, second


def _clip_finding(facts: Facts, rule: Rule) -> Finding:
    found = np.flatnonzero(rule.find(facts))
    return Finding(
        rule.code, rule.severity, rule.title, rule.mend, len(found), "clips",
        Items(facts, rule, found),
    )  # fmt: skip


def _parts(folder: ClipFolder, protocol: str, twins: Sequence[tuple[int, int]]) -> Parts:
    names = np.array([*PARTS, ""])
    part = np.argmax(folder.parts(protocol)[:, None] == names, axis=1)
    table = np.zeros((len(folder.info.classes) + 1, len(names)), np.int64)
    np.add.at(table, (folder.labels, part), 1)
    return Parts(
        protocol,
        folder.info.protocols[protocol].description,
        table,
        find_leaks(folder, protocol, twins=twins),
        {str(name): count for name, count in unknown_columns(folder, protocol).items()},
    )


def _copy_findings(
    facts: Facts, groups: Sequence[Sequence[int]], copies: Sequence[Copy]
) -> Iterator[Finding]:
    """Tell of groups of copies, apart where the clips of one have different labels."""
    same = {clip for copy in copies if copy.same for clip in (copy.first, copy.second)}
    labels = facts.folder.labels
    torn = [group for group in groups if len({int(labels[clip]) for clip in group}) > 1]
    plain = [group for group in groups if group not in torn]
    for code, severity, title, mend, some in (
        ("CHK-020", "warning", "Copies of one recording",
         "keep one of each group; results count the others twice", plain),
        ("CHK-021", "error", "Copies of one recording with different labels",
         "find out which label is right, and remove the other clip", torn),
    ):  # fmt: skip
        ready = [_group_item(facts, code, mend, group, same) for group in some]
        clips = np.array([clip for group in some for clip in group], np.int64)
        kind: Severity = "error" if severity == "error" else "warning"
        yield Finding(code, kind, title, mend, len(some), "groups", Items(clips=clips, ready=ready))


def _group_item(facts: Facts, code: str, mend: str, group: Sequence[int], same: set[int]) -> Item:
    labels, classes = facts.folder.labels, [*facts.folder.info.classes, "no label"]
    # label -1 is the last of the names
    told = [f"{facts.folder.ids[clip]} ({classes[labels[clip]]})" for clip in group[:8]]
    more = f", and {len(group) - 8} more" if len(group) > 8 else ""
    how = "the same content" if all(clip in same for clip in group) else "the same recording"
    first = facts.folder.record(group[0])
    return Item(first.id, first.video or "", f"{how}: {', '.join(told)}{more}", code, mend)


def _part_findings(facts: Facts, parts: Sequence[Parts]) -> Iterator[Finding]:
    """Tell of leaks, of classes without clips, of imbalance, and of clips nobody uses."""
    folder = facts.folder
    yield _texts(
        "CHK-022", "error", "Test clips are not new: parts share what they should not",
        "split by whole people or recordings with `poselens data split`, or give the reason under "
        "`shares` in dataset.yaml",
        "leaks", [f"{p.protocol}: {leak.sentence()}" for p in parts for leak in p.leaks
                  if leak.severe],
    )  # fmt: skip
    yield _texts(
        "CHK-023", "note", "Parts share by the protocol's definition",
        "nothing to do; it is told with every number",
        "leaks", [f"{p.protocol}: {leak.sentence()}" for p in parts for leak in p.leaks
                  if leak.declared is not None],
    )  # fmt: skip
    yield _texts(
        "CHK-024", "warning", "Training and validation share what they should not",
        "split by whole people or recordings with `poselens data split`; validation is else too "
        "hopeful",
        "leaks", [f"{p.protocol}: {leak.sentence()}" for p in parts for leak in p.leaks
                  if not leak.severe and leak.declared is None],
    )  # fmt: skip
    yield from _class_findings(folder, parts)
    unlabelled = np.flatnonzero(folder.labels < 0)
    yield _clips(
        facts,
        "CHK-028",
        "Clips without a label",
        "label them, or leave them to predict",
        unlabelled,
    )
    if parts:
        unused = np.ones(len(folder), np.bool_)
        for each in parts:
            unused &= folder.parts(each.protocol) == ""
        yield _clips(
            facts, "CHK-011", "Clips in no part of any protocol looked at",
            "fill the column split: of a protocol, or leave them out", np.flatnonzero(unused),
        )  # fmt: skip


def _class_findings(folder: ClipFolder, parts: Sequence[Parts]) -> Iterator[Finding]:
    untrained: list[str] = []
    absent: list[str] = []
    uneven: list[str] = []
    for each in parts:
        counts = each.table[:-1]
        absent += [
            f"{each.protocol}: no clip at all in {part}"
            for part in ("train", "test")
            if each.table[:, PARTS.index(part)].sum() == 0
        ]
        for name, row in zip(folder.info.classes, counts[:, :3].tolist(), strict=True):
            for part, total, clips in zip(PARTS, counts.sum(axis=0), row, strict=False):
                if clips or not total:
                    continue
                serious = part == "train" and row[2]
                text = f"{each.protocol}: no clip of {name} in {part}"
                (untrained if serious else absent).append(text)
        train = counts[:, 0]
        if train.any() and train[train > 0].min() * IMBALANCE <= train.max():
            most, least = int(train.argmax()), int(np.where(train > 0, train, train.max()).argmin())
            uneven.append(
                f"{each.protocol}: {folder.info.classes[most]} has {train[most]} training clips, "
                f"{folder.info.classes[least]} has {train[least]}: "
                f"{train[most] / train[least]:.0f} times"
            )
    yield _texts(
        "CHK-025", "error", "Classes that are tested and never trained",
        "give them training clips, or take the class out", "classes", untrained,
    )  # fmt: skip
    yield _texts(
        "CHK-026", "warning", "Classes without clips in a part, or parts without clips",
        "split again with `poselens data split`, or gather more clips", "classes", absent,
    )  # fmt: skip
    yield _texts(
        "CHK-027", "note", "Classes differ much in size",
        "read mean-class accuracy beside Top-1", "protocols", uneven,
    )  # fmt: skip


def _texts(
    code: str, severity: Severity, title: str, mend: str, unit: str, texts: Sequence[str]
) -> Finding:
    ready = [Item("", "", text, code, mend) for text in texts]
    return Finding(code, severity, title, mend, len(ready), unit, Items(ready=ready))


def _clips(facts: Facts, code: str, title: str, mend: str, clips: NDArray[np.int64]) -> Finding:
    rule = Rule(code, "note", title, mend, lambda _: np.empty(0, np.bool_), lambda *_: title)
    return Finding(code, "note", title, mend, len(clips), "clips", Items(facts, rule, clips))


def bad_csv(checked: Checked) -> bytes:
    """Return every error and warning as CSV: id, file, code, reason, mend."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "file", "code", "reason", "mend"])
    for finding in checked.findings:
        if finding.severity != "note":
            for item in finding.items:
                writer.writerow([item.id, item.file, item.code, item.reason, item.mend])
    return text.getvalue().encode(errors="backslashreplace")
