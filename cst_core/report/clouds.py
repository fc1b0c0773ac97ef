"""The points of a registration, for the three-dimensional view."""

from __future__ import annotations

import base64
import csv
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from cst_core.report.result_folder import ResultFolder

MOST_POINTS = 12_000  # of each cloud; a random part of larger ones is shown
_SPACED = (".xyz", ".txt")


def clouds_of(result: ResultFolder) -> dict[str, Any] | None:
    """What ``cloud.js`` needs; None where no points were displaced."""
    path = result.output("displaced.csv")
    displaced = _table(result, path) if path else None
    if displaced is None:
        return None
    path = result.output("displacement.csv")
    vectors = _table(result, path) if path else None
    moved = displaced[:, -3:]
    fixed = length = None
    if vectors is not None and len(vectors) == len(moved):
        length = np.linalg.norm(vectors[:, -3:], axis=1)
        fixed = moved - vectors[:, -3:]
    part = np.random.default_rng(0).permutation(len(moved))[:MOST_POINTS]
    sets = [_set("fixed", "fixed", fixed, part, None)] if fixed is not None else []
    sets.append(_set("displaced", "fixed, displaced", moved, part, length))
    moving = _input(result, "moving")
    if moving is not None:
        some = np.random.default_rng(1).permutation(len(moving))[:MOST_POINTS]
        sets.append(_set("moving", "moving", moving, some, None))
    if (marks := _landmarks(result)) is not None:
        sets.append(marks)
    tops = [float(np.percentile(v, 99)) for v in (length,) if v is not None]
    return {"sets": sets, "top": round(max([1.0, *tops]), 1), "total": len(moved), "shown": len(part)}


def _landmarks(result: ResultFolder) -> dict[str, Any] | None:
    errors = result.section("landmarks").get("errors_mm") or []
    path = result.input("landmarks")
    table = _table(result, path) if path and errors else None
    if table is None or len(table) != len(errors):
        return None
    return _set("landmarks", "landmarks, by error", table[:, :3], np.arange(len(table)), np.asarray(errors))


def _input(result: ResultFolder, name: str) -> np.ndarray | None:
    """The coordinates of an input cloud, where it is text with three columns or more, or NumPy's."""
    path = result.input(name)
    if path is None:
        return None
    if path.suffix == ".npz":
        with np.load(path) as stored:
            arrays = [stored[key] for key in stored.files]
        found = next((a for a in arrays if a.ndim == 2 and a.shape[1] == 3), None)
        return None if found is None else found.astype(np.float32)
    if path.suffix == ".csv" or path.suffix in _SPACED:
        table = _table(result, path)
        return None if table is None else table[:, :3]
    result.notes.append(f"{path.name} ({name}) is not shown: the view reads CSV, XYZ and NPZ.")
    return None


def _table(result: ResultFolder, path: Path) -> Float32[np.ndarray, "N C"] | None:
    """Numbers of a text file, with or without a line of headings."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [line.split() for line in lines] if path.suffix in _SPACED else list(csv.reader(lines))
        rows = [row for row in rows if row]
        if rows and not _is_number(rows[0][0]):
            rows = rows[1:]
        table = np.asarray(rows, dtype=np.float32)
    except (OSError, ValueError) as error:
        result.notes.append(f"{path.name} cannot be read as a table ({type(error).__name__}): shown without it.")
        return None
    if table.ndim != 2 or table.shape[1] < 3:
        result.notes.append(f"{path.name} has fewer than three columns: shown without it.")
        return None
    return table


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _set(key: str, name: str, points: np.ndarray, part: np.ndarray, values: np.ndarray | None) -> dict[str, Any]:
    return {
        "key": key,
        "name": name,
        "points": _packed(points[part]),
        "values": None if values is None else _packed(values[part]),
    }


def _packed(values: np.ndarray) -> str:
    """Little-endian 32-bit floats, base64."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()
