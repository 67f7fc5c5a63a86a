"""Write what `poselens cost` says into cost.md. Run it from any folder."""

import io
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from poselens.cli import cost
from poselens.recipes import load
from poselens.recipes.costing import recipe_cost

PAGE = Path(__file__).with_name("cost.md")
READINGS = "setting of `rgb.`"


def renewed(page: str) -> str:
    """Return the page with the sample output and the rows of both tables counted anew."""
    page = re.sub(r"(?<=```text\n).*?(?=```)", lambda _: sample(), page, flags=re.DOTALL)
    return "".join(f"{line}\n" for line in rows(page.splitlines()))


def sample() -> str:
    """Return what the command prints for the recipe `paper` on 80 columns."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        cost(["paper"])
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def rows(lines: list[str]) -> Iterator[str]:
    """Yield the lines, those of the tables with new numbers."""
    header: list[str] = []
    for line in lines:
        first, *others = (cell.strip() for cell in line.strip().strip("|").split("|"))
        if not line.startswith("|"):
            header = []
        elif not header:
            header = [first, *others]
        elif first.startswith("`--recipe "):
            yield row(first, shlex.split(first.strip("`")), header[1:])
            continue
        elif header[0] == READINGS and not first.startswith("-"):
            settings = re.findall(r"`([^`]*=[^`]*)`", first)
            options = ["--recipe", "paper", "--branch", "rgb"]
            options += [word for setting in settings for word in ("--set", f"rgb.{setting}")]
            yield row(first, options, header[1:])
            continue
        yield line


def row(first: str, options: list[str], header: list[str]) -> str:
    """Return a row: its first cell, and what the options of the command count."""
    said = dict(zip(options[::2], options[1::2], strict=True))
    settings = [value for name, value in zip(options[::2], options[1::2], strict=True)
                if name == "--set"]  # fmt: skip
    facts = recipe_cost(
        load(said["--recipe"]),
        settings,
        layout=said.get("--layout", "ntu-25"),
        classes=int(said.get("--classes", "60")),
        branches=["rgb"] if said.get("--branch") == "rgb" else None,
    )
    cells = [first, *(cell(facts, name) for name in header)]
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def cell(facts: dict[str, Any], name: str) -> str:
    """Return the number that the head of a column asks for."""
    rgb, skeleton = facts["rgb"], facts["skeleton"]
    if name == "RGB GMACs":
        return "" if rgb is None else f"{rgb['gmacs']:.2f}"
    if name == "skeleton GMACs":
        return "" if skeleton is None else f"{skeleton['gmacs']:.2f}"
    if name == "GMACs":
        return f"{facts['gmacs']:.2f}"
    if name == "params, 10^6":
        return f"{facts['params'] / 1e6:.2f}"
    kind = {"kept, fp32 / bf16": "kept_mb", "peak, fp32 / bf16": "peak_mb"}[name]
    return " / ".join(f"{rgb[kind][precision]:.0f}" for precision in ("fp32", "bf16"))


if __name__ == "__main__":
    import os

    os.environ["COLUMNS"] = "80"
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
