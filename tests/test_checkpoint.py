import errno
import json
import os
import stat
import struct
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from poselens.checkpoint import (
    load_weights,
    read_json,
    read_tensors,
    read_tensors_and_facts,
    write_atomically,
    write_bytes,
    write_json,
    write_tensors,
)
from poselens.errors import CheckpointError, EnvironmentFault

TENSORS = {
    "weight": torch.arange(12, dtype=torch.float32).view(3, 4).t(),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "none": torch.zeros(0, 3),
    "mask": torch.tensor([True, False]),
}


def names(folder):
    return sorted(os.listdir(folder))


def failing(call, number, at=1):
    """Return a stand-in for a system call that fails from its ``at``-th use on."""
    used = []

    def stand_in(*arguments, **options):
        used.append(arguments)
        if len(used) >= at:
            raise OSError(number, os.strerror(number))
        return call(*arguments, **options)

    return stand_in


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "chmod", "close"])
@pytest.mark.parametrize(
    ("number", "code", "told"),
    [
        (errno.ENOSPC, "ENV-002", "the disk is full; the previous file is intact"),
        (errno.EDQUOT, "ENV-002", "the disk is full"),
        (errno.EACCES, "ENV-001", r"no permission to write. Mend: choose another --out"),
        (errno.EROFS, "ENV-001", "no permission to write"),
        (errno.EIO, "ENV-003", "cannot write: Input/output error"),
    ],
)
def test_a_fault_at_any_call_leaves_the_old_file_alone(
    tmp_path, monkeypatch, call, number, code, told
):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with monkeypatch.context() as patched:
        patched.setattr(os, call, failing(getattr(os, call), number))
        with pytest.raises(EnvironmentFault, match=told) as caught:
            write_bytes(path, b"new" * 1000)
    assert caught.value.code == code
    assert caught.value.file == str(path)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_fault_while_the_folder_is_flushed_leaves_the_new_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing(os.fsync, errno.EIO, at=2))
        with pytest.raises(EnvironmentFault, match="cannot write"):
            write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_a_second_ctrl_c_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupted(descriptor):
        os.write(descriptor, b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, interrupted)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_content_is_flushed_before_the_name_changes_and_the_folder_after(tmp_path, monkeypatch):
    order = []

    def noted(call, real, *arguments, **options):
        order.append(call)
        return real(*arguments, **options)

    for call in ("write", "fsync", "replace"):
        monkeypatch.setattr(os, call, partial(noted, call, getattr(os, call)))
    write_bytes(tmp_path / "file", b"new")
    assert order == ["write", "fsync", "replace", "fsync"]


def test_a_short_write_goes_on(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, view: real(descriptor, view[:3]))
    write_bytes(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_others_may_read_what_is_written(tmp_path):
    write_bytes(tmp_path / "file", b"")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(EnvironmentFault, match="none/file: cannot write: No such file") as caught:
        write_bytes(tmp_path / "none" / "file", b"")
    assert caught.value.code == "ENV-003"


def test_json_round_trip(tmp_path):
    content = {"a": [1, 2.5, None], "ü": {"b": True}}
    write_json(tmp_path / "f.json", content)
    assert read_json(tmp_path / "f.json") == content
    assert (tmp_path / "f.json").read_text(encoding="utf-8").endswith("}\n")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[1]", "expected a JSON object"),
        (b"", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path, content, told):
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"f.json: {told}") as caught:
        read_json(tmp_path / "f.json")
    assert caught.value.code == "CKPT-002"


def test_unreadable_json_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="file is missing") as caught:
        read_json(tmp_path / "none.json")
    assert caught.value.code == "CKPT-001"
    with pytest.raises(CheckpointError, match="cannot read: Is a directory") as caught:
        read_json(tmp_path)
    assert caught.value.code == "CKPT-001"


def test_tensors_come_back_as_they_were(tmp_path):
    facts = {"epoch": 3, "name": "ü"}
    write_tensors(tmp_path / "t", TENSORS, facts=facts)
    tensors, read = read_tensors_and_facts(tmp_path / "t")
    assert read == facts
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)
    write_tensors(tmp_path / "bare", TENSORS)
    assert read_tensors_and_facts(tmp_path / "bare")[1] == {}


def test_the_same_tensors_are_the_same_bytes(tmp_path):
    for name, tensors in (("a", TENSORS), ("b", dict(reversed(TENSORS.items())))):
        write_tensors(tmp_path / name, tensors, facts={"x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tensors_of_others_have_no_checksum_and_no_facts(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "t", metadata={"format": "pt"})
    tensors, facts = read_tensors_and_facts(tmp_path / "t")
    assert torch.equal(tensors["w"], torch.ones(2))
    assert facts == {}


def test_missing_tensors_are_told(tmp_path):
    with pytest.raises(CheckpointError, match="none: file is missing") as caught:
        read_tensors(tmp_path / "none")
    assert caught.value.code == "CKPT-001"


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused(tmp_path, share):
    write_tensors(tmp_path / "t", TENSORS, facts={"x": 1})
    content = (tmp_path / "t").read_bytes()
    (tmp_path / "cut").write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="damaged, cut short or not a saf") as caught:
        read_tensors(tmp_path / "cut")
    assert caught.value.code == "CKPT-003"


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_is_never_read_as_good(tmp_path, data):
    """In the values, the checksum differs; in the header, it is refused or was only blank space."""
    path = tmp_path / "t"
    write_tensors(path, TENSORS, facts={"x": 1})
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        tensors, facts = read_tensors_and_facts(path)
    except CheckpointError:
        return
    (header,) = struct.unpack("<Q", content[:8])
    assert place < 8 + header
    if facts == {"x": 1}:
        assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())


@pytest.mark.parametrize("content", [b"", b"hello", b"<html>" * 50, b"\xff" * 64])
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"not a safetensors file. Mend: use another") as e:
        read_tensors(tmp_path / "t")
    assert e.value.code == "CKPT-003"


@pytest.mark.parametrize("about", ["{", "[]", '{"facts": 3}', '"x"'])
def test_facts_that_are_no_facts_are_refused(tmp_path, about):
    save_file({"w": torch.ones(1)}, tmp_path / "t", metadata={"poselens": about})
    with pytest.raises(CheckpointError, match="facts are not valid JSON") as caught:
        read_tensors_and_facts(tmp_path / "t")
    assert caught.value.code == "CKPT-002"


def test_weights_must_fit_in_every_name_and_shape(tmp_path):
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    good = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    load_weights(network, good, file=tmp_path / "w")
    assert not network[0].weight.any()
    bad = {**good, "extra": torch.ones(1), "0.weight": torch.ones(5, 2)}
    del bad["1.bias"]
    told = (
        r"w: weights do not fit the network \(1 missing: 1.bias; 1 unexpected: extra; "
        r"1 of another shape: 0.weight \(5, 2\) for \(3, 2\)\)"
    )
    with pytest.raises(CheckpointError, match=told) as caught:
        load_weights(network, bad, file=tmp_path / "w")
    assert caught.value.code == "CKPT-004"
    many = {f"x{index}": torch.ones(1) for index in range(30)}
    with pytest.raises(CheckpointError) as caught:
        load_weights(network, {**good, **many}, file=tmp_path / "w")
    assert "30 unexpected" in str(caught.value)
    assert str(caught.value).count("x") < 20


def test_facts_are_json_in_one_entry(tmp_path):
    write_tensors(tmp_path / "t", {"w": torch.ones(1)}, facts={"x": 1})
    content = (tmp_path / "t").read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    metadata = json.loads(content[8 : 8 + size])["__metadata__"]
    assert list(metadata) == ["poselens"]
