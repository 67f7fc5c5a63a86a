import numpy as np
import pytest

from poselens.data.folder import open_folder
from poselens.data.info import ClipRecord, DatasetInfo, ProtocolInfo, SkeletonInfo
from poselens.data.writer import FolderWriter
from poselens.errors import UsageError
from poselens.recipes.clustering import choose_units


@pytest.fixture
def made(tmp_path):
    """Make a data set of clips with these subjects and sources."""

    def make(subjects, sources=None, views=None):
        info = DatasetInfo(
            name="people",
            classes=["a", "b"],
            skeletons={"pixels": SkeletonInfo(layout="coco-17", dimensions=2)},
            protocols={"p": ProtocolInfo(description="by clip")},
        )
        with FolderWriter(tmp_path / "data", info) as writer:
            for clip, subject in enumerate(subjects):
                record = ClipRecord(
                    f"c{clip}",
                    None,
                    clip % 2,
                    subject=subject,
                    source="" if sources is None else sources[clip],
                    view="" if views is None else views[clip],
                )
                writer.add(record, {"p": "test"}, {"pixels": np.ones((1, 2, 17, 2), np.float32)})
        folder = open_folder(tmp_path / "data")
        return folder, folder.ids.tolist()

    return make


@pytest.mark.parametrize(("count", "told"), [(5, 1), (9, 1), (10, 0)])
def test_five_subjects_are_drawn_and_few_are_called_rough(made, count, told):
    folder, ids = made([f"s{clip % count}" for clip in range(20)])
    units = choose_units(folder, ids)
    assert (units.name, len(set(units.groups.values()))) == ("subject", count)
    assert units.of(["c1", "c0"]) == ["s1", "s0"]
    assert len(units.told) == told
    assert all(f"over {count} subjects, so few that they are rough" in each for each in units.told)


@pytest.mark.parametrize(
    ("subjects", "told"),
    [
        (["s1", "s2", "s3", "s4"] * 3, "4 subjects are too few to draw, so they speak of these"),
        (["s1"] * 12, "1 subject is too few to draw"),
        ([f"s{clip}" for clip in range(11)] + [""], "not every clip has a subject"),
        ([""] * 12, "the data set does not say who acts"),
    ],
)
def test_clips_are_drawn_where_people_cannot_be_and_it_is_said(made, subjects, told):
    folder, ids = made(subjects)
    units = choose_units(folder, ids)
    assert (units.name, units.groups, units.of(ids)) == ("clip", None, None)
    (sentence,) = units.told
    assert told in sentence
    assert sentence.startswith("the intervals are over clips")


def test_recordings_are_drawn_where_nobody_is_known(made):
    folder, ids = made([""] * 12, sources=[f"v{clip // 2}" for clip in range(12)])
    units = choose_units(folder, ids)
    assert (units.name, len(set(units.groups.values()))) == ("source", 6)
    # recordings of one clip each say no more than the clips
    assert choose_units(folder, ids[::2]).name == "clip"


def test_what_was_asked_for_is_drawn(made):
    folder, ids = made(["s1", "s2"] * 6, views=["left", "right", ""] * 4)
    assert choose_units(folder, ids, "clip").told == ()
    assert choose_units(folder, ids, "subject").name == "subject"
    units = choose_units(folder, ids, "view")
    assert units.told == (
        "the intervals are over 6 views, so few that they are rough",
        "4 clips have no view, each of them is drawn by itself",
    )


@pytest.mark.parametrize(
    ("cluster", "text"),
    [
        ("person", "found cluster 'person', expected auto, clip, subject"),
        ("session", r"the clips are of 0 session\(s\), expected 2 or more"),
        ("view", r"the clips are of 1 view\(s\), expected 2 or more"),
    ],
)
def test_what_cannot_be_drawn(made, cluster, text):
    folder, ids = made(["s1"] * 4, views=["left"] * 4)
    with pytest.raises(UsageError, match=text) as caught:
        choose_units(folder, ids, cluster)
    assert caught.value.code == "CMP-005"
