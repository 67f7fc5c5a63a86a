"""Tensors in pickles, read as NumPy would have them, without torch and without unpickling."""

import pickle
import struct

import numpy as np
import pytest
import torch
from hostile_pickles import named, small_corpus, text, whole

from poselens.data.pickled_arrays import WrongArray
from poselens.data.pickled_tensors import PickledTensor
from poselens.data.pickles import open_pickle
from poselens.errors import AnnotationError


def read(path, value, protocol):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    with open_pickle(path, tensors=True) as content:
        assert isinstance(content, PickledTensor)
        return content.read()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float64, torch.float16, torch.int64, torch.int32, torch.int16,
     torch.int8, torch.uint8, torch.bool],
    ids=str,
)  # fmt: skip
def test_every_kind_of_numbers(tmp_path, dtype, protocol):
    tensor = (torch.arange(24) % 2 * 3).reshape(2, 3, 4).to(dtype)
    found = read(tmp_path / "a.pkl", tensor, protocol)
    np.testing.assert_array_equal(found, tensor.numpy())
    assert found.dtype == tensor.numpy().dtype


@pytest.mark.parametrize(
    "view",
    [
        lambda whole: whole[1],
        lambda whole: whole.T,
        lambda whole: whole[:, ::2],
        lambda whole: whole[2, 3],
        lambda whole: whole[:0],
        lambda whole: whole[0].expand(5, 4),
    ],
    ids=["row", "transposed", "steps", "one number", "none", "expanded"],
)
def test_views_of_a_storage(tmp_path, view):
    tensor = view(torch.arange(12, dtype=torch.float32).reshape(3, 4))
    np.testing.assert_array_equal(read(tmp_path / "a.pkl", tensor, 4), tensor.numpy())


def test_a_storage_larger_than_what_is_kept_in_memory(tmp_path):
    tensor = torch.randn(300, 400)
    np.testing.assert_array_equal(read(tmp_path / "a.pkl", tensor, 2), tensor.numpy())


def test_tensors_are_refused_where_nobody_asked_for_them(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(torch.zeros(2)))
    with pytest.raises(AnnotationError, match="_rebuild_tensor_v2") as caught, open_pickle(path):
        pass
    assert caught.value.code == "PKL-002"


SMALL = small_corpus()
LONE = SMALL.pop("torch.storage._load_from_bytes").data


def test_a_storage_without_a_tensor_is_read_by_nobody(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(LONE)
    with (
        open_pickle(path, tensors=True) as content,
        pytest.raises(WrongArray, match="did not write"),
    ):
        content.read()


@pytest.mark.parametrize("name", sorted(SMALL))
def test_hostile_pickles_are_refused_with_tensors_too(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pkl"
    path.write_bytes(SMALL[name].data)
    with pytest.raises(AnnotationError) as caught, open_pickle(path, tensors=True):
        pass
    assert caught.value.code.startswith("PKL-")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pkl"]


def tensor_of(data: bytes, offset=b"K\x00", shape=b"K\x03\x85", strides=b"K\x01\x85") -> bytes:
    blob = b"B" + struct.pack("<I", len(data)) + data
    storage = named("torch.storage", "_load_from_bytes") + b"(" + blob + b"tR"
    parts = storage + offset + shape + strides + b"\x89N"
    return whole(named("torch._utils", "_rebuild_tensor_v2") + b"(" + parts + b"tR")


def blob_of(tensor):
    data = pickle.dumps(tensor, protocol=4)
    start = data.index(b"\x80\x02\x8a\nl\xfc")
    (length,) = struct.unpack("<I", data[start - 4 : start])
    return data[start : start + length]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (tensor_of(b"cos\nsystem\n(S'x'\ntR."), "whose storage torch did not write"),
        (tensor_of(blob_of(torch.zeros(3))[:-1]), "not as many as it says"),
        (tensor_of(blob_of(torch.zeros(3)) + b"x"), "not as many as it says"),
        (tensor_of(blob_of(torch.zeros(3)), offset=b"K\x01"), "beyond its 3 elements"),
        (tensor_of(blob_of(torch.zeros(3)), shape=b"J\xff\xff\xff\x7f\x85"), "the limit is"),
        (
            tensor_of(
                blob_of(torch.zeros(3)), shape=b"J\xff\xff\xff\x7f\x85", strides=b"K\x00\x85"
            ),
            "the limit is",
        ),
        (tensor_of(blob_of(torch.zeros(3)), offset=b"J\xff\xff\xff\xff"), "no list of sizes"),
        (tensor_of(blob_of(torch.zeros(3)), shape=b"K\x03"), "without a shape"),
        (tensor_of(blob_of(torch.zeros(3)), strides=b")"), "no list of sizes"),
        (tensor_of(blob_of(torch.zeros(3, dtype=torch.bfloat16))), "a tensor of BFloat16"),
        (
            whole(named("torch._utils", "_rebuild_tensor_v2") + b"(" + text("x") * 4 + b"tR"),
            "not made as torch makes it",
        ),
        (
            whole(named("torch.storage", "_load_from_bytes") + b"(K\x01tR"),
            "whose storage torch did not write",
        ),
    ],
)
def test_tensors_that_contradict_themselves(tmp_path, content, says):
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(Exception, match=says) as caught, open_pickle(path, tensors=True) as found:
        found.read()
    assert type(caught.value).__name__ in ("AnnotationError", "WrongArray")
