"""``log.jsonl``: one line an event."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class EventLog:
    """A file that only grows; a resumed run logs steps again that it takes again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, kind: str, values: Mapping[str, Any]) -> None:
        """Add one line: time, kind and ``values``."""
        line = json.dumps({"time": now(), "kind": kind, **finite(values)}) + "\n"
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(line)

    def read(self) -> list[dict[str, Any]]:
        """Every line."""
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]

    def repair(self) -> None:
        """Drop what a kill in the middle of a write left: a last line without its end."""
        if self._path.exists():
            os.truncate(self._path, self._path.read_bytes().rfind(b"\n") + 1)


def finite(values: Any) -> Any:
    """The same structure with None for numbers that JSON does not have (NaN, infinities)."""
    if isinstance(values, Mapping):
        return {key: finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and values - values != 0.0 else values


def now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
