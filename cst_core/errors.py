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
