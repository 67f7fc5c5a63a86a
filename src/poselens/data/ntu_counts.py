"""Whether an import of NTU RGB+D is the whole data set: its counts beside the published ones."""

from collections import Counter
from collections.abc import Collection, Sequence

from poselens.data.ntu_protocols import NtuName, NtuSet, official_missing


def count_parts(names: Sequence[NtuName], ntu: NtuSet) -> dict[str, int]:
    """Return the clips of train, validation included, and of test, by protocol."""
    counts: dict[str, int] = {}
    for protocol in ntu.protocols:
        train = sum(protocol.is_train(name) for name in names)
        counts[f"{protocol.name} train"] = train
        counts[f"{protocol.name} test"] = len(names) - train
    return counts


def count_clips(names: Sequence[NtuName], ntu: NtuSet) -> dict[str, int]:
    """Return the clips of every part, and how many are missing of every class, for a report."""
    lacking = lacking_by_class(names, ntu)
    return count_parts(names, ntu) | {f"missing of {name}": lacking[name] for name in lacking}


def is_complete(names: Sequence[NtuName], ntu: NtuSet) -> bool:
    """Tell whether every part of every protocol has as many clips as is published."""
    return count_parts(names, ntu) == _published(ntu)


def title(names: Sequence[NtuName], ntu: NtuSet) -> str:
    """Return the data set's name, with the number of clips where it is not the whole one."""
    if is_complete(names, ntu):
        return ntu.title
    return f"{ntu.title} ({len(names):,} of {ntu.published:,} clips)"


def compare(names: Sequence[NtuName], ntu: NtuSet, left_out: Collection[str]) -> list[str]:
    """Say whether all is there; otherwise what is missing, by part and by class.

    Args:
        names: The clips that were imported.
        ntu: The data set that they are of.
        left_out: The list of recordings that were left out on purpose.
    """
    official = official_missing(ntu)
    notes = []
    if set(left_out) != official:
        notes.append(
            f"another list of recordings was left out ({len(left_out)} names) than the authors' "
            f"({len(official)}): the published counts do not apply"
        )
    if is_complete(names, ntu):
        parts = ", ".join(
            f"{protocol.name} {protocol.published[0]:,}/{protocol.published[1]:,}"
            for protocol in ntu.protocols
        )
        notes.append(f"complete: {len(names):,} clips, counts equal the published ones ({parts})")
        return notes
    notes.append(f"not complete: {len(names):,} of {ntu.published:,} clips of {ntu.title}")
    found, published = count_parts(names, ntu), _published(ntu)
    notes.extend(
        f"{part}: {found[part]:,} clips, {published[part]:,} are published"
        for part in found
        if found[part] != published[part]
    )
    lacking = lacking_by_class(names, ntu)
    if lacking:
        most = sorted(lacking, key=lambda name: -lacking[name])[:5]
        shown = ", ".join(f"{name} {lacking[name]}" for name in most)
        more = f", and {len(lacking) - len(most)} more" if len(lacking) > len(most) else ""
        notes.append(f"clips missing by class: {shown}{more}")
    return notes


def lacking_by_class(names: Sequence[NtuName], ntu: NtuSet) -> dict[str, int]:
    """Return how many clips of a class are missing, or negative too many, where the count is off.

    Every class has as many recordings as any other of its half of the data set; from these go those
    that the authors list as unusable.
    """
    unusable = Counter(int(name[-3:]) - 1 for name in official_missing(ntu))
    found = Counter(name.label for name in names)
    lacking = {
        name: ntu.recordings[label] - unusable[label] - found[label]
        for label, name in enumerate(ntu.classes)
    }
    return {name: count for name, count in lacking.items() if count}


def _published(ntu: NtuSet) -> dict[str, int]:
    return {
        f"{protocol.name} {part}": count
        for protocol in ntu.protocols
        for part, count in zip(("train", "test"), protocol.published, strict=True)
    }
