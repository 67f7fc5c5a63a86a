import csv

import pytest
from plain_folder import plain, write_plain

from poselens.data import resplit
from poselens.data.folder import open_folder
from poselens.data.parting import Wish, part_clips
from poselens.data.resplit import only_writer, require_names, write_protocols
from poselens.data.table import PENDING_FILE
from poselens.errors import AnnotationError, UsageError

ENTRIES = [
    {"subject": f"s{n % 6}", "label": ["jump", "turn"][n % 2], "split:p": ["train", "test"][n % 2]}
    for n in range(30)
]


@pytest.fixture
def root(tmp_path):
    return write_plain(tmp_path / "data", ENTRIES)


def made(folder, name="q", **wish):
    return part_clips(folder, name, Wish(("subject",), **wish))


def test_what_is_written_is_read_again(root):
    folder = open_folder(root)
    three = made(folder, folds=3)
    assert write_protocols(folder, three) is None
    again = open_folder(root)
    assert list(again.info.protocols) == ["p", "q-1", "q-2", "q-3"]
    for parted in three:
        assert again.parts(parted.name).tolist() == parted.parts
        assert again.info.protocols[parted.name] == parted.about
    assert again.parts("p").tolist() == folder.parts("p").tolist()
    assert [again.record(n) for n in range(30)] == [folder.record(n) for n in range(30)]
    assert not (root / PENDING_FILE).exists()
    assert sorted(path.name for path in root.iterdir()) == ["clips.csv", "dataset.yaml"]


def test_a_protocol_is_replaced_at_its_place(root):
    (root / "dataset.yaml").write_text(
        "# mine\n" + (root / "dataset.yaml").read_text() + "# end\n", encoding="utf-8"
    )
    folder = open_folder(root)
    write_protocols(folder, made(folder, "p", seed=3))
    again = open_folder(root)
    assert list(again.info.protocols) == ["p"]
    assert again.info.protocols["p"].description.endswith("seed 3")
    assert "val" in again.parts("p").tolist()
    header = (root / "clips.csv").read_text().splitlines()[0]
    assert header.endswith(",event,split:p")
    text = (root / "dataset.yaml").read_text()
    assert "# mine" in text
    assert "# end" in text


def test_a_file_of_a_spreadsheet_keeps_its_mark_and_line_ends(root):
    text = (root / "clips.csv").read_text()
    (root / "clips.csv").write_bytes(("\ufeff" + text.replace("\n", "\r\n")).encode())
    folder = open_folder(root)
    write_protocols(folder, made(folder))
    content = (root / "clips.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfid,")
    assert content.count(b"\r\n") == content.count(b"\n") == 31
    assert open_folder(root).parts("q").tolist() == made(folder)[0].parts


@pytest.mark.parametrize("name", ["q", "p"])
def test_a_crash_at_any_moment_leaves_a_data_set_that_opens(root, monkeypatch, name):
    folder = open_folder(root)
    before = folder.parts("p").tolist()
    (parted,) = made(folder, name)
    whole = resplit.write_replacing
    files = [root / "clips.csv", root / "dataset.yaml"]
    kept = [path.read_bytes() for path in files]
    for fails_at in range(5):
        for path, content in zip(files, kept, strict=True):
            path.write_bytes(content)
        (root / PENDING_FILE).unlink(missing_ok=True)
        written = []

        def write(path, content, at=fails_at, written=written):
            if len(written) == at:
                raise KeyboardInterrupt
            written.append(path.name)
            whole(path, content)

        monkeypatch.setattr(resplit, "write_replacing", write)
        try:
            write_protocols(folder, [parted])
            complete = True
        except KeyboardInterrupt:
            complete = False
        after = open_folder(root)
        for known in after.info.protocols:
            new = known == name and after.info.protocols[name] == parted.about
            assert after.parts(known).tolist() == (parted.parts if new else before)
        assert complete == (name in after.info.protocols and new)
        # the same command mends it
        monkeypatch.setattr(resplit, "write_replacing", whole)
        write_protocols(after, [parted])
        assert open_folder(root).parts(name).tolist() == parted.parts
    assert complete


def test_a_column_nobody_is_writing_stays_an_error(root):
    text = (root / "clips.csv").read_text().splitlines()
    rows = [text[0] + ",split:new", *(line + ",train" for line in text[1:])]
    (root / "clips.csv").write_text("\n".join(rows))
    for content in (None, "[]", '["other"]', "{", "7"):
        if content is not None:
            (root / PENDING_FILE).write_text(content)
        with pytest.raises(AnnotationError, match="unknown column 'split:new'"):
            open_folder(root)
    (root / PENDING_FILE).write_text('["new"]')
    assert list(open_folder(root).info.protocols) == ["p"]


def test_names_are_looked_at_first(root):
    folder = open_folder(root)
    for name in ("", "a b", "a,b", " a", "a:b", "x" * 101, "-a"):
        with pytest.raises(UsageError, match="found protocol name") as caught:
            require_names(folder, [name], overwrite=True)
        assert caught.value.code == "DATA-055"
    with pytest.raises(UsageError, match="has a protocol 'p' already") as caught:
        require_names(folder, ["q", "p"], overwrite=False)
    assert caught.value.code == "DATA-057"
    require_names(folder, ["q", "p"], overwrite=True)


def test_two_writers_at_once_are_refused(root):
    with only_writer(root):
        second = only_writer(root)
        with pytest.raises(UsageError, match="another process is writing a split") as caught:
            second.__enter__()
        assert caught.value.code == "DATA-058"
    with only_writer(root):
        pass


@pytest.mark.parametrize("change", ["row", "field", "quote", "bytes", "empty"])
def test_a_file_changed_meanwhile_is_not_written_over(root, change):
    folder = open_folder(root)
    parted = made(folder)
    text = (root / "clips.csv").read_text()
    changed = {
        "row": text.replace("c003", "c903").encode(),
        "field": (text + "c999,,jump\n").encode(),
        "quote": (text + '"').encode(),
        "bytes": b"\xff\xfe" + text.encode(),
        "empty": b"",
    }[change]
    (root / "clips.csv").write_bytes(changed)
    with pytest.raises(AnnotationError, match="has changed since it was read") as caught:
        write_protocols(folder, parted)
    assert caught.value.code == "DATA-059"
    assert (root / "clips.csv").read_bytes() == changed
    assert not (root / PENDING_FILE).exists()


def test_every_other_field_stays(root, tmp_path):
    rows = [{**row, "video": f'a "b", {n}.mp4', "session": "ü"} for n, row in enumerate(ENTRIES)]
    folder = plain(tmp_path / "other", rows)
    path = folder.root / "clips.csv"
    before = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    write_protocols(folder, made(folder))
    after = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    assert [row[:-1] for row in after] == before
