import numpy as np
import pytest

from poselens.contrast.record import read_contrasted, write_contrasted
from poselens.contrast.tally import Contrasted
from poselens.errors import CheckpointError


def contrasted(classes, samplers=("class-aware", "random")):
    draw = np.random.default_rng(classes)
    shape = (classes, classes)
    similarity = draw.uniform(-1, 1, shape)
    similarity[0, -1] = np.nan
    taken = {name: draw.integers(0, 99, shape) for name in samplers}
    return Contrasted(taken, similarity, draw.integers(0, 9, shape))


def test_what_was_written_comes_back_by_epoch(tmp_path):
    written = {epoch: contrasted(4) for epoch in (1, 2, 12)}
    for epoch, entry in written.items():
        write_contrasted(tmp_path, epoch, entry)
    found = read_contrasted(tmp_path)
    assert list(found) == [1, 2, 12]
    for epoch, entry in found.items():
        np.testing.assert_allclose(entry.similarity, written[epoch].similarity, rtol=1e-6)
        np.testing.assert_array_equal(entry.compared, written[epoch].compared)
        assert entry.taken.keys() == {"class-aware", "random"}
        for name, counts in entry.taken.items():
            np.testing.assert_array_equal(counts, written[epoch].taken[name])


def test_an_epoch_done_again_is_written_again(tmp_path):
    write_contrasted(tmp_path, 1, contrasted(4, samplers=("hard",)))
    write_contrasted(tmp_path, 1, contrasted(4))
    assert read_contrasted(tmp_path)[1].taken.keys() == {"class-aware", "random"}
    assert len(list((tmp_path / "contrast").iterdir())) == 1


def test_a_run_without_contrast_has_nothing(tmp_path):
    assert read_contrasted(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"some text\n"])
def test_a_damaged_record_is_named(tmp_path, content):
    write_contrasted(tmp_path, 1, contrasted(3))
    (tmp_path / "contrast" / "0002.npz").write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"0002\.npz: not a record .*remove this file"
    ) as told:
        read_contrasted(tmp_path)
    assert told.value.code == "CKPT-017"


def test_other_arrays_and_other_classes_are_refused(tmp_path):
    write_contrasted(tmp_path, 1, contrasted(3))
    second = tmp_path / "contrast" / "0002.npz"
    with second.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(CheckpointError, match="not a record of contrast"):
        read_contrasted(tmp_path)
    np.savez(second, other=np.zeros(3))
    with pytest.raises(CheckpointError, match="not a record of contrast"):
        read_contrasted(tmp_path)
    write_contrasted(tmp_path, 2, contrasted(4))
    with pytest.raises(CheckpointError, match="expected tables of 3 classes"):
        read_contrasted(tmp_path)
    write_contrasted(tmp_path, 2, contrasted(3, samplers=()))
    with pytest.raises(CheckpointError, match="expected tables of 3 classes"):
        read_contrasted(tmp_path)
