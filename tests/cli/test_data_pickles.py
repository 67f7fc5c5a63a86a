"""``poselens data import`` of annotation pickles and of FineGym."""

import finegym_files
import pyskl_files
import pytest
from hostile_pickles import CANARY

from poselens.data.folder import open_folder


@pytest.mark.parametrize("files", [pyskl_files, finegym_files], ids=lambda files: files.__name__)
def test_import(poselens, tmp_path, files):
    words, protocol, _ = files.importing(tmp_path)
    answer = poselens("data", "import", *words, "--out", tmp_path / "out", "--json")
    assert answer.code == 0, answer.err
    folder = open_folder(tmp_path / "out")
    assert answer.facts["imported"] == len(folder)
    for part in ("train", "val", "test"):
        assert len(folder.indices(protocol, part))


def test_what_is_there_of_finegym_is_said(poselens, tmp_path):
    words, _, _ = finegym_files.importing(tmp_path)
    answer = poselens("data", "import", *words, "--out", tmp_path / "out", "--subset", "gym99")
    assert answer.code == 0
    assert "train: 24 of 24 listed clips, 2 of 99 classes have some" in answer.err
    assert "FineGym99 (24 of 20,484 train, 8 of 8,521 test clips); fingerprint" in answer.err
    assert "the lists have 24 and 8 clips, published are 20,484 and 8,521" in answer.err
    assert "1 of 4 events of test also train" in answer.err


def test_options_belong_to_their_format(poselens, tmp_path):
    words, _, _ = pyskl_files.importing(tmp_path)
    answer = poselens("data", "import", *words, "--out", tmp_path / "out", "--subset", "gym99")
    assert answer.code == 2
    assert "pyskl has no use for --subset" in answer.err
    answer = poselens("data", "import", *words, "--out", tmp_path / "out", "--layout", "ntu-25")
    assert (answer.code, "error[SKEL-004]" in answer.err) == (3, True)
    assert "these joints fit coco-17" in answer.err


def test_a_hostile_pickle_ends_the_command(poselens, tmp_path):
    src = tmp_path / "a.pkl"
    src.write_bytes(f"cos\nsystem\n(S'touch {tmp_path / CANARY}'\ntR.".encode())
    answer = poselens("data", "import", "pyskl", src, "--out", tmp_path / "out")
    assert answer.code == 3
    assert "error[PKL-002]" in answer.err
    assert "it asks for os.system, which is no plain data; nothing was run" in answer.err
    assert not (tmp_path / CANARY).exists()
    assert not (tmp_path / "out").exists()
