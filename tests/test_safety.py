"""What the source may never do, looked for in its syntax tree."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "poselens"
FILES = sorted(SRC.rglob("*.py"))


def dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` for a name with attributes."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def given(call: ast.Call, name: str) -> object:
    """Return the constant given for a keyword, or None."""
    for keyword in call.keywords:
        if keyword.arg == name and isinstance(keyword.value, ast.Constant):
            return keyword.value.value
    return None


def faults(source: str, *, in_cli: bool = False) -> list[str]:
    """Return what is wrong with a module, one word each."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None:
                found.append("bare except")
            broad = node.type is not None and dotted(node.type) in ("Exception", "BaseException")
            if broad and all(isinstance(line, ast.Pass) for line in node.body):
                found.append("swallowed exception")
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "marshal", "shelve"):
                found += [f"{node.module}.{n}" for n in names if n != "UnpicklingError"]
            if isinstance(node, ast.Import):
                found += [n for n in names if n in ("pickle", "marshal", "shelve", "dill")]
        if isinstance(node, ast.Call):
            found += called(node, in_cli=in_cli)
    return found


def called(node: ast.Call, *, in_cli: bool) -> list[str]:
    name = dotted(node.func)
    last = name.rsplit(".", 1)[-1]
    found = []
    if name == "torch.load" and given(node, "weights_only") is not True:
        found.append("torch.load without weights_only=True")
    if given(node, "allow_pickle") is True:
        found.append("allow_pickle=True")
    if given(node, "shell") is True or name in ("os.system", "os.popen"):
        found.append("shell")
    if last in ("extractall", "extract"):
        found.append("extractall")
    if name in ("eval", "exec", "yaml.load", "yaml.unsafe_load"):
        found.append(name)
    if name == "print" and not in_cli:
        found.append("print")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(SRC).as_posix())
def test_the_source_does_nothing_of_the_kind(file):
    in_cli = file.relative_to(SRC).parts[0] == "cli"
    assert faults(file.read_text(encoding="utf-8"), in_cli=in_cli) == []


@pytest.mark.parametrize(
    "bad",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "numpy.load(p, allow_pickle=True)",
        "subprocess.run(c, shell=True)",
        "os.system(c)",
        "archive.extractall()",
        "try:\n    f()\nexcept:\n    g()",
        "try:\n    f()\nexcept Exception:\n    pass",
        "print(1)",
        "eval(text)",
        "yaml.load(text)",
    ],
)
def test_the_search_finds_it(bad):
    assert len(faults(bad)) == 1


def test_nothing_of_this_machine_is_in_the_source():
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        for folder in ("work", "tmp", "home", "root"):
            assert f"/{folder}/" not in text, file
