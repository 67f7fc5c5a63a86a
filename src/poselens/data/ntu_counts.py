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
            f"{len(left_out)} recordings were to be left out, not the {len(official)} that the "
            f"authors list: the published counts do not apply"
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
    notes.extend(_by_class(names, ntu, official))
    return notes


def _published(ntu: NtuSet) -> dict[str, int]:
    return {
        f"{protocol.name} {part}": count
        for protocol in ntu.protocols
        for part, count in zip(("train", "test"), protocol.published, strict=True)
    }


def _by_class(names: Sequence[NtuName], ntu: NtuSet, official: Collection[str]) -> list[str]:
    unusable = Counter(int(name[-3:]) - 1 for name in official)
    found = Counter(name.label for name in names)
    lacking = {
        label: ntu.recordings[label] - unusable[label] - found[label]
        for label in range(len(ntu.classes))
    }
    lines = []
    none = [label for label in lacking if not found[label]]
    if none:
        lines.append(f"no clip of {len(none)} classes: {_list(none, ntu)}")
    some = [label for label, count in lacking.items() if count and found[label]]
    if some:
        shown = ", ".join(f"{ntu.classes[label]} {lacking[label]}" for label in some)
        lines.append(f"clips missing of other classes: {shown}")
    return lines


def _list(labels: Sequence[int], ntu: NtuSet) -> str:
    return ", ".join(ntu.classes[label] for label in labels)
