"""A run on a data set whose test part shares people with train."""

import json
import shutil

import pytest

from poselens.data.folder import open_folder
from poselens.errors import AnnotationError
from poselens.training.run import train


@pytest.fixture
def leaky(tiny_folder, tmp_path):
    """A copy in which everybody acts in every part."""
    root = tmp_path / "leaky"
    shutil.copytree(tiny_folder, root, ignore=shutil.ignore_patterns(".cache"))
    rows = [line.split(",") for line in (root / "clips.csv").read_text().splitlines()]
    place = rows[0].index("subject")
    for number, row in enumerate(rows[1:]):
        row[place] = f"s{number % 2}"
    (root / "clips.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    return root


def test_a_leaky_split_is_refused_before_anything_is_written(leaky, tiny_request, tiny_section):
    request = tiny_request(root=leaky)
    with pytest.raises(AnnotationError, match=r"2 subjects \(s0, s1\) are in both train") as caught:
        train(open_folder(leaky), tiny_section("skeleton"), request)
    assert caught.value.code == "DATA-060"
    assert [path.name for path in request.out.iterdir() if not path.name.startswith(".")] == []


def test_an_allowed_leak_is_kept_with_the_run(leaky, tiny_request, tiny_section):
    folder, section = open_folder(leaky), tiny_section("skeleton", epochs=1)
    finished = train(folder, section, tiny_request(root=leaky, allow_leakage=True))
    kept = json.loads((tiny_request().out / "run.json").read_text())["data"]["leakage"]
    assert kept == finished.facts["data"]["leakage"]
    assert [(leak["kind"], leak["parts"], leak["severe"]) for leak in kept] == [
        ("subject", ["train", "test"], True),
        ("subject", ["val", "test"], True),
        ("subject", ["train", "val"], False),
    ]
    assert kept[0]["told"] == "train and test share 2 subjects (s0, s1): 2 of 2 test clips"
    # the permission is no setting: the run is the same without it, and is complete
    again = train(folder, section, tiny_request(root=leaky, resume=True))
    assert again.facts == json.loads(json.dumps(finished.facts))


def test_a_clean_split_has_nothing_to_tell(tiny_folder, tiny_request, tiny_section):
    finished = train(open_folder(tiny_folder), tiny_section("skeleton", epochs=1), tiny_request())
    assert finished.facts["data"]["leakage"] == []
