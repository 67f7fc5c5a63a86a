import numpy as np
import pytest

from poselens.data.folder import open_folder
from poselens.errors import InputError, UsageError
from poselens.evaluation.explorer import opinions
from poselens.fusion.scores import write_scores
from poselens.recipes.exploring import (
    Album,
    confused_pairs,
    search_files,
    search_result,
    suspect_cards,
    worst_clips,
)
from poselens.types import Scores


@pytest.fixture(scope="module")
def folder(drawn):
    return open_folder(drawn.data)


def said(folder, stream, seed, turned=()):
    """Scores that are right, but for clips whose label and the class before it change places."""
    draw = np.random.default_rng(seed)
    labels = np.array(folder.labels)
    seen = labels.copy()
    seen[list(turned)] = (labels[list(turned)] - 1) % len(folder.info.classes)
    logits = draw.normal(0, 0.3, (len(labels), len(folder.info.classes)))
    logits[np.arange(len(labels)), seen] += 6
    # surer than of the clips of that class
    logits[list(turned), seen[list(turned)]] += 3
    ids = folder.ids.tolist()
    return Scores(logits.astype(np.float32), ids, labels, list(folder.info.classes), stream)


def test_a_pair_shows_mistaken_and_recognised_clips_side_by_side(folder):
    found = opinions([said(folder, "rgb", 0), said(folder, "joint", 1, turned=[4, 20])])
    pairs = confused_pairs(found, Album(folder))
    assert sum(pair.count for pair in pairs) == 2
    for pair in pairs:
        told = [card.told for card in pair.cards]
        assert told[0] == f"{pair.label}, taken for {pair.predicted}"
        assert told[-2:] == [f"{pair.predicted}, recognised", f"{pair.label}, recognised"]
        assert {(card.label, card.other) for card in pair.cards} == {
            (pair.label, pair.predicted),
            (pair.predicted, pair.label),
        }
        rgb, joint = pair.fixes
        assert (rgb.right, rgb.same) == (pair.count, 0)
        assert (joint.right, joint.same) == (0, pair.count)


def test_the_worst_clips_are_those_of_highest_loss(folder):
    found = opinions([said(folder, "joint", 1, turned=[4, 20])])
    cards = worst_clips(found, Album(folder))
    assert {card.clip for card in cards} == {str(folder.ids[4]), str(folder.ids[20])}
    assert cards[0].loss >= cards[1].loss > 3


def test_files_of_two_streams_are_searched(folder, tmp_path):
    files = [tmp_path / "oof_rgb.npz", tmp_path / "oof_joint.npz"]
    for seed, file in enumerate(files):
        write_scores(file, said(folder, f"s{seed}", seed, turned=[7]))
    searched = search_files(files, folder)
    assert [entry.clip for entry in searched.found.entries] == [folder.ids[7]]
    assert "oof_rgb.npz and oof_joint.npz" in searched.source
    (card,) = suspect_cards(searched.found, Album(folder))
    label = folder.info.classes[folder.labels[7]]
    assert card.told == f"labelled {label}, perhaps {folder.info.classes[folder.labels[7] - 1]}"
    assert card.strip is not None


def test_scores_of_another_data_set_are_refused(folder, tmp_path):
    mine = said(folder, "rgb", 0)
    other = Scores(mine.logits[:, :3], mine.ids, np.zeros_like(mine.labels), list("abc"), "x")
    write_scores(tmp_path / "classes.npz", other)
    with pytest.raises(UsageError, match="found 3 classes, first a, b, c, expected") as told:
        search_files([tmp_path / "classes.npz"], folder)
    assert told.value.code == "EVAL-082"
    strange = ["elsewhere", *mine.ids[1:]]
    write_scores(
        tmp_path / "ids.npz", Scores(mine.logits, strange, mine.labels, mine.classes, "rgb")
    )
    with pytest.raises(UsageError, match="1 clips are not in the data set, first 'elsewhere'"):
        search_files([tmp_path / "ids.npz"], folder)
    with pytest.raises(InputError, match="file is missing"):
        search_files([tmp_path / "none.npz"], folder)


@pytest.mark.parametrize(
    ("part", "words"),
    [("test", "were not trained on"), ("val", "chosen on it"), ("train", "have learned wrong")],
)
def test_it_is_said_whose_scores_were_searched(folder, part, words):
    streams = [said(folder, "rgb", 0), said(folder, "joint", 1)]
    assert words in search_result(streams, part).source
    assert search_result(streams[:1], part) is None


def test_skeleton_streams_are_one_witness_beside_the_pictures(folder):
    rgb, joint, bone = (said(folder, name, 0, turned=[7]) for name in ("rgb", "joint", "bone"))
    # alone it would contradict the others, by little
    bone.logits[7] = 0.0
    bone.logits[7, folder.labels[7]] = 0.1
    for stream in (rgb, joint):
        stream.logits[7] *= 10
    rgb.logits[:] = np.where(np.arange(len(rgb.ids))[:, None] == 7, rgb.logits, rgb.logits / 4)
    joint.logits[:] = np.where(np.arange(len(rgb.ids))[:, None] == 7, joint.logits, rgb.logits)
    bone.logits[:] = np.where(np.arange(len(rgb.ids))[:, None] == 7, bone.logits, rgb.logits)
    searched = search_result([rgb, joint, bone], "test")
    assert list(searched.found.streams) == ["rgb", "skeleton"]
    assert [entry.clip for entry in searched.found.entries] == [str(folder.ids[7])]
    assert searched.found.entries[0].witnesses[1].other == pytest.approx(0.53, abs=0.02)
    apart = search_result([joint, bone], "test").found
    assert (list(apart.streams), list(apart.entries)) == (["joint", "bone"], [])


def test_a_clip_is_read_once(folder, monkeypatch):
    album, read = Album(folder), []
    monkeypatch.setattr(
        "poselens.recipes.exploring.clip_strip",
        lambda _, clip: read.append(clip) or np.zeros((2, 2, 3), np.uint8),
    )
    first = album.strip(str(folder.ids[0]), "a")
    second = album.strip(str(folder.ids[0]), "b")
    assert read == [0]
    assert first.pixels is second.pixels
    assert (first.caption, second.caption) == ("a", "b")
