"""The points of a registration, for the three-dimensional view."""

from __future__ import annotations

import base64
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from cst_core.formats.numpy_archive import array_names, read_array
from cst_core.report.result_folder import ResultFolder

MOST_POINTS = 12_000  # of each cloud; a random part of larger ones is shown
_SPACED = (".xyz", ".txt")
_MEANT = {"displacement": "displacement", "confidence": "uncertainty", "error": "landmark error"}


class Table(NamedTuple):
    """A text file of numbers."""

    names: list[str]
    """Its line of headings; empty where it has none."""
    values: Float32[np.ndarray, "N C"]

    def columns(self, *names: str) -> np.ndarray | None:
        """The columns of these names, or None where one is missing."""
        if not set(names) <= set(self.names):
            return None
        return self.values[:, [self.names.index(name) for name in names]]


def clouds_of(result: ResultFolder) -> dict[str, Any] | None:
    """What ``clouds.js`` needs; None where no points were displaced."""
    displaced = _read(result, result.output("displaced.csv"))
    if displaced is None:
        return None
    moved = displaced.values[:, :3]
    field = _read(result, result.output("displacement.csv"))
    sets, values, common = [], {}, 0.0
    if field is not None and len(field.values) == len(moved):
        vectors = field.columns("dx", "dy", "dz")
        vectors = field.values[:, -3:] if vectors is None else vectors
        values["displacement"], common = beyond_common(vectors)
        if (expected := field.columns("confidence_mm")) is not None:
            values["confidence"] = expected[:, 0]
        sets.append(_set("fixed", "fixed", moved - vectors, {}, 0))
    sets.append(_set("displaced", "fixed, displaced", moved, values, 0))
    moving = _moving(result)
    if moving is not None:
        sets.append(_set("moving", "moving", moving, {}, 1))
    marks, errors = _landmarks(result)
    if marks is not None:
        sets.append(_set("landmarks", "landmarks", marks, {"error": errors}, 2))
        values["error"] = errors
    beyond = f" beyond the common shift of {common:.0f} mm" if common else ""
    scales = [
        {"key": key, "name": _MEANT[key] + (beyond if key == "displacement" else ""), "top": _top(found)}
        for key, found in values.items()
    ]
    return {"sets": sets, "scales": scales, "total": len(moved), "shown": min(len(moved), MOST_POINTS)}


def beyond_common(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """Lengths, mm, and what was taken off: where two scans have other origins, one shift would outshine all else."""
    shift = np.median(vectors, axis=0)
    beyond = np.linalg.norm(vectors - shift, axis=1)
    common = float(np.linalg.norm(shift))
    if common > 5 * float(np.median(beyond)) + 20:
        return beyond, common
    return np.linalg.norm(vectors, axis=1), 0.0


def _moving(result: ResultFolder) -> np.ndarray | None:
    """The moving points: those that the backend left in the folder, else the input, where it is text or NumPy's."""
    if (found := _read(result, result.output("moving_points.csv"))) is not None:
        return found.values[:, :3]
    path = result.input("moving")
    if path is None or path.name.endswith((".nii", ".nii.gz")):
        return None
    if path.suffix == ".npz":
        data = path.read_bytes()
        try:
            arrays = [read_array(data, name) for name in array_names(data)]
        except ValueError as error:
            result.notes.append(f"{path.name} (moving) cannot be read ({error}): shown without it.")
            return None
        one = next((a for a in arrays if a.ndim == 2 and a.shape[1] == 3 and a.dtype.kind in "fiu"), None)
        return None if one is None else one.astype(np.float32)
    if path.suffix == ".csv" or path.suffix in _SPACED:
        found = _read(result, path)
        return None if found is None else found.values[:, :3]
    result.notes.append(f"{path.name} (moving) is not in the view of the points, which reads CSV, XYZ and NPZ.")
    return None


def _landmarks(result: ResultFolder) -> tuple[np.ndarray | None, np.ndarray]:
    """Where the fixed landmarks end, and their errors, mm."""
    errors = np.asarray(result.section("landmarks").get("errors_mm") or [], dtype=np.float32)
    moved = _read(result, result.output("landmarks_moved.csv")) if len(errors) else None
    places = moved.columns("moved_x", "moved_y", "moved_z") if moved else None
    if places is None and len(errors) and (path := result.input("landmarks")):
        given = _read(result, path)
        places = given.values[:, 3:6] if given and given.values.shape[1] >= 6 else None
    return (places, errors) if places is not None and len(places) == len(errors) else (None, errors)


def _read(result: ResultFolder, path: Path | None) -> Table | None:
    """Numbers of a text file, with or without a line of headings; what cannot be read is noted."""
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [line.split() for line in lines] if path.suffix in _SPACED else list(csv.reader(lines))
        rows = [row for row in rows if row]
        names = [] if not rows or _is_number(rows[0][0]) else [name.strip() for name in rows.pop(0)]
        values = np.asarray(rows, dtype=np.float32)
    except (OSError, ValueError, csv.Error) as error:
        result.notes.append(f"{path.name} cannot be read as a table ({type(error).__name__}): shown without it.")
        return None
    if values.ndim != 2 or values.shape[1] < 3:
        result.notes.append(f"{path.name} holds no table of three columns or more: shown without it.")
        return None
    return Table(names, values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _top(values: np.ndarray) -> float:
    return round(max(1.0, float(np.percentile(values, 99))), 1)


def _set(key: str, name: str, points: np.ndarray, values: Mapping[str, np.ndarray], seed: int) -> dict[str, Any]:
    part = np.random.default_rng(seed).permutation(len(points))[:MOST_POINTS]
    packed = {kind: _packed(found[part]) for kind, found in values.items()}
    return {"key": key, "name": name, "points": _packed(points[part]), "values": packed}


def _packed(values: np.ndarray) -> str:
    """Little-endian 32-bit floats, base64."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()
