"""What the report's script is given, and the promise that nothing else runs or is fetched."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
from markupsafe import Markup

from poselens.evaluation.explorer import ConfusedPair, Opinions
from poselens.evaluation.metrics import Evaluation

MISTAKES_KEPT = 5000
"""Clips with a wrong verdict that the page knows by name; cells count all of them."""

ROWS_OF_A_PAIR = 20


def page_script() -> Markup:
    """Return the script of the report; it is our own file."""
    script = resources.files("poselens.evaluation").joinpath("templates/report.js")
    return Markup(script.read_text(encoding="utf-8"))


def page_policy(script: str) -> Markup:
    """Return a content policy under which this script runs, and nothing is fetched."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Markup(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )


def embedded(facts: Mapping[str, Any]) -> Markup:
    """Return facts as JSON that no text in them can end early."""
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def explorer_facts(
    evaluation: Evaluation, order: Sequence[int], found: Opinions | None
) -> dict[str, Any]:
    """Return what the script must know: the matrix, and what streams say of clips gone wrong.

    Shares are whole percent; a stream that says nothing of a clip is -1.
    """
    rows, columns = np.nonzero(evaluation.confusion)
    counts = evaluation.confusion[rows, columns]
    wrong = np.zeros(0, np.int64) if found is None else np.flatnonzero(found.wrong)
    return {
        "classes": list(evaluation.classes),
        "order": [int(index) for index in order],
        "support": evaluation.confusion.sum(axis=1).tolist(),
        "counts": np.stack([rows, columns, counts], axis=1).tolist(),
        "streams": [] if found is None else list(found.streams),
        "mistakes": [] if found is None else _mistakes(found, wrong[:MISTAKES_KEPT].tolist()),
        "unnamed": max(len(wrong) - MISTAKES_KEPT, 0),
    }


def _mistakes(found: Opinions, clips: Sequence[int]) -> list[list[Any]]:
    shares = [
        np.rint(100 * np.nan_to_num(each, nan=0.0)).astype(np.int64)
        for each in (found.of_label, found.of_verdict)
    ]
    return [
        [
            found.ids[clip],
            int(found.labels[clip]),
            int(found.verdict[clip]),
            found.said[:, clip].tolist(),
            shares[0][:, clip].tolist(),
            shares[1][:, clip].tolist(),
        ]
        for clip in clips
    ]


def pair_rows(
    found: Opinions, label: int, predicted: int
) -> tuple[list[tuple[str, list[tuple[str, bool] | None]]], int]:
    """Return the clips of a pair with what each stream says and whether it is right.

    Also how many more clips there are than rows.
    """
    clips = found.of_pair(label, predicted).tolist()
    rows = [
        (
            found.ids[clip],
            [
                (found.classes[said], said == label) if said >= 0 else None
                for said in found.said[:, clip].tolist()
            ],
        )
        for clip in clips[:ROWS_OF_A_PAIR]
    ]
    return rows, len(clips) - len(rows)


def pair_anchors(pairs: Sequence[ConfusedPair], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return where each pair stands on the page, and its classes as numbers."""
    number = {name: place for place, name in enumerate(classes)}
    cells = [(number[pair.label], number[pair.predicted]) for pair in pairs]
    return [
        {"id": f"pair-{label}-{predicted}", "label": label, "predicted": predicted}
        for label, predicted in cells
    ]


def taken_for(
    pairs: Sequence[ConfusedPair], streams: Sequence[Evaluation]
) -> list[list[tuple[str, int, int]]]:
    """Return, for each pair, how often each stream makes this mistake, of how many clips."""
    table = []
    for pair in pairs:
        rows = []
        for judged in streams:
            number = {name: place for place, name in enumerate(judged.classes)}
            row = judged.confusion[number[pair.label]]
            rows.append((judged.stream, int(row[number[pair.predicted]]), int(row.sum())))
        table.append(rows)
    return table
