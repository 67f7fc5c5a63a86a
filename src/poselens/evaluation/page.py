"""What the HTML pages share: their style, and how they write numbers and pictures."""

import base64
import io
from importlib import resources

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

THIN_SPACE = "\u2009"


def page_environment() -> Environment:
    """Return templates that escape what they are given and refuse what they are not."""
    environment = Environment(
        loader=PackageLoader("poselens.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, picture=picture, count=count_text)
    return environment


def page_style() -> Markup:
    """Return the style sheet of every page; it is our own file."""
    style = resources.files("poselens.evaluation").joinpath("templates/report.css")
    return Markup(style.read_text(encoding="utf-8"))


def percent(share: float) -> str:
    """Write a share in [0, 1] as a percentage with one decimal."""
    return f"{100 * share:.1f}{THIN_SPACE}%"


def count_text(number: int) -> str:
    """Write a count with thin spaces between thousands."""
    return f"{number:,}".replace(",", THIN_SPACE)


def picture(pixels: UInt8[np.ndarray, "h w 3"], quality: int = 85) -> str:
    """Return pixels as a data URI: JPEG, or PNG for pictures too small to gain by it."""
    buffer = io.BytesIO()
    small = pixels.size < 30_000
    kind = "png" if small else "jpeg"
    Image.fromarray(pixels).save(buffer, kind, **({} if small else {"quality": quality}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
