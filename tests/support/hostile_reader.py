"""Reads hostile files in a process of its own and says what happened, as JSON on stdout.

``python hostile_reader.py TABLE FOLDER OUT``: TABLE is a JSON list of reader and path, FOLDER the
only place whose files may be opened, OUT a place for imports.
"""

import json
import sys
import time
from pathlib import Path

from poselens.data.csv_clips import import_csv
from poselens.data.folder import open_folder
from poselens.data.skeleton_file import read_skeleton
from poselens.data.video import count_frames, iterate_frames, probe, read_frames
from poselens.errors import PoselensError

_NEVER = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system",
          "ctypes.", "ftplib.", "http.", "urllib.", "shutil.", "webbrowser.")  # fmt: skip


def video(path: str, _out: Path) -> None:
    """Ask every reader, so that none is the weaker one; the first refusal is the answer."""
    faults = []
    for read in (probe, count_frames, lambda p: read_frames(p, [0]), every_frame):
        try:
            read(path)
        except PoselensError as fault:
            faults.append(fault)
    if faults:
        raise faults[-1]


def every_frame(path: str) -> None:
    for _ in iterate_frames(path, size=(8, 8)):
        pass


def skeleton(path: str, _out: Path) -> None:
    read_skeleton(Path(path), None if path.endswith((".npz", ".json")) else "coco-17")


def folder(path: str, _out: Path) -> None:
    data = open_folder(Path(path))
    for clip in range(len(data)):
        count_frames(data.video_path(clip) or "")


def imported(path: str, out: Path) -> None:
    import_csv(Path(path), out)


READERS = {"video": video, "skeleton": skeleton, "folder": folder, "import": imported}


def watch(allowed: Path) -> list[str]:
    """Note what Python opens, runs or connects to outside the folder."""
    seen: list[str] = []
    own = (
        str(allowed),
        "/proc/self/status",
        "/proc/self/clear_refs",
        sys.prefix,
        sys.base_prefix,
        *[p for p in sys.path if p],
    )

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event.startswith(_NEVER):
            seen.append(f"{event} {args!r:.200}")
        if (
            event == "open"
            and isinstance(args[0], str | bytes)
            and not str(args[0]).startswith(own)
        ):
            seen.append(f"open {args[0]!r}")

    sys.addaudithook(hook)
    return seen


def peak() -> float:
    """Return the most memory since the last call, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    most = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return most / 1024


def main() -> None:
    table = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    allowed, out = Path(sys.argv[2]), Path(sys.argv[3])
    seen = watch(allowed)
    outcomes = []
    for reader, path in table:
        peak()
        before, start = len(seen), time.monotonic()
        try:
            READERS[reader](path, out)
            said = {"code": None, "text": "it was read"}
        except PoselensError as fault:
            said = {"code": fault.code, "text": str(fault)[:2000], "mend": fault.mend}
        except Exception as fault:
            said = {"code": type(fault).__name__, "text": str(fault)[:2000]}
        outcomes.append({
            **said,
            "seconds": time.monotonic() - start,
            "peak_mb": peak(),
            "events": seen[before:],
        })  # fmt: skip
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main()
