"""Named weights come from disk or from the first source that delivers the right bytes."""

import hashlib
import http.server
import logging
import threading
from typing import ClassVar

import pytest

from poselens.errors import CheckpointError, EnvironmentFault, UsageError
from poselens.pose import weights as room
from poselens.pose.weights import WEIGHTS, Weights, cache_folder, locate

CONTENT = bytes(range(256)) * 5000
HASH = hashlib.sha256(CONTENT).hexdigest()


class Site(http.server.BaseHTTPRequestHandler):
    pages: ClassVar[dict[str, bytes]] = {
        "/good": CONTENT,
        "/page": b"<!DOCTYPE html><title>Sign in</title>",
        "/other": b"other bytes",
    }
    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        content = self.pages.get(self.path)
        if self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1000])
            return
        self.send_response(200 if content else 404)
        self.end_headers()
        self.wfile.write(content or b"<html>not found</html>")

    def log_message(self, *_args):
        pass


@pytest.fixture
def site(monkeypatch):
    """Serve ``Site`` and return a function that publishes the weights ``net`` at its pages."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Site.asked.clear()

        def publish(*pages, sha256=HASH):
            base = f"http://127.0.0.1:{server.server_port}"
            sources = tuple(f"{base}{page}" for page in pages)
            monkeypatch.setitem(WEIGHTS, "net", Weights("net", "net.bin", sha256, sources, "free"))

        yield publish
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("digits", [64, 8])
def test_download_is_verified_kept_and_not_repeated(site, tmp_path, digits):
    site("/good", sha256=HASH[:digits])
    cache = tmp_path / "deep" / "cache"
    for _ in range(2):
        assert locate("net", cache=cache).read_bytes() == CONTENT
    assert Site.asked == ["/good"]
    assert [path.name for path in cache.iterdir()] == ["net.bin"]


def test_sources_are_tried_in_turn(site, tmp_path):
    site("/none", "/page", "/other", "/cut", "/good")
    assert locate("net", cache=tmp_path).read_bytes() == CONTENT
    assert Site.asked == ["/none", "/page", "/other", "/cut", "/good"]


def test_no_source_delivers(site, tmp_path):
    site("/none", "/page", "/other", "/cut")
    with pytest.raises(EnvironmentFault, match="cannot fetch net") as caught:
        locate("net", cache=tmp_path)
    text = str(caught.value)
    for reason in (
        r"/none (HTTP 404)",
        "/page (a web page instead of weights)",
        f"of 11 bytes, expected {HASH[:16]}…)",
        "of 1,000 bytes",
        "download net.bin on another machine and give it with --file",
    ):
        assert reason in text
    assert caught.value.code == "ENV-006"
    assert list(tmp_path.iterdir()) == []


def test_offline_names_the_url_and_the_way_round(tmp_path, monkeypatch):
    # port 1 of this machine refuses
    url = "http://127.0.0.1:1/net.bin"
    monkeypatch.setitem(WEIGHTS, "net", Weights("net", "net.bin", HASH, (url,), "free"))
    with pytest.raises(EnvironmentFault, match=r"127\.0\.0\.1:1/net\.bin \(.*refused.*--file"):
        locate("net", cache=tmp_path)


def test_larger_than_any_published_file(site, tmp_path, monkeypatch):
    site("/good")
    monkeypatch.setattr(room, "_LARGEST", 1000)
    with pytest.raises(EnvironmentFault, match="more than 1,000 bytes"):
        locate("net", cache=tmp_path)


def test_damaged_cache_is_replaced(site, tmp_path):
    site("/good")
    (tmp_path / "net.bin").write_bytes(CONTENT[:-1])
    assert locate("net", cache=tmp_path).read_bytes() == CONTENT


def test_good_file_survives_a_failed_download(site, tmp_path):
    site("/none")
    (tmp_path / "net.bin").write_bytes(b"old")
    with pytest.raises(EnvironmentFault):
        locate("net", cache=tmp_path)
    assert (tmp_path / "net.bin").read_bytes() == b"old"


def test_cache_that_cannot_be_written(site, tmp_path):
    site("/good")
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match=r"cannot write: .*POSELENS_CACHE") as caught:
        locate("net", cache=tmp_path / "file" / "cache")
    assert caught.value.code == "ENV-003"


def test_given_file_wins_and_its_hash_is_reported(site, tmp_path, caplog):
    site("/good")
    own = tmp_path / "own.bin"
    own.write_bytes(CONTENT)
    with caplog.at_level(logging.INFO):
        assert locate("net", file=own, cache=tmp_path) == own
        own.write_bytes(b"mine")
        assert locate("net", file=own, cache=tmp_path) == own
    as_published, changed = caplog.records
    assert f"sha256 {HASH} as published" in as_published.getMessage()
    assert changed.levelname == "WARNING"
    assert hashlib.sha256(b"mine").hexdigest() in changed.getMessage()
    assert Site.asked == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such file"), (b"", "empty"), (b"\n<!DOCTYPE html>", "looks like HTML")],
)
def test_given_file_that_is_no_weights(tmp_path, content, reason):
    own = tmp_path / "own.bin"
    if content is not None:
        own.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=f"no weights resnet18-imagenet: .*{reason}"
    ) as caught:
        locate("resnet18-imagenet", file=own)
    assert caught.value.code == "WGT-002"
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in caught.value.mend


def test_unknown_name():
    with pytest.raises(UsageError, match=r"'resnet18'; did you mean 'resnet18-imagenet'") as caught:
        locate("resnet18")
    assert caught.value.code == "WGT-001"


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("POSELENS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("POSELENS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "poselens"


def test_table_is_consistent():
    for name, weights in WEIGHTS.items():
        assert name == weights.name
        assert len(weights.sha256) >= 8
        assert set(weights.sha256) <= set("0123456789abcdef")
        assert weights.sources
        assert all(url.startswith("https://") for url in weights.sources)
        assert all(url.endswith(weights.file) for url in weights.sources)
    assert WEIGHTS["resnet50-imagenet-v2"].sha256 == "11ad3fa6"
