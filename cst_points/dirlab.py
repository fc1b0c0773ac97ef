"""DIR-Lab's raw volumes and landmark files: what their headers would say, had they any.

Sizes and voxel sizes are those of DIR-Lab's download pages (dir-lab.com, "Reference Data": COPDgene and 4DCT; Castillo
et al. 2013 and 2009). The arrays run towards left, posterior and inferior.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cst_core.errors import DataError
from cst_points.formats.content import read_bytes
from cst_points.formats.text import read_table

HU_OFFSET = 1024
"""Subtracted from stored values to give Hounsfield units (COPDgene; the 4DCT volumes are stored alike)."""
HU_RANGE = (-1024, 3071)
"""Values are clamped to what a CT can say; outside the field of view the COPDgene volumes hold about -2000."""


class Header(NamedTuple):
    """Voxels along x, y, z and their size in mm."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """Voxel index, from 0, to mm in RAS; the first voxel's centre is the origin."""
        return np.diag([*(-step for step in self.spacing), 1.0])


def _cases(name: str, rows: list[tuple[int, int, float]]) -> dict[str, Header]:
    """``rows``: voxels in plane, slices, mm in plane; slices are 2.5 mm apart throughout."""
    return {
        f"{name}{i}": Header((plane, plane, slices), (step, step, 2.5))
        for i, (plane, slices, step) in enumerate(rows, start=1)
    }


HEADERS: dict[str, Header] = {
    **_cases(
        "copd",
        [
            (512, 121, 0.625),
            (512, 102, 0.645),
            (512, 126, 0.652),
            (512, 126, 0.590),
            (512, 131, 0.647),
            (512, 119, 0.633),
            (512, 112, 0.625),
            (512, 115, 0.586),
            (512, 116, 0.664),
            (512, 135, 0.742),
        ],
    ),
    **_cases(
        "case",
        [
            (256, 94, 0.97),
            (256, 112, 1.16),
            (256, 104, 1.15),
            (256, 99, 1.13),
            (256, 106, 1.10),
            (512, 128, 0.97),
            (512, 136, 0.97),
            (512, 128, 0.97),
            (512, 128, 0.97),
            (512, 120, 0.97),
        ],
    ),
}
"""``copd1`` to ``copd10`` (COPDgene) and ``case1`` to ``case10`` (4DCT), as the files are named."""


def header(case: str) -> Header:
    """Size and spacing of a case.

    Raises:
        DataError: a name that is not in the table.
    """
    found = HEADERS.get(case.lower())
    if found is None:
        raise DataError(f"dirlab: must be copd1 to copd10 (COPDgene) or case1 to case10 (4DCT), found '{case}'")
    return found


def read_volume(path: str | Path, case: str) -> Float[np.ndarray, "X Y Z"]:
    """A raw volume (int16, little-endian, x fastest) in Hounsfield units, float32, axes left, posterior, inferior.

    Raises:
        DataError: a missing file, or one whose size is not that of the case.
    """
    path, (size, _) = Path(path), header(case)
    data, needed = read_bytes(path), 2 * int(np.prod(size))
    if len(data) != needed:
        shape = "x".join(map(str, size))
        fits = [name for name, entry in HEADERS.items() if 2 * int(np.prod(entry.size)) == len(data)]
        hint = f"it has the size of {', '.join(fits)}" if fits else "unpack the file again"
        raise DataError(f"{path}: {case} ({shape} int16) must have {needed} bytes, found {len(data)}; {hint}")
    values = np.frombuffer(data, dtype="<i2").reshape(size[::-1]).transpose()
    return np.clip(values.astype(np.float32) - HU_OFFSET, *HU_RANGE)


def read_landmarks(path: str | Path, case: str) -> Float[np.ndarray, "L 3"]:
    """A landmark text file (x y z in voxels, from 1) in mm, RAS, the frame of `Header.affine`.

    Raises:
        DataError: a file that cannot be read, or landmarks outside the volume.
    """
    path, entry = Path(path), header(case)
    voxels = read_table(path, read_bytes(path), columns=3)
    # negated, so that NaN counts as outside
    wrong = np.flatnonzero(~((voxels >= 1) & (voxels <= entry.size)).all(axis=1))
    if len(wrong):
        value, shape = voxels[wrong[0]].tolist(), "x".join(map(str, entry.size))
        raise DataError(
            f"{path}: landmarks must lie in voxels 1 to {shape} of {case}, found {value} in row {wrong[0] + 1}; "
            f"is it the file of this case?"
        )
    return (voxels - 1) * np.diag(entry.affine)[:3]
