"""Errors for people: one line that names the file or option, the rule, the value, and what to do."""

from __future__ import annotations


class CstError(Exception):
    """Anything that the command line reports as one line, exit code 1."""


class DataError(CstError):
    """A file or folder that cannot be used as it is."""


class ConfigError(CstError):
    """A setting that does not exist or has an impossible value."""


class CheckpointError(CstError):
    """Weights or a run folder that are damaged or do not belong together."""


class LostError(CstError):
    """Another process of the same training has ended, or never came."""


def shortened(value: object, most: int = 100) -> str:
    """What somebody gave, fit for an error: one line, printable, not longer than ``most`` characters."""
    text = " ".join(str(value)[: 2 * most].split())
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"
