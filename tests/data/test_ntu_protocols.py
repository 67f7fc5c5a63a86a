"""Names, classes, protocols and published counts of NTU RGB+D."""

from pathlib import Path

import pytest

from poselens.data.ntu_counts import compare, is_complete, lacking_by_class, title
from poselens.data.ntu_protocols import (
    ACTIONS,
    NTU60,
    NTU120,
    NtuName,
    official_missing,
    parted,
    protocol_info,
    read_name,
    read_names,
)
from poselens.errors import AnnotationError


def test_a_name_says_who_where_and_what() -> None:
    name = read_name("S017C002P008R001A009", NTU60)
    assert name == NtuName("S017C002P008R001A009", 17, 2, 8, 1, 9)
    assert name is not None
    record = name.record(video=None, width=1920, height=1080)
    assert (record.subject, record.view, record.session) == ("8", "2", "17")
    assert record.source == "S017P008R001A009"
    assert NTU60.classes[record.label] == "stand-up"
    assert record.video is None


@pytest.mark.parametrize(
    "text",
    [
        "S018C001P001R001A001", "S001C004P001R001A001", "S001C001P041R001A001",
        "S001C001P001R003A001", "S001C001P001R001A061", "S000C001P001R001A001",
        "S001C001P001R001A000", "S001C001P001R001A001_rgb", "S１01C001P001R001A001", "",
    ],
)  # fmt: skip
def test_names_that_are_of_no_recording(text: str) -> None:
    assert read_name(text, NTU60) is None


def test_the_larger_set_holds_the_smaller_one() -> None:
    assert read_name("S032C003P106R002A120", NTU120) is not None
    assert NTU120.classes[:60] == NTU60.classes
    assert len(set(ACTIONS)) == 120
    assert official_missing(NTU60) < official_missing(NTU120)
    # spot checks of the official list of actions
    assert [ACTIONS[number - 1] for number in (10, 26, 60, 66, 99, 120)] == [
        "clap", "hop", "walk-apart", "juggle-table-tennis-balls", "run-on-the-spot",
        "rock-paper-scissors",
    ]  # fmt: skip


@pytest.mark.parametrize(("ntu", "count"), [(NTU60, 302), (NTU120, 535)])
def test_published_counts_and_the_list_of_the_missing_add_up(ntu, count: int) -> None:
    """With the missing ones, every part is whole performances: 60 actions, twice, three cameras."""
    listed = [read_name(text, ntu) for text in official_missing(ntu)]
    names = [name for name in listed if name is not None]
    assert len(names) == len(listed) == count == ntu.missing
    assert sum(ntu.recordings) == {60: 56_880, 120: 114_480}[len(ntu.classes)]
    for protocol in ntu.protocols:
        assert sum(protocol.published) == ntu.published
        lost = sum(protocol.is_train(name) for name in names)
        train, test = protocol.published[0] + lost, protocol.published[1] + count - lost
        unit = 120 if protocol.axis == "cameras" else 360
        assert train % unit == test % unit == 0


def grid(setups, cameras, subjects, actions, repetitions=(1, 2)) -> list[NtuName]:
    return [
        NtuName(f"S{s:03}C{c:03}P{p:03}R{r:03}A{a:03}", s, c, p, r, a)
        for s in setups for c in cameras for p in subjects for r in repetitions for a in actions
    ]  # fmt: skip


def test_parts_of_the_four_protocols() -> None:
    names = grid((1, 2), (1, 2, 3), (1, 2, 3, 4, 5, 6, 45, 46), (1, 2))
    for ntu, protocol, train in (
        (NTU60, "ntu60-xsub", lambda n: n.subject in (1, 2, 4, 5)),
        (NTU60, "ntu60-xview", lambda n: n.camera != 1),
        (NTU120, "ntu120-xsub", lambda n: n.subject in (1, 2, 4, 5, 45, 46)),
        (NTU120, "ntu120-xset", lambda n: n.setup == 2),
    ):
        one = next(p for p in ntu.protocols if p.name == protocol)
        parts = parted(names, one)
        assert [part != "test" for part in parts] == [train(name) for name in names]
        subjects = {
            part: {n.subject for n, p in zip(names, parts, strict=True) if p == part}
            for part in ("train", "val", "test")
        }
        assert subjects["val"]
        assert not subjects["val"] & subjects["train"]
        assert bool(subjects["test"] & subjects["train"]) == ("subject" in one.shared)
        info = protocol_info(one, names, parts, 0.5)
        assert info.group == one.column
        assert info.group not in info.shares
        assert set(info.shares) == set(one.shared)
        for subject in subjects["val"]:
            assert f"P{subject:03}" in info.description
    assert parted(names, one) == parted(names, one)


def test_validation_holds_about_eight_hundredths() -> None:
    names = grid((1,), (1, 2, 3), range(1, 41), (1, 2, 3))
    for protocol in NTU60.protocols:
        parts = parted(names, protocol)
        share = parts.count("val") / (parts.count("val") + parts.count("train"))
        assert 0.05 <= share <= 0.1


def test_one_subject_alone_leaves_nothing_to_validate_on() -> None:
    names = grid((1,), (1, 2), (1, 3), (1, 2))
    xsub = NTU60.protocols[0]
    parts = parted(names, xsub)
    assert set(parts) == {"train", "test"}
    assert "validation: none" in protocol_info(xsub, names, parts, 0.5).description


def whole(ntu) -> list[NtuName]:
    """As many names in each part as are published, whatever they are called."""
    (first, second), names = ntu.protocols, []
    # X-Sub and X-View (X-Set) cross: sizes of the four fields that give both margins
    both = first.published[0] * second.published[0] // ntu.published
    sizes = {
        (True, True): both,
        (True, False): first.published[0] - both,
        (False, True): second.published[0] - both,
        (False, False): first.published[1] - second.published[0] + both,
    }
    for (trains, also), size in sizes.items():
        subject = 1 if trains else 3
        camera = 2 if also else 1
        setup = 2 if also else 1
        names += [NtuName("", setup, camera, subject, 1, 1)] * size
    return names


@pytest.mark.parametrize("ntu", [NTU60, NTU120])
def test_only_the_whole_set_is_called_complete(ntu) -> None:
    names, listed = whole(ntu), official_missing(ntu)
    assert is_complete(names, ntu)
    assert title(names, ntu) == ntu.title
    (note,) = compare(names, ntu, listed)
    assert note.startswith(f"complete: {ntu.published:,} clips, counts equal the published ones")
    assert not is_complete(names[1:], ntu)
    assert (
        title(names[1:], ntu) == f"{ntu.title} ({ntu.published - 1:,} of {ntu.published:,} clips)"
    )
    notes = compare(names[1:], ntu, listed)
    assert notes[0].startswith("not complete")
    train = ntu.protocols[0].published[0]
    assert f"{ntu.protocols[0].name} train: {train - 1:,} clips, {train:,} are published" in notes
    assert (
        "another list of recordings was left out (3 names)"
        in compare(names, ntu, {"a", "b", "c"})[0]
    )


def test_what_is_missing_of_a_class() -> None:
    names = grid((1,), (1, 2, 3), (1,), (1, 2))
    lacking = lacking_by_class(names, NTU60)
    listed = [name for name in official_missing(NTU60) if name.endswith("A001")]
    assert lacking["drink-water"] == 948 - len(listed) - 6
    assert sum(lacking.values()) == 56_578 - 12


def test_the_authors_list_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "missing.txt"
    path.write_text(
        '302 of the captured samples in the "NTU RGB+D" dataset have missing or incomplete '
        "skeleton data.\nIf you are working, please ignore these files.\n\n"
        "S001C002P005R002A008\r\nS001C002P006R001A008.skeleton\n\n"
    )
    assert read_names(path) == ["S001C002P005R002A008", "S001C002P006R001A008"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"heading\nS001C002P005R002A008\nS01C002P005\n", "line 3: 'S01C002P005' is no name of a"),
        (b"nothing here\n", "found no name of a recording"),
        (b"\xff\xfeS\0", "not UTF-8 text"),
        (None, "no such file"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "missing.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AnnotationError, match=message) as caught:
        read_names(path)
    assert caught.value.code == "DATA-031"
    with pytest.raises(AnnotationError, match="not a regular file"):
        read_names(tmp_path)
