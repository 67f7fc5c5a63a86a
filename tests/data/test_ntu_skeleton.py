"""One .skeleton file: what is read, what is refused, and with which words."""

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutate import survive
from ntu_files import FIRST_ID, Tracked, actor, in_picture, skeleton_text

from poselens.data.ntu_skeleton import NtuSkeleton, read_ntu_skeleton
from poselens.errors import EnvironmentFault, SkeletonError

FRAMES = 4


def bodies(count: int = 2) -> list[Tracked]:
    return [
        Tracked(FIRST_ID + person, 0, actor(FRAMES, seed=person, side=0.7 * person))
        for person in range(count)
    ]


@pytest.fixture
def text() -> str:
    return skeleton_text(FRAMES, bodies())


def read(tmp_path: Path, content: str | bytes) -> NtuSkeleton:
    path = tmp_path / "S001C001P001R001A001.skeleton"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_ntu_skeleton(path)


def test_all_numbers_come_back(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert found.frames == FRAMES
    assert found.frame.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert found.body == (str(FIRST_ID), str(FIRST_ID + 1)) * FRAMES
    given = np.stack([body.joints_metres for body in bodies()], axis=1).reshape(-1, 25, 3)
    np.testing.assert_allclose(found.joints_metres, given, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.joints_pixels, in_picture(given), rtol=1e-5)
    assert found.joints_metres.dtype == found.joints_pixels.dtype == np.float32


def test_ids_that_no_float_holds_stay_apart(tmp_path: Path) -> None:
    near = [Tracked(FIRST_ID + 2**40 + step, 0, actor(FRAMES, seed=step)) for step in (0, 1)]
    assert float(near[0].name) == float(near[1].name)
    assert len(set(read(tmp_path, skeleton_text(FRAMES, near)).body)) == 2


def same(found: NtuSkeleton, other: NtuSkeleton) -> bool:
    return found.body == other.body and np.array_equal(
        found.joints_metres, other.joints_metres, equal_nan=True
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\r\n", "\n"),
        lambda text: "\ufeff" + text,
        lambda text: text + "\r\n  \r\n\n",
        lambda text: text.rstrip(),
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace(" ", "  ").replace("\r\n", " \r\n"),
        lambda text: "\n \n" + text.replace("\n25", "\n\n25"),
        lambda text: " " + text,
        lambda text: text.replace(" 2\r\n", " +2\r\n"),
    ],
    ids=["lf", "bom", "blank end", "no end", "tabs", "blanks", "blank lines", "indent", "plus"],
)
def test_how_the_lines_are_ended_and_fields_apart_does_not_matter(
    tmp_path: Path, text: str, change
) -> None:
    assert same(read(tmp_path, change(text)), read(tmp_path, text))


def test_what_the_sensor_did_not_see_is_missing(tmp_path: Path) -> None:
    """S3, S5, S6: frames without a body, NaN and infinity, joints at the origin."""
    body = Tracked(FIRST_ID, 0, actor(FRAMES, seed=1))
    body.joints_metres[1, 3] = 0
    body.joints_metres[2, 4, 1] = np.nan
    body.joints_metres[2, 5] = -np.inf
    body.colour = {
        (0, 0): ("NaN", "12.5"), (0, 1): ("-Infinity", "inf"), (0, 2): ("-1.#IND", "1.#QNAN"),
        (0, 3): ("1e30", "7"), (0, 4): ("-153.25", "4000"),
    }  # fmt: skip
    body.gone = (3,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = read(tmp_path, skeleton_text(FRAMES, [body]))
    assert found.frames == FRAMES
    assert found.frame.tolist() == [0, 1, 2]
    gone = np.isnan(found.joints_metres)
    assert (gone.all(axis=-1) == gone.any(axis=-1)).all()
    assert np.argwhere(gone.any(axis=-1)).tolist() == [[1, 3], [2, 4], [2, 5]]
    blind = np.isnan(found.joints_pixels)
    assert (blind.all(axis=-1) == blind.any(axis=-1)).all()
    assert np.argwhere(blind.any(axis=-1)).tolist() == [
        [0, 0], [0, 1], [0, 2], [0, 3], [1, 3], [2, 4], [2, 5],
    ]  # fmt: skip
    assert found.joints_pixels[0, 4].tolist() == [-153.25, 4000]


def line(text: str, number: int, new: str) -> str:
    lines = text.split("\r\n")
    lines[number - 1] = new
    return "\r\n".join(lines)


def joint(text: str, change) -> str:
    """Change the fields of line 5, the first joint."""
    fields = text.split("\r\n")[4].split(" ")
    return line(text, 5, " ".join(change(fields)))


REFUSALS = {
    # S1, S2
    "empty": (lambda _: "", "SKEL-050", "line 1: the file is empty"),
    "blanks": (lambda _: " \r\n", "SKEL-050", "only blanks, expected the number of frames"),
    "count alone": (
        lambda _: "4\r\n", "SKEL-051", "line 1: the file ends in frame 1, but announces 4 frames",
    ),
    "too few": (
        lambda t: line(t, 1, "9"), "SKEL-051",
        "line 221: the file ends in frame 5, but announces 9 frames",
    ),
    "too many": (
        lambda t: line(t, 1, "3"), "SKEL-051",
        r"line 167: the file goes on after the 3 frames it announces \(55 lines more\)",
    ),
    "cut": (lambda t: t[:4000], "SKEL-051", "the file ends in frame 1"),
    # S4
    "nobody": (lambda _: "2\r\n0\r\n0\r\n", "SKEL-010", "no body in any of 2 frames"),
    # S7
    "absurd": (
        lambda t: joint(t, lambda f: [f[0], "1e30", *f[2:]]), "SKEL-008",
        r"line 5, joint 1: y is 1e\+30, the limit is 1e\+06",
    ),
    "beyond a float": (
        lambda t: joint(t, lambda f: ["-1e400", *f[1:]]), "SKEL-008", "x is -inf, the limit",
    ),
    # S8
    "joint count": (
        lambda t: line(t, 4, "20"), "SKEL-004",
        r"line 4: found 20 joints, expected 25 \(ntu-25\). Mend: these joints fit kinect-20",
    ),
    # S9
    "frames": (
        lambda t: line(t, 1, "1000000000"), "SKEL-003", "line 1: '1000000000' frames, the limit",
    ),
    "more frames": (lambda t: line(t, 1, "20001"), "SKEL-003", "20001 frames, the limit is 20000"),
    "bodies": (
        lambda t: line(t, 2, "99999999999999999999"), "SKEL-003",
        "line 2: '99999999999999999999' bodies, the limit is 32",
    ),
    # S10
    "negative": (lambda t: line(t, 2, "-1"), "SKEL-052", "line 2: '-1' bodies, expected a count"),
    "fraction": (lambda t: line(t, 1, "4.0"), "SKEL-052", "line 1: '4.0' frames, expected a count"),
    "hex": (lambda t: line(t, 1, "0x4"), "SKEL-052", "line 1: field 1 is '0x4', expected a number"),
    "underscore": (lambda t: line(t, 1, "1_0"), "SKEL-052", "line 1: field 1 is '1_0'"),
    "full width": (lambda t: line(t, 2, "２"), "SKEL-050", "line 2: not plain text: .* not ASCII"),
    "joint word": (lambda t: line(t, 4, "2 5"), "SKEL-052", "line 4: '2 5' joints, expected 25"),
    "id": (
        lambda t: t.replace(f"{FIRST_ID} 0", f"{FIRST_ID}.5 0", 1), "SKEL-052",
        "line 3: the id of a body is '72057594037931101.5'",
    ),
    # S11
    "a field less": (
        lambda t: joint(t, lambda f: f[:-1]), "SKEL-053", "line 5: a joint has 12 fields, found 11",
    ),
    "a field more": (
        lambda t: joint(t, lambda f: [*f, "1"]), "SKEL-053", "a joint has 12 fields, found 13",
    ),
    "two in one": (
        lambda t: joint(t, lambda f: ["1-2", *f[1:]]), "SKEL-053", "field 1 is '1-2', expected a",
    ),
    "two in one, and one that is none": (
        lambda t: joint(t, lambda f: ["1.5.2", *f[1:-1], "-"]), "SKEL-053", "field 1 is '1.5.2'",
    ),
    "word": (lambda t: joint(t, lambda f: [*f[:-1], "two"]), "SKEL-053", "field 12 is 'two'"),
    "body line": (
        lambda t: t.replace(" 0 1 1 1 1 0 ", " 0 1 1 1 0 ", 1), "SKEL-053",
        "line 3: a body opens with 10 fields, found 9",
    ),
    "body word": (
        lambda t: t.replace("0.02764709", "0..2", 1), "SKEL-053", "line 3: field 8 is '0..2'",
    ),
    # S12, S13
    "nul": (lambda t: t.replace("25", "2\0", 1), "SKEL-050", "not plain text: found a NUL byte"),
    "utf-16": (lambda t: t.encode("utf-16"), "SKEL-050", "not text; looks like UTF-16"),
    "utf-16 without mark": (lambda t: t.encode("utf-16-le"), "SKEL-050", "a NUL byte: binary"),
    "gzip": (lambda t: gzip.compress(t.encode()), "SKEL-050", "not text; looks like gzip"),
    "zip": (lambda _: b"PK\x03\x04" + bytes(90), "SKEL-050", "looks like a zip archive"),
    "pickle": (lambda _: b"\x80\x04K\x01.", "SKEL-050", "looks like a pickle, which is never"),
    # S15
    "id twice": (
        lambda t: t.replace(str(FIRST_ID + 1), str(FIRST_ID), 1), "SKEL-054",
        "line 30: body 72057594037931101 is there twice in frame 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(tmp_path: Path, text: str, name: str) -> None:
    change, code, message = REFUSALS[name]
    with pytest.raises(SkeletonError, match=message) as caught:
        read(tmp_path, change(text))
    assert caught.value.code == code
    assert caught.value.file is not None
    assert caught.value.file.endswith(".skeleton")
    assert caught.value.where
    assert caught.value.mend


def test_lines_are_counted_as_an_editor_does(tmp_path: Path, text: str) -> None:
    broken = "\ufeff\n\n" + joint(text, lambda fields: fields[:-1])
    with pytest.raises(SkeletonError, match="line 7: a joint has 12 fields, found 11"):
        read(tmp_path, broken)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SkeletonError, match="the skeleton file is missing") as missing:
        read_ntu_skeleton(tmp_path / "none.skeleton")
    assert missing.value.code == "SKEL-001"
    with pytest.raises(SkeletonError, match="not a regular file"):
        read_ntu_skeleton(tmp_path)
    large = tmp_path / "large.skeleton"
    with large.open("wb") as file:
        file.truncate(64 * 1024**2 + 1)
    with pytest.raises(SkeletonError, match="67108865 bytes, the limit is 67108864") as over:
        read_ntu_skeleton(large)
    assert over.value.code == "SKEL-003"
    link = tmp_path / "loop.skeleton"
    link.symlink_to(link)
    with pytest.raises(EnvironmentFault, match="cannot read"):
        read_ntu_skeleton(link)


@given(
    st.lists(
        st.floats(-1e6, 1e6, width=32).filter(lambda x: x != 0), min_size=75, max_size=75
    ),
    st.sampled_from(["{!r}", "{:.9g}", "{:+.9e}"]),
)  # fmt: skip
def test_every_spelling_of_a_number_is_read(tmp_path_factory, values, spelling: str) -> None:
    rows = np.array(values).reshape(25, 3)
    lines = ["1", "1", "7 0 0 0 0 0 0 0 0 0", "25"]
    lines += [" ".join([*(spelling.format(float(v)) for v in row), *"0" * 9]) for row in rows]
    found = read(tmp_path_factory.getbasetemp(), "\n".join(lines))
    np.testing.assert_array_equal(found.joints_metres[0], rows.astype(np.float32))


def sound(found: object) -> None:
    """No infinity, and no number where a word stands: a joint is whole, or NaN throughout."""
    assert isinstance(found, NtuSkeleton)
    assert found.frames >= 1
    assert len(found.frame) == len(found.body) == len(found.joints_metres)
    for joints in (found.joints_metres, found.joints_pixels):
        assert not np.isinf(joints).any()
        gone = np.isnan(joints)
        assert (gone.any(axis=-1) == gone.all(axis=-1)).all()


def test_damaged_files(tmp_path: Path) -> None:
    body = Tracked(FIRST_ID, 0, actor(FRAMES, seed=1), colour={(0, 0): ("NaN", "-Infinity")})
    sources = [skeleton_text(FRAMES, bodies()), skeleton_text(FRAMES, [body])]
    tally = survive(
        read_ntu_skeleton,
        [source.encode() for source in sources],
        tmp_path / "S001C001P001R001A001.skeleton",
        text=True,
        sound=sound,
    )
    assert tally.accepted
    assert len(tally.refused) >= 6
    assert tally.placed == sum(tally.refused.values())
