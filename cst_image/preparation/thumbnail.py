"""A CT at 5 mm: what affine alignment sees of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_image.placement import place
from cst_image.working_grid import Size, centred

SPACING = 5.0
"""mm."""
WINDOW_HU = (-120.0, 250.0)
"""From fat to bone; air, in the lungs too, is the lower end."""
LEAST_AREA = 80.0
"""cm^2 of body in an axial slice that counts as one."""


class Thumbnail(NamedTuple):
    """A small copy of a CT, axes right, anterior, superior within 45 degrees."""

    volume: Float[Tensor, "X Y Z"]
    """The window, as 0 to 1."""
    grid: Grid
    body: Bool[Tensor, "X Y Z"]
    """The patient, cavities included."""
    known: Bool[Tensor, "X Y Z"]
    """The slices between the first and the last that show a body: what is beyond is padding, or another scan's."""


def thumbnail(values: Float[Tensor, "X Y Z"], grid: Grid, name: str) -> Thumbnail:
    """The small copy of a CT in HU.

    Args:
        values: HU.
        grid: theirs.
        name: of the scan, for errors.

    Raises:
        DataError: no slice shows a body.
    """
    shape = [max(2, math.ceil(n * s / SPACING - 0.01)) for n, s in zip(grid.shape, grid.spacing, strict=True)]
    small = centred(grid, Size((shape[0], shape[1], shape[2]), (SPACING, SPACING, SPACING)))
    low, high = WINDOW_HU
    # clamped first: metal, and what fills the corners, would spread by the smoothing
    window = ((values.clamp(low, high) - low) / (high - low)).float()
    volume = place(window, grid, small).volume
    body = _body(volume.numpy() > 0)
    slices = np.flatnonzero(body.sum((0, 1)) * SPACING**2 > 100 * LEAST_AREA)
    if not len(slices):
        raise DataError(
            f"{name}: must show a body of {LEAST_AREA:g} cm^2 in some axial slice, found none above {low:g} HU; "
            "pass CTs in Hounsfield units"
        )
    known = torch.zeros(small.shape, dtype=torch.bool)
    known[:, :, slices[0] : slices[-1] + 1] = True
    return Thumbnail(volume, small, torch.from_numpy(body), known)


def _body(tissue: Bool[np.ndarray, "X Y Z"]) -> Bool[np.ndarray, "X Y Z"]:
    """The largest part after thin things (the couch) are gone, filled slice by slice."""
    parts, number = ndimage.label(np.asarray(ndimage.binary_opening(tissue)))  # pyright: ignore[reportGeneralTypeIssues]
    if number == 0:
        return np.zeros(tissue.shape, dtype=bool)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    largest = parts == sizes.argmax()
    filled = [ndimage.binary_fill_holes(largest[:, :, k]) for k in range(tissue.shape[2])]
    return np.stack([np.asarray(one, dtype=bool) for one in filled], axis=-1)
