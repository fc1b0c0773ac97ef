"""What is compared: anything that gives a field for a pair, at a strength of its own regularisation."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from benchmarks.peers.tools import Knob
from cst_core.field import DisplacementField
from cst_image.pair import ImagePair


class Found(NamedTuple):
    """One registered pair."""

    field: DisplacementField
    seconds: float
    """From volumes in memory to the field in memory."""
    cpu_seconds: float
    """The same, of processor time over all threads."""
    process_seconds: float | None
    """Of the whole process, where there was one: start, imports and files included."""
    peak_mb: float | None
    """The process's largest resident memory, MB (10^6 bytes)."""
    version: str | None
    settings: dict[str, Any]


class FailedError(Exception):
    """A pair that a method could not register; the message says why, in a line."""


class Method(Protocol):
    """A row of the comparison."""

    name: str
    kind: str
    """``tool``, ``classical`` or ``supervision``."""
    knob: Knob

    def identity(self) -> dict[str, Any]:
        """All that its fields and seconds depend on besides pair and strength, as JSON has it."""
        ...

    def register(self, pair: ImagePair, strength: float | None) -> Found:
        """The total field on the pair's grid. ``strength``: of `knob`; None: the method's default.

        Raises:
            FailedError: this pair could not be registered.
        """
        ...
