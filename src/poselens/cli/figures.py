"""How ``evaluate`` and ``compare`` print figures with intervals, levels of classes, and doubt."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from poselens.cli.output import give_table, percent, tell, with_interval

if TYPE_CHECKING:
    from poselens.evaluation.hierarchy import HierarchyEvaluation
    from poselens.recipes.abstaining import Abstention
    from poselens.recipes.evaluating import Result

SHARES = {"top5": "Top-5 %", "macro_f1": "macro-F1 %", "ece": "ECE %"}
NUMBERS = {"nll": "NLL", "brier": "Brier"}


def give_figures(result: "Result") -> None:
    """Print the figures that the first table has no room for, and what the intervals draw."""
    rows = [*result.streams, result.fused] if len(result.streams) > 1 else [result.fused]
    interval = result.fused.top1_interval
    table = []
    for entry in rows:
        facts = entry.as_dict()
        cells = [_stacked(facts[name], facts["intervals"][name], 100, 1) for name in SHARES]
        cells += [_stacked(facts[name], facts["intervals"][name], 1, 2) for name in NUMBERS]
        table.append([entry.stream, *cells])
    give_table(
        f"more figures, {100 * interval.level:.0f} % intervals over "
        f"{interval.units} {interval.unit}s",
        ["stream", *SHARES.values(), *NUMBERS.values()],
        table,
    )
    for sentence in result.units.told:
        tell(f"note: {sentence}")


def _stacked(value: float, ends: Sequence[float], factor: float, digits: int) -> str:
    low, high = (f"{factor * end:.{digits}f}" for end in ends)
    # one word, so that a narrow terminal does not break it
    return f"{factor * value:.{digits}f}\n{low}-{high}"


def give_hierarchy(tree: "HierarchyEvaluation") -> None:
    """Print the accuracies on every level of the classes, and how far mistakes lie off."""
    facts = tree.as_dict()
    give_table(
        "by level of the classes",
        ["level", "names", "Top-1 % [95 %]", "mean class % [95 %]"],
        [
            [
                level["level"],
                str(level["nodes"]),
                with_interval(level["top1"], level["interval"]),
                with_interval(level["mean_class"], level["mean_class_interval"]),
            ]
            for level in facts["levels"]
        ],
    )
    if not facts["mistakes"]:
        tell("no mistake")
        return
    tell(
        f"{facts['mistakes']} mistakes; with the right parent: "
        f"{with_interval(facts['within_parent'], facts['within_parent_interval'])} % "
        f"({percent(facts['within_parent_by_guess'])} % if any other class were taken alike); "
        f"mean distance {facts['distance']:.2f} levels"
    )
    shared = ", ".join(f"{name} {count}" for name, count in facts["by_ancestor"].items())
    tell(f"nearest level that a mistake shares with the truth: {shared}")


def tell_abstention(found: "Abstention") -> None:
    """Print what holding answers back does; its notes are for the end, with all others."""
    facts = found.as_dict()
    selective, unknown, sets = facts["selective"], facts["unknown"], facts["conformal"]
    if found.selective is not None:
        shown = ", ".join(
            f"{percent(found.selective.accuracy_at(share))} % of the surest {share:.0%}"
            for share in (0.5, 0.8, 0.9)
        )
        low, high = selective["aurc_interval"]
        tell(
            f"right: {shown} of the clips; AURC {selective['aurc']:.4f} [{low:.4f}, {high:.4f}], "
            f"best possible {selective['aurc_best']:.4f}"
        )
    if unknown is not None:
        _tell_unknown(unknown)
    if sets is not None:
        whom = "of every class" if sets["per_class"] else "over all clips"
        expected = sets["expected"]
        by_chance = f" (expected {_span(expected)} %)" if expected else ""
        tell(
            f"label sets ({sets['method']}, {whom}), promised {percent(1 - sets['alpha'])} % on "
            f"{sets['n']} validation clips: they hold the right label in "
            f"{with_interval(sets['coverage'], sets['coverage_interval'])} %{by_chance}, "
            f"with {_plain(sets['size'], sets['size_interval'])} labels; sets by number of labels: "
            + ", ".join(f"{size}: {count}" for size, count in enumerate(sets["sizes"]) if count)
        )


def _tell_unknown(facts: Mapping[str, Any]) -> None:
    answered = "none is answered"
    if facts["accuracy"] is not None:
        right = with_interval(facts["accuracy"], facts["accuracy_interval"])
        answered = (
            f"of the others {right} % are right ({percent(facts['accuracy_without'])} % of all)"
        )
    caught = ""
    if facts["caught"] is not None:
        said = with_interval(facts["caught"], facts["caught_interval"])
        caught = f"; of the wrong answers {said} % are called unknown"
    tell(
        f"unknown below {facts['threshold']:.3f}, chosen on {facts['n']} validation clips for "
        f"{percent(facts['rate'])} %: called unknown "
        f"{with_interval(facts['false_alarms'], facts['false_alarms_interval'])} %, "
        f"{answered}{caught}"
    )
    outside = facts["outside"]
    if outside is not None:
        tell(
            f"{outside['n']} clips of other classes: called unknown "
            f"{with_interval(outside['detected'], outside['detected_interval'])} %, "
            f"AUROC {outside['auroc']:.3f}, FPR95 {percent(outside['fpr95'])} %"
        )


def give_pair(facts: Mapping[str, Any], classes: int = 10, clips: int = 10) -> None:
    """Print how two sets of scores differ: figures, then the classes that move, then clips."""
    names = {"top1": "Top-1 %", "mean_class": "mean class %"} | SHARES | NUMBERS
    rows = []
    for name, title in names.items():
        each = facts["figures"][name]
        factor, digits = (1, 3) if name in NUMBERS else (100, 1)
        low, high = (f"{factor * end:+.{digits}f}" for end in each["interval"])
        rows.append(
            [
                title,
                f"{factor * each['first']:.{digits}f}",
                f"{factor * each['second']:.{digits}f}",
                f"{factor * each['difference']:+.{digits}f}",
                f"[{low}, {high}]",
                "within noise" if each["within_noise"] else "differs",
            ]
        )
    unit = f"{facts['interval_units']} {facts['interval_unit']}s"
    give_table(
        f"A: {facts['first']}\nB: {facts['second']}\n{facts['n']} clips, intervals over {unit}",
        ["figure", "A", "B", "A - B", "95 %", ""],
        rows,
    )
    only = len(facts["only_first"]), len(facts["only_second"])
    tell(
        f"right: both {facts['both_right']}, A alone {only[0]}, B alone {only[1]}, neither "
        f"{facts['neither_right']}; McNemar's exact p of Top-1 {facts['mcnemar_p']:.4f}"
    )
    moved = [each for each in facts["classes"] if each["only_first"] + each["only_second"]]
    give_table(
        "classes that move most" if moved else "no class moves",
        ["class", "clips", "A %", "B %", "A alone", "B alone", "p (Holm)"],
        [
            [
                each["class"],
                str(each["support"]),
                percent(each["first"]),
                percent(each["second"]),
                str(each["only_first"]),
                str(each["only_second"]),
                f"{each['p_holm']:.3f}",
            ]
            for each in moved[:classes]
        ],
    )
    for who, key in (("A", "only_first"), ("B", "only_second")):
        ids = facts[key]
        if ids:
            more = f" and {len(ids) - clips} more (--json)" if len(ids) > clips else ""
            tell(f"only {who} has right: {', '.join(ids[:clips])}{more}")


def _span(ends: Sequence[float]) -> str:
    return f"{percent(ends[0])} to {percent(ends[1])}"


def _plain(value: float, ends: Sequence[float]) -> str:
    return f"{value:.2f} [{ends[0]:.2f}, {ends[1]:.2f}]"
