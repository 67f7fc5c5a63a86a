import hashlib

from poselens.pose.weights import WEIGHTS


def test_every_name_is_listed(poselens):
    listed = poselens("weights", "list", "--json").facts["weights"]
    assert [row["name"] for row in listed] == list(WEIGHTS)
    for row in listed:
        assert {"file", "sha256", "licence", "sources", "cached"} <= row.keys()
        assert row["cached"] is None
    table = poselens("weights", "list")
    assert table.code == 0
    assert all(name.split("-")[0] in table.out for name in WEIGHTS)


def test_a_file_given_comes_into_the_cache(poselens, tmp_path, monkeypatch, empty_cache):
    file = tmp_path / "mine.tflite"
    file.write_bytes(b"weights")
    known = WEIGHTS["movenet-lightning"]
    digest = hashlib.sha256(b"weights").hexdigest()
    fake = type(known)(known.name, known.file, digest, known.sources, known.licence)
    monkeypatch.setitem(WEIGHTS, "movenet-lightning", fake)
    facts = poselens("weights", "fetch", "movenet-lightning", "--file", file, "--json").facts
    assert facts["path"] == str(empty_cache / known.file)
    assert facts["sha256"] == digest
    (listed, *_) = poselens("weights", "list", "--json").facts["weights"]
    assert listed["cached"] == facts["path"]


def test_what_cannot_be_fetched(poselens, tmp_path):
    answer = poselens("weights", "fetch", "movenet-lightening", "--json")
    assert (answer.code, answer.facts["error"]["code"]) == (2, "WGT-001")
    assert "did you mean 'movenet-lightning'" in answer.err
    (tmp_path / "page.tflite").write_text("<html>404</html>")
    answer = poselens("weights", "fetch", "movenet-lightning", "--file", tmp_path / "page.tflite")
    assert answer.code == 4
    assert "looks like HTML" in answer.err
