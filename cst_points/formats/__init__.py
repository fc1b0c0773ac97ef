"""Point clouds and landmarks in files: CSV, PLY, XYZ, NPZ and legacy VTK; millimetres throughout.

One module a format: ``decode(path, bytes)`` gives the points, ``encode(points)`` the bytes. Decoders take arbitrary
bytes and raise nothing but `DataError`; a count that a header claims is compared with the size of the file before
anything of that size is allocated.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from cst_core.errors import DataError
from cst_core.plugin import Landmarks
from cst_points.formats import npz, pcd, ply, text, vtk
from cst_points.formats.content import read_bytes, write_bytes
from cst_points.formats.numbers import Points, single_precision

READERS: dict[str, Callable[[Path, bytes], Points]] = {
    ".csv": text.decode_csv,
    ".ply": ply.decode,
    ".xyz": text.decode_xyz,
    ".npz": npz.decode,
    ".vtk": vtk.decode,
}
WRITERS: dict[str, Callable[[NDArray[np.float32]], bytes]] = {
    ".csv": text.encode_csv,
    ".ply": ply.encode,
    ".xyz": text.encode_xyz,
    ".npz": npz.encode,
    ".vtk": vtk.encode,
}
EXTENSIONS = (*READERS, ".pcd")
"""What `read_cloud` reads."""


def read_cloud(path: str | Path) -> Float[Tensor, "N 3"]:
    """The points of one file, ``(N, 3)``, float32, in the file's order, axes and unit (mm by convention).

    - ``.csv``: three columns, separated by commas, semicolons or white space; a header line is optional, and one that
      names ``x``, ``y``, ``z`` in another order is obeyed; lines that begin with ``#`` are skipped.
    - ``.xyz``: the same without a header; columns after the third (normals, colours, intensities) are ignored.
    - ``.ply``: ASCII or binary of either byte order; only the vertices' ``x y z`` are read.
    - ``.npz``: the array ``points`` or ``xyz``, or the only array; shape ``(N, 3)``.
    - ``.pcd``: all that open3d reads, where it is installed.
    - ``.vtk``: legacy POLYDATA, ASCII or binary; only ``POINTS`` is read. XML files (``.vtp``) are not read.

    Raises:
        DataError: a file that is missing, empty, damaged, of another format, without points or with NaN or infinity.
    """
    path = Path(path)
    if path.suffix.lower() == ".pcd":
        return torch.from_numpy(single_precision(path, pcd.read(path)))
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        _refuse_extension(path)
    return torch.from_numpy(single_precision(path, reader(path, read_bytes(path))))


def read_landmarks(path: str | Path) -> Landmarks:
    """Corresponding points of a CSV file: six columns, fixed x y z then moving x y z, mm; a header is optional.

    Raises:
        DataError: as `read_cloud`; also when a row has not six columns.
    """
    path = Path(path)
    both = torch.from_numpy(single_precision(path, text.read_table(path, read_bytes(path), columns=6)))
    return Landmarks(both[:, :3].contiguous(), both[:, 3:].contiguous())


def write_cloud(path: str | Path, points: Tensor) -> None:
    """Write ``(N, 3)`` points, mm, in the format that the extension names; the file appears only when complete.

    PLY is written binary little-endian, VTK as binary legacy POLYDATA, both in single precision; text has the nine
    digits that single precision needs to come back exactly.

    Raises:
        DataError: an unsupported extension, a missing folder, no points, or NaN or infinity among them.
    """
    path = Path(path)
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        _refuse_extension(path)
    write_bytes(path, writer(_writable(path, points, 3)))


def write_landmarks(path: str | Path, landmarks: Landmarks) -> None:
    """Write landmarks, mm, as a CSV file that `read_landmarks` reads.

    Raises:
        DataError: as `write_cloud`; also when fixed and moving differ in number.
    """
    path = Path(path)
    if landmarks.fixed.shape != landmarks.moving.shape:
        shapes = f"{tuple(landmarks.fixed.shape)} and {tuple(landmarks.moving.shape)}"
        raise DataError(f"{path}: fixed and moving landmarks must be as many, found {shapes}; give them in pairs")
    both = _writable(path, torch.cat([landmarks.fixed, landmarks.moving], dim=1), 6)
    write_bytes(path, text.encode_rows(both, ",", "fixed_x,fixed_y,fixed_z,moving_x,moving_y,moving_z\n"))


def write_table(path: str | Path, header: str, rows: Tensor) -> None:
    """Write ``(N, D)`` numbers as CSV under a header of D names.

    Raises:
        DataError: as `write_cloud`.
    """
    path = Path(path)
    write_bytes(path, text.encode_rows(_writable(path, rows, header.count(",") + 1), ",", f"{header}\n"))


def _writable(path: Path, points: Tensor, columns: int) -> NDArray[np.float32]:
    if points.ndim != 2 or points.shape[1] != columns:
        raise DataError(f"{path}: points must have the shape (N, {columns}), found {tuple(points.shape)}; reshape")
    return single_precision(path, points.detach().cpu().double().numpy())


def _refuse_extension(path: Path) -> NoReturn:
    known = ", ".join(EXTENSIONS)
    hint = "; XML VTK files are not read, save it as legacy .vtk" if path.suffix.lower() == ".vtp" else ""
    raise DataError(f"{path}: the extension must be one of {known}, found '{path.suffix}'; convert the file{hint}")
