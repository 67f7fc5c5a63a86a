"""Complete runs as YAML files whose first lines state the claim, and what joins their parts."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from poselens.errors import UsageError

if TYPE_CHECKING:
    from poselens.training.config import Recipe

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(choice: str) -> "Recipe":
    """Read a recipe by name, or from a YAML file.

    Raises:
        UsageError: ``CFG-008`` for an unknown name; others as ``poselens.training.config``.
    """
    # it brings torch, which other commands of this room do without
    from poselens.training.config import load_recipe

    if choice.endswith((".yaml", ".yml")):
        return load_recipe(Path(choice))
    if choice in names():
        return load_recipe(FOLDER / f"{choice}.yaml")
    near = difflib.get_close_matches(choice, names(), n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(
        "CFG-008",
        f"unknown recipe {choice!r}{guess}",
        mend=f"use one of {', '.join(names())}, or a YAML file",
    )
