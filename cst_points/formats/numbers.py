"""Numbers as files have them, made into points: double precision while read, single precision when checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cst_core.errors import DataError
from cst_points.formats.content import damaged

Points = NDArray[np.float64]

LARGEST = float(np.finfo(np.float32).max)


def is_number(word: str) -> bool:
    """What ``float`` reads, without Python's underscores."""
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def double(values: NDArray[Any]) -> Points:
    """As double precision; a signalling NaN among damaged bytes must not become a warning."""
    with np.errstate(all="ignore"):
        return values.astype(np.float64)


def parsed(path: Path, words: list[bytes]) -> Points:
    """``(n, 3)`` from ``3 n`` words."""
    try:
        return np.array([float(word) for word in words], dtype=np.float64).reshape(-1, 3)
    except ValueError:
        wrong = next(word for word in words if not is_number(word.decode("latin-1")))
        damaged(path, f"coordinates must be numbers, found {wrong[:20].decode('latin-1')!r}")


def single_precision(path: Path, table: Points) -> NDArray[np.float32]:
    """Finite values only, at least one row; the shape's second entry is the reader's affair."""
    if len(table) == 0:
        raise DataError(f"{path}: at least one point is needed, found 0; write the file again")
    wrong = np.flatnonzero(~(np.abs(table) <= LARGEST).all(axis=1))
    if len(wrong):
        raise DataError(
            f"{path}: coordinates must be finite, found {_words(table[wrong[0]])} in point {wrong[0] + 1} "
            f"({len(wrong)} such of {len(table)}); remove those points"
        )
    return table.astype(np.float32)


def _words(row: NDArray[Any]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in row) + ")"
