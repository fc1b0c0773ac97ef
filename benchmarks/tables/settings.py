"""The settings that made a row of a comparison, in the words of a table's cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables.markdown import NONE
from benchmarks.tables.statistics import Entry


def settings_of(entry: Entry) -> str:
    """Preset, length of training, what was set at test time, and a tool's own."""
    found: list[str] = []
    for row in entry.rows:
        settings = row.get("settings") or {}
        config = settings.get("config") or {}
        train = config.get("train", {})
        said = [f"preset {config['preset']}"] if config.get("preset") else []
        said += [f"{key} {train[key]}" for key in ("stages", "iterations", "epochs", "batch_size") if train.get(key)]
        said += [str(one) for one in settings.get("at_test", ())]
        found.append(", ".join([*said, *_plain(settings)]))
    return "; ".join(dict.fromkeys(text for text in found if text)) or NONE


def _plain(settings: Mapping[str, Any]) -> list[str]:
    """Words and numbers; what trials there were, and what the columns say already, is left to the file."""
    said = []
    for key, value in settings.items():
        if key not in ("supervision", "reached") and isinstance(value, str | int | float):
            said.append(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}")
    return said
