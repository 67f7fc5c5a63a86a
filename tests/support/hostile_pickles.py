"""Pickles that try to run something, or to take all memory or time, written by hand.

``CANARY`` in a command is the file that must not appear. The published ways past lists of forbidden
names are among them, for a list of allowed names has to refuse them without knowing them.
"""

import struct
from dataclasses import dataclass

CANARY = "CANARY"
_TOUCH = f"touch {CANARY}"


@dataclass(frozen=True)
class Hostile:
    """One pickle.

    Attributes:
        data: The file.
        code: Error that has to come.
        says: Part of its text: the name asked for, where there is one.
    """

    data: bytes
    code: str
    says: str


def text(value: str) -> bytes:
    """A short text, protocol 4."""
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def named(module: str, name: str) -> bytes:
    """A name, as all protocols may write it."""
    return f"c{module}\n{name}\n".encode()


def call(module: str, name: str, *arguments: bytes) -> bytes:
    """``module.name(*arguments)``."""
    return named(module, name) + b"(" + b"".join(arguments) + b"tR"


def whole(body: bytes, protocol: int = 4) -> bytes:
    """A complete pickle."""
    return b"\x80" + bytes([protocol]) + body + b"."


def _asks(module: str, name: str, *arguments: bytes) -> Hostile:
    return Hostile(whole(call(module, name, *arguments)), "PKL-002", f"{module}.{name}")


def _limit(body: bytes, says: str, code: str = "PKL-003") -> Hostile:
    return Hostile(whole(body), code, says)


DTYPE = (
    named("numpy", "dtype") + text("f4") + b"\x89\x88\x87R"
    b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)
BLANK = (
    named("numpy.core.multiarray", "_reconstruct") + named("numpy", "ndarray")
    + b"K\x00\x85C\x01b\x87R"
)  # fmt: skip


def array(shape: bytes, data: bytes, dtype: bytes = DTYPE) -> bytes:
    """An array with the given shape and data, both as instructions."""
    return BLANK + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb"


def _nested_laughs(levels: int) -> bytes:
    """Each level is a tuple of ten times the one below."""
    body = b")\x94"
    for level in range(levels):
        body += b"(" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"t\x94"
    return body


def corpus() -> dict[str, Hostile]:
    """Return every hostile pickle by name."""
    return {**small_corpus(), **_bombs()}


def small_corpus() -> dict[str, Hostile]:
    """Return those that want to run something, without those that want all memory or time."""
    command = text(_TOUCH)
    python = text(f"open({CANARY!r}, 'w')")
    return {**_calls(command, python), **_other_instructions(command), **_arrays(command)}


def _calls(command: bytes, python: bytes) -> dict[str, Hostile]:
    found = {
        "os.system": _asks("os", "system", command),
        "posix.system": _asks("posix", "system", command),
        "nt.system": _asks("nt", "system", command),
        "os.popen": _asks("os", "popen", command),
        "os.execvp": _asks("os", "execvp", text("touch"), b"]" + text("touch") + b"a" + command),
        "subprocess.Popen": _asks("subprocess", "Popen", b"]" + text("touch") + b"a"),
        "subprocess.check_output": _asks("subprocess", "check_output", command),
        "asyncio.unix_events._UnixSubprocessTransport._start": _asks(
            "asyncio.unix_events", "_UnixSubprocessTransport._start", command
        ),
        "builtins.eval": _asks("builtins", "eval", python),
        "builtins.exec": _asks("builtins", "exec", python),
        "builtins.getattr": _asks("builtins", "getattr", text("x"), text("__class__")),
        "builtins.__import__": _asks("builtins", "__import__", text("antigravity")),
        "builtins.open": _asks("builtins", "open", text(CANARY), text("w")),
        "builtins.compile": _asks("builtins", "compile", python, text("x"), text("exec")),
        "builtins.bytearray": _asks("builtins", "bytearray", b"J\xff\xff\xff\x7f"),
        "python 2 eval": _asks("__builtin__", "eval", python),
        "importlib.import_module": _asks("importlib", "import_module", text("antigravity")),
        "pydoc.locate": _asks("pydoc", "locate", text("os.system")),
        "pty.spawn": _asks("pty", "spawn", text("sh")),
        "runpy.run_path": _asks("runpy", "run_path", text(CANARY)),
        "timeit.timeit": _asks("timeit", "timeit", python),
        "cProfile.runctx": _asks("cProfile", "runctx", python, b"}", b"}"),
        "bdb.Bdb.run": _asks("bdb", "Bdb.run", python),
        "doctest.debug_script": _asks("doctest", "debug_script", python),
        "code.InteractiveInterpreter.runcode": _asks("code", "InteractiveInterpreter.runcode"),
        "lib2to3.pgen2.grammar": _asks("lib2to3.pgen2.grammar", "Grammar.loads", command),
        "idlelib.run.Executive.runcode": _asks("idlelib.run", "Executive.runcode", python),
        "ensurepip._run_pip": _asks("ensurepip", "_run_pip", b"]"),
        "pip.main": _asks("pip", "main", b"]" + text("download") + b"a" + text("evil") + b"a"),
        "functools.partial": _asks("functools", "partial", command),
        "functools.reduce": _asks("functools", "reduce", command),
        "operator.methodcaller": _asks("operator", "methodcaller", text("system"), command),
        "operator.attrgetter": _asks("operator", "attrgetter", text("system")),
        "types.CodeType": _asks("types", "CodeType", b"K\x00"),
        "marshal.loads": _asks("marshal", "loads", b"C\x01x"),
        "pickle.loads": _asks("pickle", "loads", b"C\x02N."),
        "copyreg._reconstructor": _asks("copyreg", "_reconstructor", b"N", b"N", b"N"),
        "webbrowser.open": _asks("webbrowser", "open", text("http://127.0.0.1:9/")),
        "urllib.request.urlopen": _asks("urllib.request", "urlopen", text("http://127.0.0.1:9/")),
        "socket.create_connection": _asks("socket", "create_connection", text("127.0.0.1")),
        "shutil.rmtree": _asks("shutil", "rmtree", text(".")),
        "linecache.getline": _asks("linecache", "getline", text("secret")),
        "logging.config": _asks("logging.config", "listen", b"K\x00"),
        "numpy.load": _asks("numpy", "load", text(CANARY)),
        "numpy.memmap": _asks("numpy", "memmap", text(CANARY), text("u1"), text("w+")),
        "numpy.fromfile": _asks("numpy", "fromfile", text("secret")),
        "numpy.f2py.crackfortran.myeval": _asks("numpy.f2py.crackfortran", "myeval", python),
        "numpy.f2py.crackfortran.getlincoef": _asks("numpy.f2py.crackfortran", "getlincoef"),
        "numpy.testing._private.utils.runstring": _asks(
            "numpy.testing._private.utils", "runstring", python, b"}"
        ),
        "numpy.core.multiarray.fromfile": _asks("numpy.core.multiarray", "fromfile", text("x")),
        "torch.load": _asks("torch", "load", text(CANARY)),
        "torch.storage._load_from_bytes": _asks("torch.storage", "_load_from_bytes", b"C\x00"),
        "torch.utils.bottleneck.__main__.run_autograd_prof": _asks(
            "torch.utils.bottleneck.__main__", "run_autograd_prof", python, b"}"
        ),
        "pandas.read_pickle": _asks("pandas", "read_pickle", text(CANARY)),
        "joblib.load": _asks("joblib", "load", text(CANARY)),
        "_codecs.decode": _asks("_codecs", "decode", b"C\x01x", text("zlib")),
        "codecs.open": _asks("codecs", "open", text(CANARY), text("w")),
        "a name with line ends and escapes": _asks("os\x1b[2J", "system", command),
    }
    found["a name with line ends and escapes"] = Hostile(
        found["a name with line ends and escapes"].data, "PKL-002", "os?[2J.system"
    )
    return found


def _other_instructions(command: bytes) -> dict[str, Hostile]:
    stacked = text("os") + text("system") + b"\x93" + command + b"\x85R"
    return {
        "protocol 0": Hostile(b"cos\nsystem\n(S'touch CANARY'\ntR.", "PKL-002", "os.system"),
        "protocol 1": Hostile(b"cos\nsystem\n(U\x0ctouch CANARYtR.", "PKL-002", "os.system"),
        "STACK_GLOBAL": Hostile(whole(stacked), "PKL-002", "os.system"),
        "STACK_GLOBAL without texts": Hostile(whole(b"K\x01K\x02\x93"), "PKL-001", "no text"),
        "INST": Hostile(b"(S'touch CANARY'\nios\nsystem\n.", "PKL-002", "os.system"),
        "INST of an allowed name": Hostile(
            b"(S'touch CANARY'\ni_codecs\nencode\n.", "PKL-002", "_codecs.encode"
        ),
        "OBJ": Hostile(b"(cos\nsystem\nS'touch CANARY'\no.", "PKL-002", "os.system"),
        "OBJ of an allowed name": Hostile(
            b"(c_codecs\nencode\nS'x'\no.", "PKL-005", "an object of _codecs.encode"
        ),
        "NEWOBJ": Hostile(whole(named("os", "system") + b")\x81"), "PKL-002", "os.system"),
        "NEWOBJ of an allowed name": Hostile(
            whole(named("numpy", "ndarray") + b")\x81"), "PKL-005", "an object of numpy.ndarray"
        ),
        "NEWOBJ_EX": Hostile(
            whole(named("collections", "OrderedDict") + b")}\x92"), "PKL-005",
            "an object of collections.OrderedDict",
        ),
        "EXT1": Hostile(whole(b"\x82\x01"), "PKL-005", "its number"),
        "EXT2": Hostile(whole(b"\x83\x01\x00"), "PKL-005", "its number"),
        "EXT4": Hostile(whole(b"\x84\x01\x00\x00\x00"), "PKL-005", "its number"),
        "PERSID": Hostile(b"Psomething\n.", "PKL-005", "outside the file"),
        "BINPERSID": Hostile(whole(b"K\x01Q"), "PKL-005", "outside the file"),
        "NEXT_BUFFER": Hostile(whole(b"\x97", 5), "PKL-005", "outside the file"),
        "READONLY_BUFFER": Hostile(whole(b"K\x01\x98", 5), "PKL-005", "outside the file"),
        "BUILD of a dict": Hostile(
            whole(b"}}" + text("__setstate__") + command + b"sb"), "PKL-005", "state of an object"
        ),
        "BUILD of a name": Hostile(
            whole(named("numpy", "ndarray") + b"}" + text("__reduce__") + command + b"sb"),
            "PKL-005", "state of an object",
        ),
        "REDUCE of a text": Hostile(whole(text("os.system") + command + b"\x85R"), "PKL-005", ""),
        "REDUCE of ndarray": Hostile(
            whole(call("numpy", "ndarray", b"J\xff\xff\xff\x7f\x85")), "PKL-004", ""
        ),
        "nested in a list of dicts": Hostile(
            whole(b"]}" + text("annotations") + b"](" + call("os", "system", command) + b"esa"),
            "PKL-002", "os.system",
        ),
        "os.system as a key": Hostile(
            whole(b"}" + named("os", "system") + b"K\x01s"), "PKL-002", "os.system"
        ),
        "an allowed name as a key": Hostile(
            whole(b"}" + named("numpy", "dtype") + b"K\x01s"), "PKL-004", "a key of a dict is Name"
        ),
        "an odd codec": Hostile(
            whole(call("_codecs", "encode", text("x"), text("rot13"))), "PKL-004", "latin1"
        ),
        "a codec that unpacks": Hostile(
            whole(call("_codecs", "encode", text("x"), text("zlib_codec"))), "PKL-004", "latin1"
        ),
        "a codec with a handler": Hostile(
            whole(call("_codecs", "encode", text("x"), text("latin1"), text("xmlcharrefreplace"))),
            "PKL-004", "latin1",
        ),
    }  # fmt: skip


def _arrays(command: bytes) -> dict[str, Hostile]:
    objects = named("numpy", "dtype") + text("O8") + b"\x89\x88\x87R"
    records = (
        named("numpy", "dtype") + text("V8") + b"\x89\x88\x87R"
        b"(K\x03" + text("|") + b"N" + text("a") + b"\x85}K\x08K\x01K\x10tb"
    )
    huge = b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
    return {
        "objects in an array": Hostile(
            whole(array(b"K\x01\x85", b"](" + call("os", "system", command) + b"e", objects)),
            "PKL-004", "'O8'",
        ),
        "os.system in an array's state": Hostile(
            whole(array(b"K\x01\x85", b"](" + call("os", "system", command) + b"e")),
            "PKL-002", "os.system",
        ),
        "a list in an array's state": Hostile(
            whole(array(b"K\x01\x85", b"]")), "PKL-004", "an array of objects"
        ),
        "records": Hostile(whole(array(b"K\x01\x85", b"C\x00", records)), "PKL-004", "'V8'"),
        "a huge shape": Hostile(whole(array(huge, b"C\x04abcd")), "PKL-004", "the limit is"),
        "a shape beyond its data": Hostile(
            whole(array(b"K\x64\x85", b"C\x04abcd")), "PKL-004", "is 400 bytes, found 4"
        ),
        "a negative shape": Hostile(
            whole(array(b"J\xff\xff\xff\xff\x85", b"C\x04abcd")), "PKL-004", "no list of sizes"
        ),
        "a huge _reconstruct": Hostile(
            whole(
                named("numpy.core.multiarray", "_reconstruct") + named("numpy", "ndarray")
                + huge + b"C\x01b\x87R"
            ),
            "PKL-004", "not made as NumPy makes it",
        ),
        "_reconstruct of a matrix": Hostile(
            whole(
                named("numpy.core.multiarray", "_reconstruct") + named("numpy", "matrix")
                + b"K\x00\x85C\x01b\x87R"
            ),
            "PKL-002", "numpy.matrix",
        ),
        "a type that is parsed": Hostile(
            whole(call("numpy", "dtype", text("f4,(1000000000,)f8"), b"\x89", b"\x88")),
            "PKL-004", "unknown type",
        ),
        "a dtype of an attribute": Hostile(
            whole(call("numpy", "dtype", b"}", b"\x89", b"\x88")), "PKL-004", "expected bytes"
        ),
        "a scalar of objects": Hostile(
            whole(call("numpy.core.multiarray", "scalar", objects, command)), "PKL-004", "'O8'"
        ),
        "_frombuffer of a huge shape": Hostile(
            whole(call("numpy._core.numeric", "_frombuffer", b"C\x04abcd", DTYPE, huge, text("C"))),
            "PKL-004", "the limit is",
        ),
        "state set twice": Hostile(
            whole(
                array(b"K\x01\x85", b"C\x04abcd")
                + b"(K\x01K\x01\x85" + DTYPE + b"\x89C\x04abcdtb"
            ),
            "PKL-004", "set twice",
        ),
    }  # fmt: skip


def _bombs() -> dict[str, Hostile]:
    huge8 = struct.pack("<Q", 2**62)
    return {
        "a huge BINBYTES8": _limit(b"\x8e" + huge8 + b"x", "cut short", "PKL-001"),
        "a huge BYTEARRAY8": _limit(b"\x96" + huge8 + b"x", "cut short", "PKL-001"),
        "a huge BINUNICODE8": _limit(b"\x8d" + huge8 + b"x", "cut short", "PKL-001"),
        "a huge BINSTRING": _limit(b"T\xff\xff\xff\x7fx", "cut short", "PKL-001"),
        "a huge FRAME": _limit(b"\x95" + huge8 + b"N", "cut short", "PKL-001"),
        "a huge LONG4": _limit(b"\x8b\xff\xff\xff\x7f", "a whole number of 2147483647 bytes"),
        "a huge LONG1": _limit(b"\x8a\xff" + b"\x7f" * 255, "a whole number of 255 bytes"),
        "a LONG of many digits": _limit(b"L" + b"9" * 2_000_000 + b"L\n", "a line of more"),
        "a huge memo place": _limit(b"]r\xff\xff\xff\xff" * 3, "values left over", "PKL-001"),
        "many memo places": _limit(
            b"N" + b"".join(b"r" + struct.pack("<I", place) for place in range(3_000_001)),
            "values remembered",
        ),
        "a memo place that is empty": _limit(b"h\x07", "damaged", "PKL-001"),
        "billion laughs": Hostile(whole(b"}" + _nested_laughs(30) + b"N\x86"), "PKL-001", ""),
        "billion laughs as a key": Hostile(
            whole(_nested_laughs(30) + b"}h\x1eNs"), "PKL-004", "is tuple"
        ),
        "deep marks": _limit(b"(" * 2_000_000, "nested more than 1000 deep"),
        "deep lists": _limit(b"]" * 1_500_000, "values wait for their container"),
        "deep tuples as a key": _limit(b"})" + b"\x85" * 300_000 + b"Ns", "is tuple", "PKL-004"),
        "many lists": _limit(b"]" + b"]a" * 3_500_000, "more than 3000000 values"),
        "many dicts": _limit(
            b"]" + (b"(" + b"}" * 900_000 + b"e") * 4, "more than 3000000 values"
        ),
        "much text": _limit(b"](" + (b"X\x00\x08\x00\x00" + b"x" * 2048) * 40_000, "bytes of text"),
        "many instructions": _limit(b"N0" * 6_500_000, "more than 12000000 instructions"),
        "an endless line": _limit(b"S'" + b"x" * (65 * 1024**2), "a line of more than"),
        "empty": Hostile(b"", "PKL-001", "empty"),
        "cut short": Hostile(b"\x80\x04]", "PKL-001", "cut short"),
        "gzip": Hostile(b"\x1f\x8b\x08", "PKL-001", "looks like gzip"),
        "a zip": Hostile(b"PK\x03\x04", "PKL-005", "outside the file"),
        "HTML": Hostile(b"<html>404</html>", "PKL-001", "looks like HTML"),
        "protocol 9": Hostile(b"\x80\x09N.", "PKL-001", "protocol 9"),
        "values left over": Hostile(whole(b"NN"), "PKL-001", "left over"),
        "nothing": Hostile(b".", "PKL-001", "left over"),
    }  # fmt: skip
