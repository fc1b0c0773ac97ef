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
        """Every line that can be read: the log is for people, and a damaged line must not keep a run from going on."""
        if not self._path.exists():
            return []
        lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        events = [_parsed(line) for line in lines]
        return [event for event in events if isinstance(event, dict) and "kind" in event]

    def evaluations(self) -> dict[int, dict[str, Any]]:
        """Evaluations by stage (0: random features), the last one of each; those without figures are left out."""
        found = [event for event in self.read() if event["kind"] == "evaluation"]
        return {event["stage"]: event for event in found if is_evaluation(event)}

    def repair(self) -> None:
        """Drop what a kill in the middle of a write left: a last line without its end."""
        if self._path.exists():
            os.truncate(self._path, self._path.read_bytes().rfind(b"\n") + 1)


def is_evaluation(event: Mapping[str, Any]) -> bool:
    """Whether an event has a stage, and figures that are numbers or None."""
    return type(event.get("stage")) is int and all(_is_figures(event.get(key)) for key in ("mean", "initial"))


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _is_figures(values: Any) -> bool:
    if not isinstance(values, dict):
        return False
    flat = [value for name, value in values.items() if name != "dice_per_label"]
    return all(value is None or isinstance(value, int | float) for value in flat)


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
