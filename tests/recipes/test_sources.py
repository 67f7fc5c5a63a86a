import shutil

import pytest

from poselens.errors import AnnotationError, UsageError
from poselens.recipes.sources import as_folder


@pytest.fixture
def classes(drawn, tmp_path):
    source = tmp_path / "source"
    for name in ("sit", "stand"):
        (source / name).mkdir(parents=True)
        for clip in range(3):
            shutil.copy(drawn.video, source / name / f"{clip}.mp4")
    return source


def test_a_data_set_folder_is_opened_where_it_lies(drawn, tmp_path):
    folder, notes = as_folder(drawn.data, tmp_path / "made")
    assert folder.root == drawn.data
    assert notes == []
    assert not (tmp_path / "made").exists()


def test_a_folder_of_videos_is_imported_once(classes, tmp_path):
    (classes / "sit" / "broken.mp4").write_text("404")
    folder, notes = as_folder(classes, tmp_path / "made")
    assert folder.info.classes == ["sit", "stand"]
    assert len(folder) == 6
    assert len(notes) == 1
    assert "VID-003" in notes[0]
    # the second time it is there already, whatever became of the source
    shutil.rmtree(classes / "sit")
    again, still = as_folder(classes, tmp_path / "made")
    assert (len(again), still) == (6, notes)


def test_a_csv_is_imported(classes, tmp_path):
    (classes / "clips.CSV").write_text(
        "video,label,split\nsit/0.mp4,sit,train\nstand/0.mp4,stand,test\n"
    )
    folder, _ = as_folder(classes / "clips.CSV", tmp_path / "made")
    assert list(folder.parts("given")) == ["train", "test"]


def test_nothing_of_the_kind(drawn, tmp_path):
    for source in (tmp_path / "nowhere", drawn.video):
        with pytest.raises(UsageError, match="not a data set folder, a folder of videos") as caught:
            as_folder(source, tmp_path / "made")
        assert caught.value.code == "DATA-001"
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="nothing to import"):
        as_folder(tmp_path / "empty", tmp_path / "made")
