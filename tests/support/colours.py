"""Colours of the pages, and how well one is seen on another."""

import re
from importlib import resources

STYLE = (
    resources.files("poselens.evaluation")
    .joinpath("templates/report.css")
    .read_text(encoding="utf-8")
)


def light_and_dark():
    """The page's colours by name, in both schemes."""
    light, dark = STYLE.split("@media (prefers-color-scheme: dark)", 1)
    schemes = []
    for part in (light, dark.partition("* {")[0]):
        found = re.findall(r"--([\w-]+):\s*#([0-9a-f]{6})", part)
        schemes.append({name: tuple(bytes.fromhex(code)) for name, code in found})
    return schemes


def luminance(colour):
    """Relative luminance, WCAG 2.2."""
    parts = [value / 255 for value in colour]
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first, second):
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def mixed(above, below, share):
    return tuple(share * a + (1 - share) * b for a, b in zip(above, below, strict=True))
