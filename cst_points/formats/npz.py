"""NPZ: numpy's archives, opened without believing what their headers claim."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cst_core.errors import DataError
from cst_points.formats.content import damaged
from cst_points.formats.numbers import Points, double

MAX_ARRAY_BYTES = 1 << 28
"""An unpacked NPZ member may have this size (22 million points in single precision); more is no keypoint cloud."""
DEFLATE_LIMIT = 1032
"""A deflate stream cannot unpack to more than this many times its size (zlib's technical notes)."""


def decode(path: Path, data: bytes) -> Points:
    """The array ``points`` or ``xyz``, or the only array."""
    # zipfile and numpy raise a dozen unrelated types on damaged bytes; numpy also warns of headers from Python 2
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = _array(path, data)
    except DataError:
        raise
    except Exception as error:
        damaged(path, f"an NPZ archive of arrays is expected, found none that can be read ({type(error).__name__})")
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        damaged(path, f"the array must have the shape (N, 3) and hold numbers, found {array.shape} of {array.dtype}")
    return double(array)


def _array(path: Path, data: bytes) -> NDArray[Any]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        key = next((key for key in ("points", "xyz") if key in members), None)
        if key is None and len(members) == 1:
            key = next(iter(members))
        if key is None:
            found = ", ".join(members)[:80] or "none"
            damaged(path, f"an array named 'points' or 'xyz', or a single array, is needed, found {found}")
        info = archive.getinfo(members[key])
        ceiling = min(MAX_ARRAY_BYTES, DEFLATE_LIMIT * min(info.compress_size, len(data)) + 64)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.file_size > ceiling:
            damaged(path, f"array '{key[:40]}' must unpack to at most {ceiling} bytes, promises {info.file_size}")
        content = archive.read(info)
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    count, body = int(np.prod([int(n) for n in shape], dtype=object)), content[stream.tell() :]
    if dtype.hasobject or count < 0 or count * dtype.itemsize > len(body):
        damaged(path, f"array '{key[:40]}' promises {shape} of {dtype}, found {len(body)} bytes (truncated)")
    return np.frombuffer(body, dtype=dtype, count=count).reshape(shape, order="F" if fortran else "C")


def encode(points: NDArray[np.float32]) -> bytes:
    """One array, ``points``."""
    stream = io.BytesIO()
    np.savez(stream, points=points)
    return stream.getvalue()
