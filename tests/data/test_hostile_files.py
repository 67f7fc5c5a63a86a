"""Files made to harm are refused: nothing runs, nothing foreign is read, nobody is called.

All are read in one process of their own. The kernel tells which files beside them were opened, a
listener on this machine who was called, an audit hook what Python opened or ran.
"""

import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest
from hostile_files import Hostile, write_hostile
from mutate import note
from video_files import video_bytes

SUPPORT = Path(__file__).parents[1] / "support"
SRC = Path(__file__).parents[2] / "src"
SECONDS, MEGABYTES = 5.0, 1000.0
_OPENED, _ACCESSED, _CREATED = 0x20, 0x1, 0x100


class Opened:
    """Names of the files in a folder that anybody opened, told by the kernel."""

    def __init__(self, folder: Path) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._library.inotify_init1(os.O_NONBLOCK)
        mask = _OPENED | _ACCESSED | _CREATED
        watch = self._library.inotify_add_watch(self._descriptor, os.fsencode(folder), mask)
        assert watch >= 0, os.strerror(ctypes.get_errno())

    def names(self) -> list[str]:
        found = []
        while select.select([self._descriptor], [], [], 0)[0]:
            events = os.read(self._descriptor, 65_536)
            while events:
                length = struct.unpack("iIII", events[:16])[3]
                found.append(events[16 : 16 + length].rstrip(b"\0").decode())
                events = events[16 + length :]
        return found

    def close(self) -> None:
        os.close(self._descriptor)


class Called:
    """Counts connections, and answers none."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.count = 0
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return
            self.count += 1
            caller.close()

    def close(self) -> None:
        self._server.close()


class Place:
    """A folder of hostile files, what they reach for, and those who watch it."""

    def __init__(self, root: Path) -> None:
        self.root, self.outside = root, root / "outside"
        self.outside.mkdir()
        self.canary = self.outside / "canary.mp4"
        self.canary.write_bytes(video_bytes("mp4"))
        self.called = Called()
        self.files = write_hostile(root / "in", self.outside, self.called.port)
        self.opened = Opened(self.outside)

    def file(self, name: str) -> Hostile:
        return next(entry for entry in self.files if entry.name == name)


@contextmanager
def placed(root: Path) -> Iterator[Place]:
    place = Place(root)
    yield place
    place.opened.close()
    place.called.close()


def test_nothing_runs_nothing_foreign_is_read_and_nobody_is_called(tmp_path):
    with placed(tmp_path) as place:
        table = tmp_path / "table.json"
        table.write_text(json.dumps([(entry.reader, entry.path) for entry in place.files]))
        words = [sys.executable, SUPPORT / "hostile_reader.py", table, tmp_path / "in",
                 tmp_path / "imported"]  # fmt: skip
        answer = subprocess.run(
            words, env={**os.environ, "PYTHONPATH": str(SRC)}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=300, check=True, cwd=tmp_path / "in",
        )  # fmt: skip
        outcomes = json.loads(answer.stdout)
        wrong = [
            (entry.name, entry.code, outcome)
            for entry, outcome in zip(place.files, outcomes, strict=True)
            if outcome["code"] != entry.code
            or outcome["seconds"] > SECONDS
            or outcome["peak_mb"] > MEGABYTES
            or outcome["events"]
        ]
        foreign, called = place.opened.names(), place.called.count
    assert not wrong, wrong[:5]
    assert foreign == []
    assert called == 0
    assert not (tmp_path / "imported").exists()
    assert not list(tmp_path.rglob("evil*"))
    for entry, outcome in zip(place.files, outcomes, strict=True):
        named = entry.path.replace("//", "/").partition("\0")[0]
        assert named[:40] in outcome["text"], (entry.name, outcome)
        # two answers of another module say it in the message
        assert outcome["mend"] or outcome["code"].startswith("DATA"), (entry.name, outcome)
    note(
        {
            "files": len(place.files),
            "refused": len(outcomes),
            "executed": 0,
            "foreign_files_opened": len(foreign),
            "connections": called,
            "slowest_s": round(max(outcome["seconds"] for outcome in outcomes), 2),
            "peak_memory_mb": round(max(outcome["peak_mb"] for outcome in outcomes)),
        }
    )


def test_a_careless_reader_does_all_of_it(tmp_path, monkeypatch):
    """The files are alive and the watchers awake: without our limits, the canary is read."""
    with placed(tmp_path) as place:
        monkeypatch.chdir(tmp_path / "in")
        for name, options in (
            ("ffconcat of a foreign file", {"safe": "0"}),
            ("external reference", {"enable_drefs": "1", "use_absolute_path": "1"}),
            ("external reference by levels", {"enable_drefs": "1"}),
        ):
            with av.open(place.file(name).path, options=options) as container:
                shown = sum(1 for _ in container.decode(video=0))
            assert "canary.mp4" in place.opened.names(), name
            assert shown, name
        with pytest.raises(av.FFmpegError):
            av.open(f"http://127.0.0.1:{place.called.port}/a.mp4", timeout=5.0)
        assert place.called.count >= 1
        with av.open(place.file("frame bomb").path) as container:
            stream = container.streams.video[0]
            assert stream.frames == 1_000_000
            shown = container.decode(stream)
            assert all(next(shown) is not None for _ in range(300))
