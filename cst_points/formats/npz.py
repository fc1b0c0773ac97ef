"""NPZ: numpy's archives."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cst_core.formats.numpy_archive import array_names, read_array
from cst_points.formats.content import damaged
from cst_points.formats.numbers import Points, double


def decode(path: Path, data: bytes) -> Points:
    """The array ``points`` or ``xyz``, or the only array."""
    try:
        names = array_names(data)
        key = next((key for key in ("points", "xyz") if key in names), names[0] if len(names) == 1 else None)
        if key is None:
            found = ", ".join(names)[:80] or "none"
            raise ValueError(f"an array named 'points' or 'xyz', or a single array, is needed, found {found}")
        array = read_array(data, key)
    except ValueError as error:
        damaged(path, " ".join(str(error).split()))
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        damaged(path, f"the array must have the shape (N, 3) and hold numbers, found {array.shape} of {array.dtype}")
    return double(array)


def encode(points: NDArray[np.float32]) -> bytes:
    """One array, ``points``."""
    stream = io.BytesIO()
    np.savez(stream, points=points)
    return stream.getvalue()
