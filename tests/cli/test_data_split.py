import pytest
from plain_folder import write_plain

from poselens.data.folder import open_folder

ENTRIES = [
    {
        "subject": f"s{n % 6}", "source": f"r{n % 12}", "label": ["jump", "turn"][n // 15],
        "start_s": n // 12, "end_s": n // 12 + 1, "split:p": ["train", "test"][n % 2],
    }
    for n in range(30)
]  # fmt: skip


@pytest.fixture
def root(tmp_path):
    return write_plain(tmp_path / "data", ENTRIES)


def test_a_split_by_people_is_written_and_shown(poselens, root):
    answer = poselens("data", "split", root, "--name", "people", "--by", "subject")
    assert answer.code == 0
    assert "all classes" in answer.out
    assert answer.err == f"{root}: people written\n"
    folder = open_folder(root)
    assert set(folder.parts("people")) == {"train", "val", "test"}
    assert folder.info.protocols["people"].group == "subject"


def test_leaks_are_shown(poselens, root):
    answer = poselens("data", "split", root, "--name", "q", "--by", "id")
    assert "LEAK: train and test share" in answer.err
    answer = poselens("data", "split", root, "--name", "t", "--by", "time", "--json")
    (made,) = answer.facts["protocols"]
    assert made["group"] == "time"
    assert {leak["kind"] for leak in made["leakage"]} == {"subject", "source"}
    assert not any(leak["severe"] for leak in made["leakage"])
    assert made["counts"]["all classes"]["test"] > 0


def test_a_dry_run_writes_nothing(poselens, root):
    before = {path.name: path.read_bytes() for path in root.iterdir()}
    words = ("--by", "subject", "--folds", 3, "--dry-run")
    answer = poselens("data", "split", root, "--name", "cv", *words, "--json")
    assert [entry["protocol"] for entry in answer.facts["protocols"]] == ["cv-1", "cv-2", "cv-3"]
    assert answer.facts["written"] is False
    assert {path.name: path.read_bytes() for path in root.iterdir()} == before
    answer = poselens("data", "split", root, "--name", "cv", *words)
    assert answer.err.endswith("cv-1, cv-2, cv-3 not written: --dry-run\n")


def test_a_protocol_is_replaced_only_where_asked(poselens, root):
    words = ("data", "split", root, "--name", "p", "--by", "subject+source", "--from", "p")
    refused = poselens(*words)
    assert refused.code == 2
    assert "DATA-057" in refused.err
    before = open_folder(root).parts("p") == "test"
    assert poselens(*words, "--val", "0.1", "--overwrite").code == 0
    folder = open_folder(root)
    assert ((folder.parts("p") == "test") == before).all()
    assert "val" in folder.parts("p")


def test_values_and_reasons_are_taken(poselens, root):
    answer = poselens(
        "data", "split", root, "--name", "q", "--by", "source", "--test-values", "r0, r1",
        "--val-values", "r2", "--shares", "subject=the same people are meant", "--json",
    )  # fmt: skip
    (made,) = answer.facts["protocols"]
    assert made["shares"] == {"subject": "the same people are meant"}
    assert not any(leak["severe"] for leak in made["leakage"])
    for wrong in ("subject", "subject=", "clip=x"):
        answer = poselens(
            "data", "split", root, "--name", "q2", "--by", "source", "--shares", wrong
        )
        assert answer.code == 2
        assert "DATA-055" in answer.err


def test_a_long_list_of_classes_is_cut_short(poselens, tmp_path):
    classes = [f"class {n:03d}" for n in range(80)]
    entries = [{"subject": f"s{n % 5}", "label": classes[n % 80]} for n in range(400)]
    root = write_plain(tmp_path / "many", entries, classes=classes)
    answer = poselens("data", "split", root, "--name", "q", "--by", "subject")
    assert "20 classes more; --json has all" in answer.out
    assert "class 059" in answer.out
    assert "class 060" not in answer.out
    assert "all classes" in answer.out


def test_comments_that_are_lost_are_told(poselens, root):
    (root / "dataset.yaml").write_text(
        "{name: x, classes: [jump, turn, fall], protocols: {p: {description: d}}}  # a note\n"
    )
    answer = poselens("data", "split", root, "--name", "q", "--by", "subject")
    assert "comments in it are gone" in answer.err
    assert list(open_folder(root).info.protocols) == ["p", "q"]


def test_a_folder_that_is_none_is_refused(poselens, tmp_path):
    (tmp_path / "file").touch()
    for name, message in (("nowhere", "does not exist"), ("file", "is not a folder")):
        answer = poselens("data", "split", tmp_path / name, "--name", "q", "--by", "subject")
        assert answer.code == 2
        assert "DATA-001" in answer.err
        assert message in answer.err
