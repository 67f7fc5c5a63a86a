"""Every command that the documentation shows can be typed."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from poselens.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [
    page
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
    if page.is_file()
]


def blocks(text: str) -> str:
    """Return the shell blocks of a page, continued lines joined."""
    found = re.findall(r"^```(?:sh|bash|shell|console)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return "\n".join(found).replace("\\\n", " ")


def commands(text: str) -> list[list[str]]:
    """Return the words after ``poselens`` of each command of a text."""
    found = []
    for line in blocks(text).splitlines():
        line = line.strip().removeprefix("$ ")
        for part in re.split(r"\s(?:&&|\||;)\s", line):
            match = re.match(r"(?:\S*/)?poselens\s+(.*)", part.strip())
            if match:
                found.append(shlex.split(match[1], comments=True))
    return found


def check(words: list[str]) -> str | None:
    """Return what the command line cannot read, or None; place holders count as values."""
    command = typer.main.get_command(app)
    words = [word.strip("[]") for word in words]
    while getattr(command, "commands", None):
        if not words:
            return "a command is missing"
        # explain MODEL DIR is explain clips MODEL DIR
        default = getattr(command, "default_command", None)
        name = default if default and words[0] not in command.commands else words.pop(0)
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    known = {flag for parameter in command.params for flag in [*parameter.opts, "--help"]}
    known |= {flag for parameter in command.params for flag in parameter.secondary_opts}
    for word in words:
        flag = word.split("=")[0]
        if flag.startswith("--") and flag not in known:
            return f"no option {flag!r} of {command.name!r}"
    return None


SHOWN = [(page, words) for page in PAGES for words in commands(page.read_text(encoding="utf-8"))]


@pytest.mark.skipif(not SHOWN, reason="no page shows a command yet")
@pytest.mark.parametrize(
    ("page", "words"), SHOWN, ids=lambda value: getattr(value, "name", None) or " ".join(value)[:60]
)
def test_a_command_that_is_shown_can_be_typed(page, words):
    assert check(words) is None


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("poselens data synth --out drawn --clips 320", None),
        (".venv/bin/poselens predict bundle a.mp4 --no-video  # quick", None),
        ("$ poselens train rgb DIR --recipe tiny --protocol P --out RUN [--set key=value]", None),
        ("poselens train rbg DIR", "no command 'rbg'"),
        ("poselens evaluate B DIR --protokol p", "no option '--protokol' of 'evaluate'"),
        ("poselens data", "a command is missing"),
        ("poselens explain RUN DIR --protocol p --out o", None),
        ("poselens explain figure3 --run a", "no option '--run' of 'figure3'"),
    ],
)
def test_the_check_itself(line, fault):
    (words,) = commands(f"```sh\n{line}\n```\n")
    assert check(words) == fault


def test_the_examples_of_the_rgb_branch_run():
    page = (ROOT / "docs" / "concepts" / "rgb.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(examples) == 2
    for example in examples:
        exec(example, {})


def test_recipes_show_commands_that_can_be_typed():
    from poselens.recipes import FOLDER, names

    for name in names():
        text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
        lines = re.findall(r"^# Command:\s+(.*)$", text, re.MULTILINE)
        assert lines, name
        for words in commands("```sh\n" + "\n".join(lines) + "\n```\n"):
            assert check(words) is None, name
