import pytest
from copied_clips import copied_folder, write

from poselens.data.folder import open_folder
from poselens.errors import UsageError
from poselens.recipes.protocols import published_test_clips, resolve_protocol


def test_a_data_sets_own_name_is_its_own(tmp_path):
    folder = write(tmp_path / "d", ["train", "test"], names=("mine",))
    found = resolve_protocol(folder, "mine")
    assert (found.name, found.published, found.notes, found.title) == ("mine", None, [], "mine")


def test_a_published_name_finds_the_split_and_tells_a_subset(tmp_path):
    folder = write(tmp_path / "d", ["train"] * 6 + ["val"] * 2 + ["test"] * 4)
    found = resolve_protocol(folder, "nw-ucla")
    assert (found.name, found.published.name, found.title) == ("nw-ucla", "nw-ucla", "nw-ucla")
    assert [note.split(";")[0] for note in found.notes] == [
        "a subset: 8 of the 1,020 train clips of nw-ucla",
        "a subset: 4 of the 464 test clips of nw-ucla",
    ]
    assert found.clips is None


def test_an_alias_is_taken_and_told(tmp_path):
    sixty = [f"a{number}" for number in range(60)]
    folder = write(tmp_path / "d", ["train", "test", "test"], classes=sixty, names=("xsub",))
    found = resolve_protocol(folder, "ntu60-xsub")
    assert (found.name, found.title) == ("xsub", "ntu60-xsub (here 'xsub')")
    assert "2 of the 16,487 test clips" in found.notes[1]
    with pytest.raises(UsageError, match="no split that could be ntu60-xview") as caught:
        resolve_protocol(folder, "ntu60-xview")
    assert caught.value.code == "EVAL-041"


def test_another_number_of_classes_is_another_data_set(tmp_path):
    folder = write(tmp_path / "d", ["train", "test"])
    with pytest.raises(UsageError, match="ntu60-xsub has 60 classes .* has 10") as caught:
        resolve_protocol(folder, "ntu60-xsub")
    assert caught.value.code == "EVAL-041"
    # a name that the data set gives to a split of its own is no claim
    other = write(tmp_path / "e", ["train", "test"], classes=["a", "b"])
    found = resolve_protocol(other, "nw-ucla")
    assert (found.name, found.published) == ("nw-ucla", None)
    assert found.notes[0].startswith("not the published nw-ucla: nw-ucla has 10 classes")


def test_more_clips_than_are_published_are_not_the_protocol(tmp_path):
    folder = write(tmp_path / "d", ["train"] + ["test"] * 370)
    with pytest.raises(UsageError, match="found 370 clips in the test part") as caught:
        resolve_protocol(folder, "nw-ucla-no-copies")
    assert caught.value.code == "EVAL-040"


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path):
    folder = write(tmp_path / "d", ["train", "test"])
    with pytest.raises(UsageError, match="'ntu60-xsb'; did you mean 'ntu60-xsub'") as caught:
        resolve_protocol(folder, "ntu60-xsb")
    assert caught.value.code == "CFG-004"


def test_copies_of_training_and_validation_clips_are_left_out(tmp_path):
    folder = copied_folder(tmp_path / "d")
    found = resolve_protocol(folder, "nw-ucla-no-copies")
    # 9 is a copy of another test clip, which tells nothing of training
    assert folder.ids[found.clips].tolist() == ["c006", "c008", "c009"]
    assert found.copies == 2
    assert found.notes[0].startswith("2 of 5 test clips are copies")
    assert "3 of the 369 test clips of nw-ucla-no-copies" in found.notes[-1]
    assert resolve_protocol(folder, "nw-ucla-no-copies", "val").clips is None


def test_counts_of_test_parts():
    assert published_test_clips("utd-mhad") == 430
    assert published_test_clips("drawn") is None
    assert published_test_clips("mine") is None


@pytest.mark.shared
@pytest.mark.parametrize("name", ["nw-ucla", "utd-mhad", "bandai2"])
def test_real_data_sets_have_the_counts_that_are_said(shared, tmp_path, name):
    from poselens.data.bandai2 import import_bandai2
    from poselens.data.nw_ucla import import_nw_ucla
    from poselens.data.utd_mhad import import_utd_mhad

    importers = {"nw-ucla": import_nw_ucla, "utd-mhad": import_utd_mhad, "bandai2": import_bandai2}
    importers[name](shared / "data" / name.replace("-", "_"), tmp_path / "d")
    folder = open_folder(tmp_path / "d")
    found = resolve_protocol(folder, name)
    assert (found.published.name, found.notes) == (name, [])
    if name == "nw-ucla":
        apart = resolve_protocol(folder, "nw-ucla-no-copies")
        assert (len(apart.clips), apart.copies) == (369, 95)
        assert len(apart.notes) == 1
