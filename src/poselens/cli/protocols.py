"""``poselens protocols``: what the protocols of the field are."""

from typing import TYPE_CHECKING, Annotated

import typer

from poselens.cli.output import Json, give_json, give_table, tell

if TYPE_CHECKING:
    from poselens.evaluation.protocols import Protocol


def protocols(
    name: Annotated[str | None, typer.Argument(help="Protocol to tell about.")] = None,
    as_json: Json = False,
) -> int:
    """List the published protocols, or tell one.

    Data, split, metric, selection and counts. Every name can be given to --protocol of evaluate
    and table, whatever the data set calls it.
    """
    from poselens.evaluation.protocols import PROTOCOLS, named

    if name is not None:
        protocol = named(name)
        if as_json:
            give_json(protocol.as_dict())
        else:
            give_table(name, ["", ""], _facts(protocol), left=True)
        return 0
    if as_json:
        give_json({"protocols": [protocol.as_dict() for protocol in PROTOCOLS]})
        return 0
    give_table(
        "Protocols by name",
        ["protocol", "data", "train", "test", "classes", "papers print"],
        [_row(protocol) for protocol in PROTOCOLS],
    )
    tell("poselens protocols NAME tells one; train includes what validates")
    return 0


def _row(protocol: "Protocol") -> list[str]:
    classes = "" if protocol.classes is None else str(protocol.classes)
    printed = {"top1": "Top-1", "mean_class": "mean-class"}[protocol.metric]
    return [
        protocol.name, protocol.data, _counts(protocol, "train"), _counts(protocol, "test"),
        classes, printed,
    ]  # fmt: skip


def _counts(protocol: "Protocol", part: "str") -> str:
    expected = protocol.expected("train" if part == "train" else "test")
    return " or ".join(f"{count:,}" for count in expected)


def _facts(protocol: "Protocol") -> list[list[str]]:
    here = ", ".join(protocol.own_names)
    facts = {
        "data": protocol.data,
        "split": protocol.split,
        "classes": "" if protocol.classes is None else str(protocol.classes),
        "train clips": f"{_counts(protocol, 'train')} (validation included)",
        "test clips": _counts(protocol, "test"),
        "metric": protocol.metric_said,
        "views": protocol.views,
        "selection here": protocol.selection,
        "published numbers": protocol.published,
        "source": protocol.source,
        "split's name in a data set": here,
    }
    if not protocol.counts:
        del facts["train clips"], facts["test clips"]
    rows = [[key, value] for key, value in facts.items() if value]
    return [*rows, *(["mind", caveat] for caveat in protocol.caveats)]
