"""Files made to harm whoever reads them, each with the reader it is for and the answer it must get.

None of them works: they are the published shapes of such files (FFmpeg's playlists and protocols,
QuickTime's external references, zip bombs, billion laughs), pointed at a canary and at a listener
of the test.
"""

import io
import json
import os
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from video_files import video_bytes

VIDEO, SKELETON, FOLDER, IMPORT = "video", "skeleton", "folder", "import"


@dataclass(frozen=True)
class Hostile:
    """One file or path, which reader gets it, and the code with which it has to be refused."""

    name: str
    reader: str
    path: str
    code: str


def write_hostile(folder: Path, outside: Path, port: int) -> list[Hostile]:
    """Write all of them; what they reach for lies in ``outside`` and at ``port``."""
    folder.mkdir()
    found = [
        *playlists(folder, outside, port),
        *addresses(folder, outside, port),
        *special_files(folder, outside),
        *containers(folder, outside),
        *archives(folder),
        *arrays(folder),
        *jsons(folder),
        *data_sets(folder, outside, port),
    ]
    assert len({entry.name for entry in found}) == len(found)
    return found


def playlists(folder: Path, outside: Path, port: int) -> list[Hostile]:
    canary, url = outside / "canary.mp4", f"http://127.0.0.1:{port}/a.ts"
    beside = folder / "beside.mp4"
    beside.write_bytes(canary.read_bytes())
    texts = {
        "ffconcat of a neighbour": ("VID-007", "ffconcat version 1.0\nfile 'beside.mp4'\n"),
        "ffconcat of a foreign file": ("VID-007", f"ffconcat version 1.0\nfile '{canary}'\n"),
        "ffconcat of an address": ("VID-007", f"ffconcat version 1.0\nfile '{url}'\n"),
        "m3u8 of a foreign file": (
            "VID-007", f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{canary}\n#EXT-X-ENDLIST\n",
        ),
        "m3u8 of an address": (
            "VID-007", f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n",
        ),
        "pls": ("VID-007", f"[playlist]\nFile1={url}\nNumberOfEntries=1\n"),
        "dash manifest": ("VID-003", f"<?xml version='1.0'?><MPD><BaseURL>{url}</BaseURL></MPD>"),
        "xml entity": (
            "VID-003", f"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY e SYSTEM 'file://{canary}'>]>"
            "<a>&e;</a>",
        ),
        "sdp": ("VID-003", f"v=0\nc=IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\n"),
        "subtitles": ("VID-003", f"1\n00:00:00,000 --> 00:00:09,000\n<img src='{url}'>\n"),
        "avisynth script": ("VID-003", f'AviSource("{canary}")\n'),
        "filter graph": ("VID-003", f"movie={canary}[out0]\n"),
        "ffmetadata": ("VID-003", ";FFMETADATA1\ntitle=a\n"),
    }  # fmt: skip
    found = []
    for number, (name, (code, text)) in enumerate(texts.items()):
        path = folder / f"playlist{number}.mp4"
        path.write_text(text, encoding="utf-8")
        found.append(Hostile(name, VIDEO, str(path), code))
    return found


def addresses(_folder: Path, outside: Path, port: int) -> list[Hostile]:
    canary, host = outside / "canary.mp4", f"127.0.0.1:{port}"
    words = [
        f"http://{host}/a.mp4", f"https://{host}/a.mp4", f"rtsp://{host}/a", f"tcp://{host}",
        f"udp://{host}", f"rtmp://{host}/a/b", f"hls+http://{host}/a.m3u8", f"ftp://{host}/a.mp4",
        f"gopher://{host}/a", f"cache:http://{host}/a.mp4", f"async:http://{host}/a.mp4",
        f"concat:{canary}|{canary}", f"subfile:,,start,0,end,0,,:{canary}", f"file:{canary}",
        f"crypto:{canary}", f"tee:{canary}", f"fd:{canary}", f"unix:{outside}/socket",
        "pipe:0", "-", "data:video/mp4;base64,AAAA", "lavfi:testsrc", "concatf:list.txt",
    ]  # fmt: skip
    return [Hostile(f"address {word.split(':')[0]}", VIDEO, word, "VID-009") for word in words]


def special_files(folder: Path, outside: Path) -> list[Hostile]:
    os.mkfifo(folder / "fifo.mp4")
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(folder)
        made.bind("socket.mp4")
        os.chdir(here)
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "gone.mp4").symlink_to(outside / "nothing.mp4")
    (folder / "sub.mp4").mkdir()
    (folder / "zero.mp4").symlink_to("/dev/zero")
    (folder / "%03d.png").write_bytes(png(8, 8))
    (folder / "001.png").write_bytes(png(8, 8))
    return [
        Hostile("fifo", VIDEO, str(folder / "fifo.mp4"), "VID-008"),
        Hostile("socket", VIDEO, str(folder / "socket.mp4"), "VID-008"),
        Hostile("folder", VIDEO, str(folder / "sub.mp4"), "VID-008"),
        Hostile("device", VIDEO, "/dev/zero", "VID-008"),
        Hostile("link to a device", VIDEO, str(folder / "zero.mp4"), "VID-008"),
        Hostile("terminal", VIDEO, "/dev/stdin", "VID-008"),
        Hostile("process file", VIDEO, "/proc/self/environ", "VID-002"),
        Hostile("link loop", VIDEO, str(folder / "loop.mp4"), "VID-013"),
        Hostile("dangling link", VIDEO, str(folder / "gone.mp4"), "VID-001"),
        Hostile("name of an image sequence", VIDEO, str(folder / "%03d.png"), "VID-007"),
        Hostile("null byte in a name", VIDEO, str(folder / "a\0.mp4"), "VID-001"),
        Hostile("fifo as joints", SKELETON, fifo(folder, "fifo.npz"), "SKEL-002"),
    ]


def fifo(folder: Path, name: str) -> str:
    os.mkfifo(folder / name)
    return str(folder / name)


def png(height: int, width: int) -> bytes:
    """A grey picture of any size, in few bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    squeezer = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    rows = b"".join(squeezer.compress(row) for _ in range(height)) + squeezer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def containers(folder: Path, outside: Path) -> list[Hostile]:
    good = video_bytes("mp4")
    canary = outside / "canary.mp4"
    files = {
        "external reference": ("VID-006", with_reference(good, alias(canary, 0))),
        "external reference by levels": ("VID-006", with_reference(good, alias(canary, 2))),
        "pixel bomb": ("VID-010", picture_movie(png(6_100, 6_100))),
        "frame bomb": ("VID-018", frame_bomb(good, 1_000_000)),
        "frames beyond belief": ("VID-018", frame_bomb(good, 2**31 - 1, places=1)),
        "zip": ("VID-003", archive({"a.mp4": good})),
        "picture": ("VID-007", png(8, 8)),
        "gif": ("VID-007", b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(300)),
        "nested boxes": ("VID-003", nested_boxes(50_000)),
        "endless ebml": ("VID-003", b"\x1aE\xdf\xa3" + b"\x01\xff\xff\xff\xff\xff\xff\xff" * 200),
    }  # fmt: skip
    found = []
    for number, (name, (code, content)) in enumerate(files.items()):
        path = folder / f"container{number}.mp4"
        path.write_bytes(content)
        found.append(Hostile(name, VIDEO, str(path), code))
    return found


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def replaced(movie: bytes, path: list[bytes], make: Callable[[bytes], bytes]) -> bytes:
    """Put another content into one box, and mend the sizes of those around it."""
    at = 0
    while at < len(movie):
        size, name = struct.unpack(">I4s", movie[at : at + 8])
        if name == path[0]:
            inside = movie[at + 8 : at + size]
            new = make(inside) if len(path) == 1 else replaced(inside, path[1:], make)
            return movie[:at] + box(name, new) + movie[at + size :]
        at += size
    raise AssertionError(path)


_MEDIA = [b"moov", b"trak", b"mdia", b"minf"]


def alias(path: Path, levels: int) -> bytes:
    """A QuickTime alias: an absolute path, and how many levels of it lie above both files.

    FFmpeg follows the levels where there are some, and the absolute path where there are none.
    """
    words = str(path).encode()
    words += b"\0" * (len(words) % 2)
    record = bytes(10) + b"\x06volume" + bytes(21) + bytes(12) + b"\x06canary" + bytes(57)
    record += bytes(16) + struct.pack(">hh", levels, levels) + bytes(16)
    record += struct.pack(">hh", 2, len(words)) + words + struct.pack(">hh", -1, 0)
    return box(b"alis", bytes(4) + record)


def with_reference(movie: bytes, entry: bytes) -> bytes:
    """Say that the pictures lie in another file."""
    content = bytes(4) + struct.pack(">I", 1) + entry
    return replaced(movie, [*_MEDIA, b"dinf", b"dref"], lambda _: content)


def frame_bomb(movie: bytes, count: int, places: int | None = None) -> bytes:
    """Show the first, whole picture ``count`` times: as many places of one and the same bytes."""
    # the edit list would show the first sixty alone
    movie = movie.replace(b"edts", b"free")
    table = [*_MEDIA, b"stbl"]
    first: list[int] = []
    replaced(
        movie, [*table, b"stsz"], lambda s: first.append(struct.unpack(">I", s[12:16])[0]) or s
    )
    start: list[int] = []
    replaced(movie, [*table, b"stco"], lambda s: start.append(struct.unpack(">I", s[8:12])[0]) or s)
    number = count if places is None else places
    for name, content in (
        (b"stts", struct.pack(">IIII", 0, 1, count, 512)),
        (b"ctts", struct.pack(">IIII", 0, 1, count, 0)),
        (b"stsz", struct.pack(">III", 0, first[0], count)),
        (b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1)),
        (b"stss", struct.pack(">III", 0, 1, 1)),
        (b"stco", struct.pack(">II", 0, number) + struct.pack(">I", start[0]) * number),
    ):
        movie = replaced(movie, [*table, name], lambda _, new=content: new)
    return movie


def picture_movie(picture: bytes) -> bytes:
    """A QuickTime file of one PNG."""
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb24"
        packet = av.Packet(picture)
        packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 25)
        container.start_encoding()
        container.mux(packet)
    return file.getvalue()


def nested_boxes(depth: int) -> bytes:
    inside = b""
    head = b"\0\0\0\x14ftypisom\0\0\0\0isom"
    sizes = [8 * (level + 1) for level in range(depth)]
    for size in reversed(sizes):
        inside += struct.pack(">I", size) + b"moov"
    return head + inside


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(text: str, length: int | None = None) -> bytes:
    body = text.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length or len(body)) + body


def zeros_archive(size: int) -> bytes:
    """One array of zeros, squeezed to a thousandth."""
    file = io.BytesIO()
    block = bytes(1 << 20)
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made,
        made.open("pixels.npy", "w") as member,
    ):
        text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({size // 8},), }}\n"
        member.write(header(text))
        for _ in range(size >> 20):
            member.write(block)
    return file.getvalue()


def patched(content: bytes, old: bytes, new: bytes, *, last: bool = False) -> bytes:
    place = content.rindex(old) if last else content.index(old)
    return content[:place] + new + content[place + len(old) :]


OBJECTS = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
PICKLE = b"cos\nsystem\n(S'x'\ntR."


def archives(folder: Path) -> list[Hostile]:
    good = npy(np.zeros((3, 17, 2), np.float32))
    plain = archive(
        {"pixels.npy": good, "layout.npy": npy(np.array("coco-17"))}, zipfile.ZIP_STORED
    )
    twice = archive({"pixels.npy": good, "pixelz.npy": good}, zipfile.ZIP_STORED)
    claims = archive({"pixels.npy": good}, zipfile.ZIP_STORED)
    size = struct.pack("<I", len(good))
    files = {
        "zip bomb": zeros_archive(128 << 20),
        "zip of more than 2 GB": patched(claims, size, struct.pack("<I", 2**31 + 4096), last=True),
        "nested zip": archive({"pixels.npy": archive({"pixels.npy": good})}),
        "two members of one name": twice.replace(b"pixelz", b"pixels"),
        "bad checksum": patched(plain, good[-40:], b"\1" * 40),
        "lying size": patched(claims, size, struct.pack("<I", 50 << 20), last=True),
        "encrypted member": encrypted(plain),
        "unknown compression": patched(plain, b"PK\1\2\x14\3\x14\0\0\0\0\0",
                                       b"PK\1\2\x14\3\x14\0\0\0\x63\0"),
        "pickle in an array": archive({"pixels.npy": header(OBJECTS) + PICKLE}),
        "zip slip": archive({"../../evil.npy": good, "/evil.npy": good}),
        "members that overlap": overlapping(good),
    }  # fmt: skip
    found = []
    for number, (name, content) in enumerate(files.items()):
        path = folder / f"archive{number}.npz"
        path.write_bytes(content)
        found.append(Hostile(name, SKELETON, str(path), "SKEL-002"))
    return found


def encrypted(content: bytes) -> bytes:
    """Set the bit that says so, in the directory and before the members."""
    marked = bytearray(content)
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = marked.find(mark)
        while at >= 0:
            marked[at + offset] |= 1
            at = marked.find(mark, at + 4)
    return bytes(marked)


def overlapping(good: bytes) -> bytes:
    """Thousands of entries of the directory that are one and the same member."""
    whole = archive({"pixels00000.npy": good}, zipfile.ZIP_STORED)
    start = whole.index(b"PK\1\2")
    end = whole.index(b"PK\5\6")
    entry, count = whole[start:end], 60_000
    entries = b"".join(
        entry.replace(b"pixels00000", f"pixels{number:05}".encode()) for number in range(count)
    )
    tail = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(entries), start, 0)
    return whole[:start] + entries + tail


def arrays(folder: Path) -> list[Hostile]:
    def said(shape: str, descr: str = "<f4") -> str:
        return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n"

    files = {
        "array of a terabyte": header(said("(1000000000000, 17, 2)")),
        "array of more than there is": header(said("(3, 17, 2)")) + bytes(40),
        "shape that overflows": header(said("(4294967296, 4294967296, 4294967296)")),
        "endless header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{" * 1000,
        "code in a header": header(
            "{'descr': __import__('os').system('x'), 'fortran_order': False, 'shape': (1,), }"
        ),
        "nesting in a header": header("(" * 9000),
        "array of objects": header(OBJECTS) + PICKLE,
        "structured array": header(
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"
        ),
        "letters of a gigabyte": header(said("(1000,)", "<U268435456")),
    }
    found = []
    for number, (name, content) in enumerate(files.items()):
        path = folder / f"array{number}.npy"
        path.write_bytes(content)
        found.append(Hostile(name, SKELETON, str(path), "SKEL-002"))
    return found


def jsons(folder: Path) -> list[Hostile]:
    files = {
        "nesting": ("SKEL-002", b"[" * 1_000_000),
        "nesting in a value": ("SKEL-002", b'{"pixels": ' + b"[" * 1_000_000),
        "endless number": ("SKEL-002", b'{"pixels": ' + b"9" * 10_000_000 + b"}"),
        "number beyond a double": ("SKEL-010", b'{"layout": "coco-17", "pixels": '
                                   + json.dumps([[[0, 0]] * 17]).replace("0", "1e999").encode()
                                   + b"}"),
        "repeated keys": ("SKEL-002", b'{"pixels": 1, "pixels": 2}'),
        "millions of empty lists": ("SKEL-002", b'{"pixels": [' + b"[]," * 20_000_000 + b"[]]}"),
        "millions of keys": ("SKEL-002", b'{"pixels": [' + b'{"":0},' * 8_000_000 + b"{}]}"),
        "long text": ("SKEL-005", b'{"pixels": "' + b"a" * 60_000_000 + b'"}'),
        "letters for numbers": ("SKEL-005", b'{"layout": "coco-17", "pixels": [[["a", "b"]]]}'),
    }  # fmt: skip
    found = []
    for number, (name, (code, content)) in enumerate(files.items()):
        path = folder / f"json{number}.json"
        path.write_bytes(content)
        found.append(Hostile(name, SKELETON, str(path), code))
    with (folder / "gigabyte.json").open("wb") as file:
        file.truncate(1 << 30)
    return [*found, Hostile("a gigabyte", SKELETON, str(folder / "gigabyte.json"), "SKEL-003")]


YAML = "name: a\nclasses: [x]\nprotocols: {p: {description: d}}\n"
CSV = "id,video,label,split:p\na,videos/a.mp4,x,train\n"


def laughs(merge: bool) -> str:
    lines = ["a0: &a0 {x: 1}" if merge else "a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 12):
        many = ", ".join([f"*a{level - 1}"] * 9)
        inside = f"{{<<: [{many}]}}" if merge else f"[{many}]"
        lines.append(f"a{level}: &a{level} {inside}")
    return "\n".join(lines) + "\nclasses: *a11\nname: a\n"


def data_sets(folder: Path, outside: Path, port: int) -> list[Hostile]:
    head, canary = "id,video,label,split:p\n", outside / "canary.mp4"
    files: dict[str, tuple[str, str, str]] = {
        "billion laughs": ("DATA-003", laughs(False), CSV),
        "billion laughs by merge keys": ("DATA-003", laughs(True), CSV),
        "yaml that is code": ("DATA-003", "name: !!python/object/apply:os.system [x]\n", CSV),
        "yaml of brackets": ("DATA-003", "classes: " + "[" * 500_000, CSV),
        "yaml of 5 MB": ("DATA-003", "a: b\n" * 1_000_000, CSV),
        "yaml of 3.9 MB": ("DATA-003", YAML + "".join(f"k{n}: 1\n" for n in range(380_000)), CSV),
        "a million columns": ("DATA-004", YAML, "id," * 1_000_000 + "\n"),
        "a million odd columns": ("DATA-004", YAML, ",".join(map(str, range(1_000_000))) + "\n"),
        "a million fields": ("DATA-005", YAML, head + "a," * 1_000_000 + "\n"),
        "a field of 10 MB": ("DATA-005", YAML, head + "a" * 10_000_000 + "\n"),
        "an open quote": ("DATA-005", YAML, head + '"' + "a\n" * 5_000_000),
        "null bytes": ("DATA-005", YAML, head + "a\0b,videos/a.mp4,x,train\n"),
        "a path that climbs": ("DATA-009", YAML, head + "a,../../canary.mp4,x,train\n"),
        "an absolute path": ("DATA-009", YAML, head + f"a,{canary},x,train\n"),
        "a drive": ("DATA-009", YAML, head + "a,C:\\canary.mp4,x,train\n"),
        "an address": ("VID-001", YAML, head + f"a,http://127.0.0.1:{port}/a,x,train\n"),
        "a number of a million digits": (
            "DATA-005", YAML, "id,label,width,split:p\na,x," + "9" * 100_000 + ",train\n",
        ),
        "a link out of the folder": ("DATA-009", YAML, CSV),
        "joints of a terabyte": ("DATA-011", YAML + "skeletons: {pixels: {layout: coco-17, "
                                 "dimensions: 2}}\n", CSV),
    }  # fmt: skip
    found = []
    for number, (name, (code, about, clips)) in enumerate(files.items()):
        root = folder / f"set{number}"
        (root / "videos").mkdir(parents=True)
        (root / "skeletons").mkdir()
        (root / "dataset.yaml").write_text(about)
        (root / "clips.csv").write_text(clips)
        (root / "videos" / "a.mp4").symlink_to(canary)
        text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 17, 2), }\n"
        (root / "skeletons" / "pixels.npy").write_bytes(header(text))
        found.append(Hostile(name, FOLDER, str(root), code))
    lists = {
        "import of addresses": (
            "DATA-012", [f"http://127.0.0.1:{port}/a.mp4", f"concat:{canary}", "pipe:0"],
        ),
        "import that climbs": ("DATA-009", ["../outside/canary.mp4"]),
        "import of an absolute path": ("DATA-009", [str(canary)]),
    }  # fmt: skip
    for number, (name, (code, videos)) in enumerate(lists.items()):
        path = folder / f"import{number}.csv"
        path.write_text("video,label\n" + "".join(f"{video},x\n" for video in videos))
        found.append(Hostile(name, IMPORT, str(path), code))
    return found
