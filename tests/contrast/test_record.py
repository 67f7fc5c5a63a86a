import numpy as np

from poselens.contrast.record import read_contrasted, write_contrasted
from poselens.contrast.tally import Contrasted


def contrasted(seed):
    draw = np.random.default_rng(seed)
    similarity = draw.normal(size=(3, 3)).astype(np.float32).astype(np.float64)
    similarity[1, 2] = np.nan
    return Contrasted(
        taken={name: draw.integers(0, 9, (3, 3)) for name in ("hard", "class-aware")},
        similarity=similarity,
        compared=draw.integers(0, 9, (3, 3)),
    )


def test_what_is_written_is_read(tmp_path):
    for epoch in (2, 1, 10):
        write_contrasted(tmp_path, epoch, contrasted(epoch))
    assert sorted(path.name for path in (tmp_path / "contrast").iterdir()) == [
        "0001.npz",
        "0002.npz",
        "0010.npz",
    ]
    found = read_contrasted(tmp_path)
    assert list(found) == [1, 2, 10]
    for epoch, read in found.items():
        expected = contrasted(epoch)
        assert set(read.taken) == {"hard", "class-aware"}
        for name, counts in expected.taken.items():
            np.testing.assert_array_equal(read.taken[name], counts)
            assert read.taken[name].dtype == np.int64
        np.testing.assert_array_equal(read.similarity, expected.similarity)
        np.testing.assert_array_equal(read.compared, expected.compared)


def test_an_epoch_done_again_is_written_again(tmp_path):
    write_contrasted(tmp_path, 1, contrasted(1))
    write_contrasted(tmp_path, 1, contrasted(2))
    np.testing.assert_array_equal(read_contrasted(tmp_path)[1].similarity, contrasted(2).similarity)


def test_a_run_without_contrast_has_nothing(tmp_path):
    assert read_contrasted(tmp_path) == {}
