"""Where the lungs are in a CT, by threshold."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from skimage.measure import label

AIR_HU = -400.0
"""Lung and airways lie below, tissue and vessels above."""
LARGE_PART = 0.2
"""A second lung has at least this fraction of the larger one's volume; bowel gas has less."""
CLOSING_MM = 5.0
"""Vessels up to twice this width belong to the lung."""


def lung_mask(values: Float[np.ndarray, "X Y Z"], spacing: tuple[float, float, float]) -> Bool[np.ndarray, "X Y Z"]:
    """Lungs by threshold: air that does not reach the sides of the volume, its one or two largest parts, filled.

    The trachea and main bronchi belong to it where they are connected with the lungs. All False if there is no air
    inside the body. ``values`` in Hounsfield units, axes right, anterior, superior.
    """
    parts = np.asarray(label(values < AIR_HU, connectivity=1))
    sides = np.unique(np.concatenate([parts[[0, -1]].ravel(), parts[:, [0, -1]].ravel()]))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    sizes[sides] = 0
    large = [int(part) for part in np.argsort(-sizes)[:2] if sizes[part] > LARGE_PART * sizes.max()]
    lungs = np.isin(parts, large) if large else np.zeros(values.shape, dtype=bool)
    if not large:
        return lungs
    reach = [int(np.ceil(CLOSING_MM / step)) + 1 for step in spacing]
    padded = np.pad(lungs, [(n, n) for n in reach])
    grown = np.asarray(ndimage.distance_transform_edt(~padded, sampling=spacing)) <= CLOSING_MM
    closed = np.asarray(ndimage.distance_transform_edt(grown, sampling=spacing)) > CLOSING_MM
    inner = tuple(slice(n, -n) for n in reach)
    return np.asarray(ndimage.binary_fill_holes(closed | padded))[inner]
