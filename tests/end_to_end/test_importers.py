"""Every format: imported, checked, trained on for an epoch, evaluated, by the commands."""

from collections.abc import Callable
from pathlib import Path

import boris_files
import ctr_gcn_npz_files
import elan_files
import finegym_files
import keypoint_files
import ntu_files
import published_files
import pyskl_files
import pytest
import utd_mat_files
from drawn import SMALL_RGB, SMALL_SKELETON

from poselens.data.folder import open_folder
from poselens.recipes import load
from poselens.recipes.pipeline import settings_for

SOURCES: dict[str, Callable[[Path], tuple[list[object], str, str]]] = {
    "nw-ucla": published_files.importing_nw_ucla,
    "utd-mhad": published_files.importing_utd_mhad,
    "bandai2": published_files.importing_bandai2,
    "folder": published_files.importing_folder,
    "csv": published_files.importing_csv,
    "ntu60": ntu_files.importing,
    "ctr-gcn": ctr_gcn_npz_files.importing,
    "pyskl": pyskl_files.importing,
    "finegym": finegym_files.importing,
    "boris": boris_files.importing,
    "elan": elan_files.importing,
    "utd-mhad-published": utd_mat_files.importing,
    **keypoint_files.IMPORTING,
}


def sets(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


@pytest.mark.parametrize("name", SOURCES)
def test_from_files_to_a_number(poselens, tmp_path, name):
    (tmp_path / "source").mkdir()
    words, protocol, branch = SOURCES[name](tmp_path / "source")
    data = tmp_path / "data"
    imported = poselens("data", "import", *words, "--out", data, "--json")
    assert imported.code == 0, imported.err
    folder = open_folder(data)
    assert imported.facts["imported"] == len(folder) >= 12
    parts = {part: folder.indices(protocol, part) for part in ("train", "val", "test")}
    assert len(set(folder.labels[parts["train"]])) >= 2
    checked = poselens("data", "check", data, "--out", tmp_path / "check", "--json")
    # made-up clips may look like copies of each other, which is a finding; all can be read
    assert checked.code in (0, 1), checked.err
    assert (checked.facts["clips"], checked.facts["unreadable"]) == (len(folder), 0)
    leaks = checked.facts["protocols"][protocol]["leaks"]
    assert not [leak for leak in leaks if leak["severe"] and leak["kind"] != "clip"]
    for kind in ("rgb", "skeleton") if branch == "both" else (branch,):
        own = SMALL_RGB if kind == "rgb" else SMALL_SKELETON
        asked = settings_for(folder, load("tiny"), "rgb" if kind == "rgb" else "joint")
        out = tmp_path / kind
        trained = poselens(
            "train", kind, data, "--recipe", "tiny", "--protocol", protocol, "--out", out,
            "--device", "cpu", *sets(*own, *asked), "--json",
        )  # fmt: skip
        assert trained.code == 0, trained.err
        judged = poselens("evaluate", out, data, "--protocol", protocol, "--json")
        assert judged.code == 0, judged.err
        assert judged.facts["n"] == len(parts["test"])
        assert 0 <= judged.facts["top1"] <= 1
