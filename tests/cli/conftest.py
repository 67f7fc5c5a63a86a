"""What tests of commands share."""

from commands import drawn, empty_cache, poselens

__all__ = ["drawn", "empty_cache", "poselens"]
