import json
import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hostile_pickles import CANARY, corpus, named, text, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from mutate import survive, wanted

import poselens
from poselens.data.pickled_arrays import ALLOWED, PickledArray, PickledBytes, WrongArray
from poselens.data.pickles import open_pickle
from poselens.errors import AnnotationError

WATCH = """
import json, sys, time
from pathlib import Path
from poselens.data.pickles import open_pickle
from poselens.errors import PoselensError

folder, met, loaded = Path(sys.argv[1]), [], set(sys.modules)
WATCHED = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket",
           "exec", "compile", "import", "pickle.find_class", "open", "os.remove", "shutil")
sys.addaudithook(lambda event, _: event.startswith(WATCHED) and met.append(event))
answers = {}
for number, path in enumerate(sorted(folder.glob("*.pkl"))):
    start = time.process_time()
    met.clear()
    try:
        with open_pickle(path):
            answer = ["accepted", "", "", ""]
    except PoselensError as fault:
        answer = [fault.code, fault.message, fault.file, fault.mend]
    # the file itself is opened once
    answers[path.name] = [*answer, time.process_time() - start, met[:1] == ["open"], met[1:]]
# of this program alone; what getrusage tells begins with the process it was forked from
status = Path("/proc/self/status").read_text()
peak = int(status.partition("VmHWM:")[2].split()[0])
print(json.dumps({"answers": answers, "peak": peak, "loaded": sorted(set(sys.modules) - loaded)}))
"""


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "annotations.pkl"
    path.write_bytes(data)
    return path


def plain(value):
    """Read what stays in the file."""
    if isinstance(value, PickledArray | PickledBytes):
        return value.read()
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value


def loaded(path: Path):
    with open_pickle(path) as value:
        return plain(value)


def refusal(path: Path) -> AnnotationError:
    with pytest.raises(AnnotationError) as caught, open_pickle(path):
        pass
    return caught.value


def test_hostile_pickles_are_refused_unrun(tmp_path):
    """None runs, opens, imports or connects to anything; each names what it asks for."""
    hostile = corpus()
    assert len(hostile) > 100
    for number, entry in enumerate(hostile.values()):
        (tmp_path / f"{number:03d}.pkl").write_bytes(entry.data)
    done = subprocess.run(
        [sys.executable, "-c", WATCH, str(tmp_path)],
        capture_output=True, text=True, check=True, cwd=tmp_path, timeout=300,
        env={**os.environ, "PYTHONPATH": str(Path(poselens.__file__).parents[1])},
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert not (tmp_path / CANARY).exists()
    assert found["loaded"] == []
    assert found["peak"] < 1024**2  # kilobytes
    for number, (name, entry) in enumerate(hostile.items()):
        code, message, file, mend, seconds, opened, met = found["answers"][f"{number:03d}.pkl"]
        assert (name, code, met) == (name, entry.code, []), message
        assert entry.says in message, name
        assert file
        assert mend, name
        assert opened or not entry.data, name
        assert seconds < 5, name
        if code == "PKL-002":
            assert "nothing was run" in message


@settings(max_examples=30)
@given(st.text(max_size=20), st.text(max_size=20))
def test_only_names_of_the_table_pass(tmp_path_factory, module, name):
    path = tmp_path_factory.mktemp("name") / "x.pkl"
    utf8 = [part.encode("utf-8", "surrogatepass") for part in (module, name)]
    path.write_bytes(
        whole(b"".join(b"\x8c" + bytes([len(part)]) + part for part in utf8) + b"\x93")
    )
    assert refusal(path).code == "PKL-002"
    assert f"{module}.{name}" not in ALLOWED


VALUES = {
    "split": {"train": ["a", "ü"], "val": ("b", b"c"), "sets": {"d"}, "frozen": frozenset({"e"})},
    "numbers": [0, 1, 255, 256, 65535, 65536, -1, 2**31, -(2**40), 2**100, True, False, None, 1.5],
    "scalars": [np.int64(7), np.float32(0.5), np.str_("abc"), np.bool_(True), np.int8(-3)],
    "ordered": OrderedDict([("x", 1), ("y", [])]),
    "shape": (720, 1280),
    "empty": [np.zeros((0, 5, 17, 2), np.float16), b"", "", (), {}, []],
    "long": ["x" * 5000, "ü" * 5000, b"\xff\x00" * 3000, [0] * 3000],
    "arrays": [
        np.arange(24).reshape(2, 3, 4).astype(dtype)
        for dtype in ("f2", "f4", ">f4", "f8", "i1", "u2", ">i8", "?")
    ]
    + [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.linspace(0, 1, 3000, dtype=np.float16).reshape(1, 100, 15, 2),
        np.array(["S001", "S002"]),
        np.array([b"a", b"bc"]),
        np.array(3.5, np.float32),
    ],
}


def same(found, wanted) -> None:
    if isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            same(found[key], wanted[key])
    elif isinstance(wanted, list | tuple | set | frozenset):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    elif isinstance(wanted, str) and isinstance(found, bytes):
        assert found.decode() == wanted  # a long text, read from the file
    else:
        assert found == (wanted.item() if isinstance(wanted, np.generic) else wanted)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_of_every_protocol(tmp_path, protocol):
    values = dict(VALUES)
    if protocol < 4:
        # written by asking for builtins.set, which a list of names does not need
        values["split"] = {"train": ["a", "ü"], "val": ("b", b"c")}
    same(loaded(write(tmp_path, pickle.dumps(values, protocol=protocol))), values)


def test_sets_of_early_protocols_are_named(tmp_path):
    fault = refusal(write(tmp_path, pickle.dumps({"a"}, protocol=2)))
    assert (fault.code, "__builtin__.set" in fault.message) == ("PKL-002", True)


PYTHON_2 = (
    b"\x80\x02}q\x00(U\x05labelq\x01K\x01U\x09frame_dirq\x02U\x04caf\xe9q\x12U\x08keypointq\x13"
    b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85q\x05U\x01bq\x06\x87"
    b"q\x07Rq\x08(K\x01K\x01K\x02\x86q\tcnumpy\ndtype\nq\nU\x02f4q\x0bK\x00K\x01\x87q\x0cRq\r(K\x03"
    b"U\x01<q\x0eNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0fb\x89U\x08\x00\x00\x80?\x00\x00\x00@"
    b"q\x10tq\x11bu."
)
PYTHON_2_TEXT = (
    b"(dp0\nS'label'\np1\nL3L\nsS'keypoint'\np2\ncnumpy.core.multiarray\n_reconstruct\np3\n"
    b"(cnumpy\nndarray\np4\n(I0\ntp5\nS'b'\np6\ntp7\nRp8\n(I1\n(I1\nI2\ntp9\ncnumpy\ndtype\np10\n"
    b"(S'f4'\np11\nI0\nI1\ntp12\nRp13\n(I3\nS'<'\np14\nNNNI-1\nI-1\nI0\ntp15\nbI00\n"
    b"S'\\x00\\x00\\x80?\\x00\\x00\\x00@'\np16\ntp17\nbs."
)


@pytest.mark.parametrize("data", [PYTHON_2, PYTHON_2_TEXT])
def test_python_2(tmp_path, data):
    found = loaded(write(tmp_path, data))
    wanted = pickle.loads(data, encoding="latin1")
    np.testing.assert_array_equal(found["keypoint"], wanted["keypoint"])
    assert found["label"] == wanted["label"]
    if "frame_dir" in wanted:
        assert found["frame_dir"].decode("latin1") == wanted["frame_dir"] == "caf\xe9"


@pytest.mark.parametrize("package", [b"numpy.core", b"numpy._core"])
@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_old_and_new_numpy(tmp_path, package, protocol):
    wanted = {"keypoint": VALUES["arrays"][9], "label": np.int64(5)}
    data = pickle.dumps(wanted, protocol=protocol)
    for length, name in ((22, b".multiarray"), (19, b".numeric")):
        for old in (b"numpy._core", b"numpy.core"):
            # names of protocol 4 and 5 carry their length
            for prefix in (b"c", b"\x8c" + bytes([len(old + name)])):
                ours = b"c" if prefix == b"c" else b"\x8c" + bytes([len(package + name)])
                data = data.replace(prefix + old + name, ours + package + name)
        assert length
    if protocol >= 4:
        # the frame's length has changed with the names
        start = data.index(b"\x95")
        data = data[:start] + data[start + 9 :]
    assert package + b"." in data
    same(loaded(write(tmp_path, data)), wanted)


def test_arrays_stay_in_the_file_until_asked_for(tmp_path):
    path = write(tmp_path, pickle.dumps([np.ones((1, 500, 17, 2), np.float16)] * 1))
    with open_pickle(path) as value:
        array = value[0]
        assert array.shape == (1, 500, 17, 2)
        with path.open("r+b") as file:
            file.truncate(100)
        with pytest.raises(WrongArray, match="was cut while it was read"):
            array.read()


def test_a_text_that_cannot_be_bytes(tmp_path):
    body = named("_codecs", "encode") + text("ü" * 4) + text("latin1") + b"\x86R"
    assert loaded(write(tmp_path, whole(body))) == b"\xfc" * 4
    body = named("_codecs", "encode") + text("€") + text("latin1") + b"\x86R"
    assert "beyond latin1" in refusal(write(tmp_path, whole(body))).message


def test_missing_files_and_folders(tmp_path):
    assert "the file is missing" in str(refusal(tmp_path / "none.pkl"))
    assert "not a regular file" in str(refusal(tmp_path))


def test_what_a_refusal_says(tmp_path):
    path = write(tmp_path, whole(named("os", "system")))
    assert str(refusal(path)) == (
        f"{path}:byte 13: it asks for os.system, which is no plain data; nothing was run. Mend: "
        "do not open it with pickle; ask its maker for plain dicts, lists and arrays"
    )


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_damaged_pickles(tmp_path, protocol):
    values = {key: VALUES[key] for key in ("numbers", "scalars", "arrays", "ordered", "shape")}

    def read(path: Path) -> object:
        try:
            return loaded(path)
        except WrongArray as fault:
            # the reader of annotations gives file and mend
            raise AnnotationError("PKL-004", str(fault), file=path, mend="again") from fault

    tally = survive(
        read,
        [pickle.dumps(values, protocol=protocol)],
        tmp_path / "damaged.pkl",
        text=protocol == 0,
        sound=lambda value: None,
        count=wanted() // 4,
        seed=protocol,
    )
    assert tally.refused
    assert tally.accepted
