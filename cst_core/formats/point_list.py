"""Lists of points: CSV with the header ``x,y,z``, world millimetres."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from cst_core.errors import DataError
from cst_core.files import write_atomically

Frame = Literal["ras", "lps"]
"""Which way the first two axes of a list run: right and anterior (NIfTI), or left and posterior (ITK, DICOM)."""
_HEADER = ["x", "y", "z"]


def read_points(path: Path, frame: Frame = "ras") -> Float64[Tensor, "N 3"]:
    """Points in RAS mm, whatever the frame of the file.

    Raises:
        DataError: no such file, another header, rows that are not three finite numbers, or none at all.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (UnicodeDecodeError, csv.Error):
        raise DataError(f"{path}: no text file; write points as CSV with the header x,y,z") from None
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if header != _HEADER:
        raise DataError(f"{path}: the first line must be x,y,z, found {','.join(header)[:80]!r}; add or correct it")
    points = [_point(path, line, row) for line, row in enumerate(rows[1:], start=2) if row]
    if not points:
        raise DataError(f"{path}: must hold at least one point, found none after the header")
    return _flipped(torch.tensor(points, dtype=torch.float64), frame)


def write_points(path: Path, points: Float64[Tensor, "N 3"], frame: Frame = "ras") -> None:
    """Points given in RAS mm, written in ``frame`` to a ten-thousandth of a millimetre.

    Raises:
        CstError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows([f"{value:.4f}" for value in point] for point in _flipped(points, frame).tolist())
    write_atomically(path, text.getvalue().encode())


def _point(path: Path, line: int, row: list[str]) -> list[float]:
    try:
        point = [float(value) for value in row]
    except ValueError:
        point = []
    if len(point) != 3 or not all(map(math.isfinite, point)):
        raise DataError(f"{path}, line {line}: must be three finite numbers, found {','.join(row)[:80]!r}; correct it")
    return point


def _flipped(points: Float64[Tensor, "N 3"], frame: Frame) -> Float64[Tensor, "N 3"]:
    return points * points.new_tensor([-1.0, -1.0, 1.0]) if frame == "lps" else points
