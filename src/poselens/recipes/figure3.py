"""Figure 3: what several RGB networks look at, in rows, on the same frames of the same clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poselens.checkpoint import make_folder, write_bytes
from poselens.clips.stream import RgbStream
from poselens.data.folder import ClipFolder
from poselens.errors import UsageError
from poselens.explain.cam import Method
from poselens.explain.overlay import draw_cut, draw_heat
from poselens.explain.strips import Kind, Section, StripRow, render, strip_figure
from poselens.recipes.choosing import Chosen, choose_clips, classes_asked
from poselens.recipes.explaining import load_plain
from poselens.recipes.rgb_explaining import RgbExplanation, explain_rgb
from poselens.recipes.seen_clip import see_clip
from poselens.recognition.bundle import Bundle
from poselens.recognition.streams import TrainedStream

_NAMES = {
    (False, False): "baseline",
    (True, False): "MA",
    (False, True): "TA",
    (True, True): "STAA",
}


_ASKED = {
    "label": "the clip's own class",
    "predicted": "the class each network gives",
    "pair": "the clip's own class rather than the one next to it",
}


@dataclass(frozen=True)
class _Question:
    about: str
    method: Method
    layer: str | None


@dataclass(frozen=True, eq=False)
class Network:
    """One row of the figure: a run, its RGB stream, and what it says of the clips."""

    name: str
    run: Path
    bundle: Bundle
    trained: TrainedStream
    chosen: Chosen


def draw_figure3(
    runs: Sequence[Path],
    folder: ClipFolder,
    protocol: str,
    out: Path,
    *,
    ids: Sequence[str] = (),
    method: Method = "gradcam",
    layer: str | None = None,
    about: str = "label",
    device: str = "auto",
) -> dict[str, Any]:
    """Draw the same frames under the maps of several networks, and return the facts.

    Departure: the paper shows one clip and does not say how it was chosen or which class is
    explained. Without named clips, here it is the test clip of which the last network is surest
    among those it gets right. The class is the clip's own.

    Args:
        runs: RGB runs or bundles: the baseline, MA and STAA, or any others.
        folder: The data set they were trained on.
        protocol: Name of the split.
        out: Target; ``.png`` or ``.svg``.
        ids: Clips.
        method: Of attribution.
        layer: Of the networks; None for the last of each.
        about: Class that is explained: ``label``, ``predicted`` by each network, or a name.
        device: ``cpu``, ``cuda`` or ``auto``.

    Raises:
        UsageError: ``EXP-007`` for another suffix, ``EXP-012`` for networks that read other
            frames, ``EXP-006`` for a run without pictures; else as `explain_rgb`, `choose_clips`.
    """
    kind = _kind(out)
    bundles = [require_rgb(load_plain(run, device), run) for run in runs]
    if not ids:
        best = choose_clips(bundles[-1], folder, protocol, top=1, pick="right")
        ids = [str(folder.ids[clip]) for clip in best.clips]
    networks = [
        _network(run, bundle, choose_clips(bundle, folder, protocol, ids=ids))
        for run, bundle in zip(runs, bundles, strict=True)
    ]
    make_folder(out.parent)
    question = _Question(about, method, layer)
    drawn = [
        _clip(networks, folder, protocol, row, question)
        for row in range(len(networks[0].chosen.clips))
    ]
    figure = strip_figure(
        [section for section, _ in drawn],
        title=f"{method}: " + ", ".join(each.name for each in networks),
        subtitle=f"{folder.info.name}; what speaks for {_ASKED.get(about, about)}; "
        "colours are scaled for each row",
    )
    write_bytes(out, render(figure, kind, name="figure3"))
    facts = {"dataset": folder.info.name, "protocol": protocol, "method": method, "about": about}
    named = [{"name": each.name, "run": str(each.run)} for each in networks]
    clips = [facts for _, facts in drawn]
    return {"figure": str(out), **facts, "networks": named, "clips": clips}


def _clip(
    networks: Sequence[Network], folder: ClipFolder, protocol: str, row: int, question: _Question
) -> tuple[Section, dict[str, Any]]:
    """Return the rows of one clip and its facts."""
    clip = int(networks[0].chosen.clips[row])
    found = [_explained(each, folder, row, question) for each in networks]
    _require_same_frames(networks, found)
    label, part = int(folder.labels[clip]), str(folder.parts(protocol)[clip])
    known = folder.info.classes[label] if label >= 0 else "no label"
    title = f"{folder.ids[clip]}: {known} ({part or 'no'} part of {protocol})"
    # networks that look at other regions are compared in the whole frame
    places = {(each.seen.placement, each.seen.cut) for each in found}
    whole = found[0].seen.whole_frames() if len(places) > 1 else None
    rows = [StripRow("original", found[0].seen.pictures if whole is None else whole)]
    rows += [_row(each, one, row, whole) for each, one in zip(networks, found, strict=True)]
    facts = {
        "id": str(folder.ids[clip]),
        "label": known,
        "part": part or None,
        "networks": [
            {
                "name": network.name,
                "predicted": network.bundle.classes[int(network.chosen.predicted[row])],
                "probability": float(np.nanmax(network.chosen.probabilities[row])),
                **each.as_dict(),
            }
            for network, each in zip(networks, found, strict=True)
        ],
    }
    return Section(rows, found[0].seen.times, title), facts


def _kind(out: Path) -> Kind:
    if out.suffix == ".png":
        return "png"
    if out.suffix == ".svg":
        return "svg"
    raise UsageError(
        "EXP-007",
        f"found a picture of kind {out.suffix!r}",
        file=out,
        mend="name it .png or .svg",
    )


def require_rgb(bundle: Bundle, model: Path) -> Bundle:
    """Return a bundle that has an RGB stream.

    Raises:
        UsageError: ``EXP-006`` for one without.
    """
    if not any(isinstance(trained.stream, RgbStream) for trained in bundle.streams):
        names = ", ".join(trained.stream.name for trained in bundle.streams)
        raise UsageError(
            "EXP-006",
            f"no stream of {names} sees pictures",
            file=model,
            mend="give a run or bundle with an RGB stream",
        )
    return bundle


def _network(run: Path, bundle: Bundle, chosen: Chosen) -> Network:
    """Name a network by what it has of Table 4: MA, TA, both or neither."""
    trained = next(each for each in bundle.streams if isinstance(each.stream, RgbStream))
    assert isinstance(trained.stream, RgbStream)
    settings = trained.stream.network
    return Network(_NAMES[settings.attend, settings.aggregate], run, bundle, trained, chosen)


def _explained(
    network: Network, folder: ClipFolder, row: int, question: _Question
) -> RgbExplanation:
    assert isinstance(network.trained.stream, RgbStream)
    wanted, against = classes_asked(question.about, network.chosen, network.bundle.classes)
    seen = see_clip(folder, int(network.chosen.clips[row]), network.trained.stream.input)
    return explain_rgb(
        network.trained,
        seen,
        int(wanted[row]),
        None if against is None else int(against[row]),
        method=question.method,
        layer=question.layer,
    )


def _require_same_frames(networks: Sequence[Network], found: Sequence[RgbExplanation]) -> None:
    first = found[0].seen.frames
    for network, each in zip(networks, found, strict=True):
        if not np.array_equal(each.seen.frames, first):
            raise UsageError(
                "EXP-012",
                f"the networks read other frames: {first.tolist()} and "
                f"{each.seen.frames.tolist()} of clip {each.seen.id}",
                file=network.run,
                mend="compare runs of the same input.segments and input.snippet",
            )


def _row(
    network: Network, found: RgbExplanation, row: int, whole: NDArray[np.uint8] | None
) -> StripRow:
    says = network.chosen.streams[network.trained.stream.name][row]
    best = int(np.nan_to_num(says, nan=-1).argmax())
    note = f"says {network.bundle.classes[best]}\n{100 * says[best]:.0f} %"
    if whole is None:
        drawn = draw_heat(found.seen.pictures, found.maps)
    else:
        drawn = draw_cut(draw_heat(whole, found.in_whole_frames()), *found.seen.cut)
    return StripRow(network.name, drawn, note, found.curve)
