from pathlib import Path

import pytest

from poselens.data.info import DatasetInfo, read_info, write_info
from poselens.errors import AnnotationError

VALID = "name: x\nclasses: [wave, clap]\n"


def read(root: Path, text: str | bytes) -> DatasetInfo:
    content = text if isinstance(text, bytes) else text.encode()
    (root / "dataset.yaml").write_bytes(content)
    return read_info(root)


def test_round_trip(tmp_path: Path, info: DatasetInfo) -> None:
    assert read(tmp_path, write_info(info)) == info


def test_a_person_needs_two_lines(tmp_path: Path) -> None:
    assert read(tmp_path, VALID).classes == ["wave", "clap"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VALID + "protocol: {}", "unknown key 'protocol'; did you mean 'protocols'"),
        (VALID + "protocols: {p: {descripton: x}}", "unknown key 'descripton'; did you mean 'desc"),
        (VALID + "skeletons: {feet: {layout: coco-17, dimensions: 2}}", "pixels"),
        (VALID + "skeletons: {pixels: {layout: coco-17, dimensions: 3}}", "have 2 dimensions"),
        (VALID + "hierarchy: {event: [floor]}", "hierarchy.event: 1 names for 2 classes"),
        (VALID + "protocols: {p: {description: x, shares: {camera: two}}}", "shares.camera"),
        (VALID + "mirror: {wave: clp}", "unknown class 'clp'; did you mean 'clap'"),
        (VALID + "mirror: flip", "mirror"),
        ("name: x\nclasses: [wave, wave]", r"class 'wave' is listed twice \(0 and 1\)"),
        ("name: x\nclasses: ['']", "is empty or has blanks"),
        ("name: x\nclasses: [1, 2]", 'classes.0.*put it in quotes, as in "1"'),
        ("name: x\nclasses: []", "classes"),
        ("name: x", "classes"),
        ("- a\n- b", "expected keys and values"),
        ("name: [x\nclasses: y: z", "line 2.*not valid YAML"),
        (b"\xff\xfe\x00", "not a readable YAML file"),
        ("[" * 5000, "line 1: not valid YAML: found more than 20 lists or mappings"),
        ("name: !!python/object/apply:os.system [ls]", "not valid YAML"),
    ],
)
def test_refusals(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(AnnotationError, match=message) as caught:
        read(tmp_path, text)
    assert caught.value.code == "DATA-003"


def test_unknown_layout(tmp_path: Path) -> None:
    text = VALID + "skeletons: {pixels: {layout: coco17, dimensions: 2}}"
    with pytest.raises(AnnotationError, match=r"pixels.layout.*did you mean 'coco-17'") as caught:
        read(tmp_path, text)
    assert caught.value.code == "DATA-003"


def test_too_large(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="larger than 4194304 bytes"):
        read(tmp_path, b"#" * (4 * 1024 * 1024 + 1))
