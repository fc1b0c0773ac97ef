"""Legacy VTK POLYDATA (VTK File Formats, "Simple Legacy Formats"): ASCII or binary is read, binary is written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cst_core.errors import DataError
from cst_points.formats.content import damaged
from cst_points.formats.numbers import Points, double, parsed

TYPES = {"float": ">f4", "double": ">f8", "int": ">i4", "short": ">i2"}


def decode(path: Path, data: bytes) -> Points:
    """The coordinates under ``POINTS``; binary is big-endian."""
    if data.lstrip()[:1] == b"<":
        raise DataError(f"{path}: XML VTK files are not read, found one; save it as legacy .vtk")
    head = re.match(
        rb"# vtk DataFile[^\n]*\n[^\n]*\n\s*(ASCII|BINARY)\s*\n\s*DATASET[ \t]+(\w+)\s*?\n", data, re.IGNORECASE
    )
    if head is None:
        damaged(path, "a legacy VTK header ('# vtk DataFile', ASCII or BINARY, DATASET) is expected, found none")
    if head[2].upper() != b"POLYDATA":
        raise DataError(f"{path}: DATASET must be POLYDATA, found {head[2][:40].decode()}; save it as polygonal data")
    points = re.compile(rb"^[ \t]*POINTS[ \t]+([0-9]{1,18})[ \t]+(\w+)[ \t]*\r?\n", re.MULTILINE | re.IGNORECASE)
    line = points.search(data, head.end())
    if line is None:
        damaged(path, "a line 'POINTS number type' is needed, found none")
    count, body = int(line[1]), data[line.end() :]
    if head[1].upper() == b"ASCII":
        words = body.split(maxsplit=min(3 * count, len(body)))[: 3 * count]
        if len(words) < 3 * count:
            damaged(path, f"POINTS promises {3 * count} numbers, found {len(words)} (truncated)")
        return parsed(path, words)
    kind = TYPES.get(line[2].decode().lower())
    if kind is None:
        damaged(path, f"POINTS must be of {', '.join(TYPES)}, found {line[2][:40].decode()}")
    needed = 3 * count * np.dtype(kind).itemsize
    if len(body) < needed:
        damaged(path, f"POINTS promises {needed} bytes, found {len(body)} (truncated)")
    return double(np.frombuffer(body[:needed], dtype=kind).reshape(-1, 3))


def encode(points: NDArray[np.float32]) -> bytes:
    """Binary, single precision."""
    header = f"# vtk DataFile Version 3.0\npoints, mm\nBINARY\nDATASET POLYDATA\nPOINTS {len(points)} float\n"
    return header.encode() + points.astype(">f4").tobytes() + b"\n"
