"""NumPy's archives (``.npz``), opened without believing what their headers claim, and without unpickling anything."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_ARRAY_BYTES = 1 << 28
"""An unpacked array may have this size (22 million points in single precision), if nothing else is said."""
DEFLATE_LIMIT = 1032
"""A deflate stream cannot unpack to more than this many times its size (zlib's technical notes)."""


def array_names(data: bytes) -> list[str]:
    """What the arrays of an archive are called. ValueError where there is no archive."""
    with _opened(data) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_array(data: bytes, name: str, most: int = MAX_ARRAY_BYTES) -> NDArray[Any]:
    """One array of an archive; nothing larger than what is there is allocated. It cannot be written to.

    Args:
        data: the whole file.
        name: as `array_names` has it.
        most: bytes that it may have.

    Raises:
        KeyError: there is no such array.
        ValueError: anything else that is wrong with it.
    """
    with _opened(data) as archive:
        info = next((one for one in archive.infolist() if one.filename.removesuffix(".npy") == name), None)
        if info is None:
            raise KeyError(name)
        ceiling = min(most, DEFLATE_LIMIT * min(info.compress_size, len(data)) + 64)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.file_size > ceiling:
            raise ValueError(f"array '{name[:40]}' must unpack to at most {ceiling} bytes, promises {info.file_size}")
        try:
            return _array(archive.read(info), name)
        except ValueError:
            raise
        except Exception as error:  # zipfile, zlib and numpy raise a dozen unrelated types on damaged bytes
            raise ValueError(f"array '{name[:40]}' cannot be read ({type(error).__name__})") from None


def _opened(data: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except Exception as error:
        raise ValueError(
            f"an NPZ archive of arrays is expected, found none that can be read ({type(error).__name__})"
        ) from None


def _array(content: bytes, name: str) -> NDArray[Any]:
    stream = io.BytesIO(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of headers from Python 2
        version = np.lib.format.read_magic(stream)
        newer = np.lib.format.read_array_header_2_0
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else newer
        shape, fortran, dtype = read_header(stream)
    count, body = math.prod(int(n) for n in shape), content[stream.tell() :]
    if dtype.hasobject or min(shape, default=0) < 0 or count * dtype.itemsize > len(body):
        raise ValueError(f"array '{name[:40]}' promises {shape} of {dtype}, found {len(body)} bytes (truncated)")
    return np.frombuffer(body, dtype=dtype, count=count).reshape(shape, order="F" if fortran else "C")
