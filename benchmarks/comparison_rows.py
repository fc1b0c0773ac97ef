"""The file that all comparisons on one data set share: rows of one form, each there once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cst_core.evaluation import FIGURES, summary
from cst_core.files import write_atomically
from cst_core.plugin import PairScore

Key = tuple[str, str, int | None]
"""Method, setting, seed."""


def key_of(row: Mapping[str, Any]) -> Key:
    """What identifies a row."""
    return row["method"], row["setting"], row["seed"]


def rows_of(path: Path) -> dict[Key, dict[str, Any]]:
    """All rows of a file, in its order; none where there is no file yet."""
    return {key_of(row): row for row in json.loads(path.read_text())["rows"]} if path.exists() else {}


def put_row(path: Path, row: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Append a row, or replace the one of the same key. ``about``: what the file says beside its rows.

    What the file says already and ``about`` does not name, or names as None, stays.
    """
    old = json.loads(path.read_text()) if path.exists() else {}
    rows = rows_of(path) | {key_of(row): dict(row)}
    told = {name: value for name, value in about.items() if value is not None or name not in old}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps({**old, **told, "rows": list(rows.values())}, indent=1) + "\n").encode())


def figures(scores: Sequence[PairScore]) -> dict[str, Any]:
    """``pairs`` and ``mean`` of a row."""
    found = summary(scores)
    return {"pairs": found["pairs"], "mean": {name: found["mean"][name] for name in FIGURES}}


def row_of_model(
    method: str, seed: int | None, settings: Mapping[str, Any], scores: Sequence[PairScore], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The row of what a model that exists already did. ``about``: of `benchmarks.record.circumstances`."""
    return {
        "method": method,
        "kind": "supervision",
        "saw": "nothing",
        "setting": "default",
        "seed": seed,
        "settings": dict(settings),
        "version": None,
        **figures(scores),
        "threads": about["cpu"]["threads"],
        "peak_mb": None,
        "commit": about["commit"],
    }


def line(row: Mapping[str, Any]) -> str:
    """A row for people."""
    mean = row["mean"]
    shown = {
        "Dice": mean["dice"] and f"{mean['dice']:.3f}",
        "HD95": mean["hd95_mm"] and f"{mean['hd95_mm']:.2f}",
        "TRE": mean["tre_mm"] and f"{mean['tre_mm']:.2f}",
        "SDlogJ(L2R)": mean["sdlogj_l2r"] and f"{mean['sdlogj_l2r']:.4f}",
        "folding %": mean["folding_percent"] is not None and f"{mean['folding_percent']:.3f}",
        "s": mean["seconds"] and f"{mean['seconds']:.2f}",
        "MB": row["peak_mb"] and f"{row['peak_mb']:.0f}",
    }
    told = "  ".join(f"{name} {value}" for name, value in shown.items() if value)
    return f"{row['method']:18s} {row['setting']:8s} {len(row['pairs']):3d} pairs  {told}"
