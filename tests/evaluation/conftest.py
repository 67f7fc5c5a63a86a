"""A made-up evaluation of 27 classes, as large and as uneven as a real one."""

from dataclasses import replace

import numpy as np
import pytest

from poselens.evaluation.explorer import (
    AttributionStrip,
    ClipCard,
    ConfusedPair,
    FrameStrip,
    opinions,
    pairs_of,
)
from poselens.evaluation.intervals import paired_difference
from poselens.evaluation.label_errors import find_suspects
from poselens.evaluation.metrics import evaluate
from poselens.evaluation.reliability import Calibration, reliability
from poselens.evaluation.report import (
    CostRow,
    LabelReview,
    ReportData,
    StreamResult,
    most_confused,
)
from poselens.evaluation.sections import Section, SectionTable
from poselens.fusion.scores import fuse
from poselens.fusion.weights import fit_weights
from poselens.types import Scores

CLASSES = [
    "swipe left",
    "swipe right",
    "wave",
    "clap",
    "throw",
    "arm cross",
    "basketball shoot",
    "draw x",
    "draw circle cw",
    "draw circle ccw",
    "draw triangle",
    "bowling",
    "boxing",
    "baseball swing",
    "tennis swing",
    "arm curl",
    "tennis serve",
    "push",
    "knock",
    "catch",
    "pick up and throw",
    "jog",
    "walk",
    "sit to stand",
    "stand to sit",
    "lunge",
    "squat",
]


def made_up_scores(stream, strength, seed, clips, classes=CLASSES):
    draw = np.random.default_rng(seed)
    labels = np.arange(clips) % len(classes)
    # neighbours resemble each other, so that the matrix has structure
    likeness = np.eye(len(classes))
    for column in range(0, len(classes) - 1, 3):
        likeness[column, column + 1] = likeness[column + 1, column] = 0.75
    logits = draw.normal(0, 1, (clips, len(classes))) + strength * likeness[labels]
    ids = [f"clip{row:04d}" for row in range(clips)]
    return Scores(logits.astype(np.float32), ids, labels, list(classes), stream)


def made_up_history(epochs, ceiling, seed):
    draw = np.random.default_rng(seed)
    rows = []
    for epoch in range(1, epochs + 1):
        grown = 1 - np.exp(-epoch / (epochs / 4))
        for split, gap in (("train", 0.06), ("val", 0.0)):
            noise = draw.normal(0, 0.012)
            rows.append(
                {
                    "epoch": epoch,
                    "split": split,
                    "loss": 3.2 * (1 - grown) + 0.35 - 3 * gap + abs(noise) * 3,
                    "top1": min(1.0, max(0.0, ceiling * grown + gap * grown + noise)),
                    "lr": 0.1,
                }
            )
    return rows


def made_up_strip(seed, frames=8, height=96, width=96):
    rows, columns = np.mgrid[:height, :width]
    tiles = []
    for frame in range(frames):
        angle = frame / frames * np.pi + seed
        x, y = width / 2 + 25 * np.cos(angle), height / 2 + 25 * np.sin(angle)
        tile = np.full((height, width, 3), (38 + 8 * seed % 40, 52, 70), np.uint8)
        tile[(columns - width / 2) ** 2 + (rows - 26) ** 2 < 90] = (222, 196, 170)
        tile[(columns - x) ** 2 + (rows - y) ** 2 < 60] = (240, 170, 60)
        tile[:, -2:] = 255
        tiles.append(tile)
    return np.concatenate(tiles, axis=1)


def made_up_report(streams, clips=432, classes=CLASSES, **changes):
    scores = [
        made_up_scores(name, strength, seed, clips, classes)
        for seed, (name, strength) in enumerate(streams.items())
    ]
    held_out = [
        made_up_scores(name, strength, 50 + seed, 108, classes)
        for seed, (name, strength) in enumerate(streams.items())
    ]
    fusion = fit_weights(held_out)
    fused = fuse(scores, fusion.weights, fusion.temperatures)
    rule = "highest Top-1 on validation subjects 3 and 7"
    results = [
        StreamResult(
            evaluate(part, selection=rule),
            views=10 if part.stream == "rgb" else 1,
            selected_epoch=52 - 3 * seed,
            last_epoch=60,
            last_top1=evaluate(part, resamples=10).top1 - 0.008,
            history=made_up_history(60, 0.9 - 0.03 * seed, seed),
        )
        for seed, part in enumerate(scores)
    ]
    judged = evaluate(fused, selection=rule)
    best = max(range(len(scores)), key=lambda index: results[index].evaluation.top1)
    pairs = [
        ConfusedPair(
            label,
            predicted,
            count,
            [
                FrameStrip(made_up_strip(2 * rank), f"{label}, called {predicted} at 0.61"),
                FrameStrip(made_up_strip(2 * rank + 1), f"{predicted}, a clip of training"),
            ],
        )
        for rank, (label, predicted, count) in enumerate(most_confused(judged, 3))
    ]
    facts = {
        "dataset": "UTD-MHAD (made-up numbers)",
        "protocol": "utd-mhad",
        "split": "test",
        "fingerprint": "9f2c41d07be34a5518c2" * 3 + "ab12",
        "code_version": "0.1.0 (a346750)",
        "hardware": "one H200, 16 CPU cores",
        "date": "2026-11-22",
        "streams": results,
        "fused": StreamResult(judged),
        "fusion": fusion,
        "gain": paired_difference(fused, scores[best]),
        "pairs": pairs,
        "costs": [
            CostRow(
                name, 35.1 if name == "rgb" else 0.91, 24_310_511 if name == "rgb" else 1_460_203
            )
            for name in streams
        ],
        "notes": ["2 clips were skipped: a16_s4_t1 and a16_s8_t3 hold no frame (VID-002)."],
        "commands": [
            "poselens train rgb data/utd --recipe utd-mhad --protocol utd-mhad --out runs/rgb",
            "poselens train skeleton data/utd --recipe utd-mhad --protocol utd-mhad --out runs/j",
            "poselens fuse runs/rgb runs/joint --data data/utd --protocol utd-mhad --out bundle",
            "poselens evaluate bundle data/utd --protocol utd-mhad --json",
        ],
        "facts": {"Seeds": "1"},
    }
    return ReportData(**{**facts, **changes})


@pytest.fixture(scope="session")
def five_streams():
    return made_up_report(
        {"rgb": 3.4, "joint": 4.0, "bone": 3.8, "joint-motion": 3.3, "bone-motion": 3.0}
    )


@pytest.fixture(scope="session")
def one_stream():
    return made_up_report(
        {"joint": 3.0},
        clips=60,
        classes=CLASSES[:6],
        fused=None,
        fusion=None,
        gain=None,
        pairs=(),
        costs=(),
        notes=(),
        facts={},
    )


def made_up_cards(found, clips, seed):
    """Cards of clips, the first of them with attributions."""
    cards = []
    for place, clip in enumerate(clips):
        label, verdict = int(found.labels[clip]), int(found.verdict[clip])
        names = found.classes[label], found.classes[verdict]
        told = f"{names[0]}, taken for {names[1]}"
        looked = [
            AttributionStrip(f"{each}, for {names[1]}", made_up_strip(seed + place)[:, :, ::-1])
            for each in (("rgb, Grad-CAM", "joint, gradients") if place == 0 else ())
        ]
        strip = FrameStrip(made_up_strip(seed + place), f"{told} ({found.ids[clip]})", looked)
        beliefs = found.beliefs(clip, verdict)
        loss = float(found.loss[clip])
        cards.append(ClipCard(found.ids[clip], told, *names, beliefs, strip, loss))
    return cards


def made_up_explorer(streams, clips=432, classes=CLASSES, shown=6):
    """A report with everything in it."""
    scores = [
        made_up_scores(name, strength, seed, clips, classes)
        for seed, (name, strength) in enumerate(streams.items())
    ]
    report = made_up_report(streams, clips, classes)
    fusion = replace(report.fusion, temperatures=dict.fromkeys(streams, 0.8))
    fused = fuse(scores, fusion.weights, fusion.temperatures)
    found, suspects = opinions([*scores, fused]), find_suspects(scores[:2])
    pairs = [
        ConfusedPair(
            classes[label],
            classes[predicted],
            count,
            cards=made_up_cards(found, found.of_pair(label, predicted)[:2].tolist(), place),
            fixes=found.fixes(label, predicted),
        )
        for place, (label, predicted, count) in enumerate(pairs_of(found, shown))
    ]
    curves = [Calibration(reliability(each), reliability(each, temperature=0.8)) for each in scores]
    rows = [["rgb", "0.71"], ["joint", "0.64"]]
    worst = found.worst(4)
    return replace(
        report,
        fused=StreamResult(evaluate(fused, selection="fitted on validation")),
        pairs=pairs,
        opinions=found,
        calibrations=[*curves, Calibration(reliability(fused))],
        worst=made_up_cards(found, worst, 20),
        review=LabelReview(suspects, made_up_cards(found, worst[:2], 30), "Made up.", "labels.csv"),
        sections=[
            Section("Robustness", "What is lost without joints.", None, None, ["A note."]),
            Section("Landscape", table=SectionTable(["Stream", "Top-1"], rows, "On validation.")),
        ],
        provenance=[Section("Data", table=SectionTable(["", ""], [["Licence", "CC BY"]]))],
    )


@pytest.fixture(scope="session")
def full_report():
    return made_up_explorer(
        {"rgb": 3.4, "joint": 4.0, "bone": 3.8, "joint-motion": 3.4, "bone-motion": 3.6}
    )
