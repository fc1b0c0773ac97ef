"""Where along the body two CTs show the same: a first affine map from their axial slices.

Measures over a whole volume reward a shift that leaves less to match; here every slice of one scan, in the box of its
body, is compared with every slice of the other, and the best straight line through that table says where along the
body, and how large, one is against the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Integer
from scipy import ndimage
from torch import Tensor

from cst_core.errors import DataError
from cst_image.preparation.thumbnail import LEAST_AREA, SPACING, Thumbnail

SAMPLES = (20, 14)
"""Of a slice, right-left and front-back, over the box of its body."""
SCALES = tuple(round(0.8 + 0.05 * step, 2) for step in range(10))
"""Tried along the body: moving over fixed."""
LEAST_SHARED = 0.5
"""Of the slices of the scan that has fewer."""
_TAIL = 0.03  # of the body's area, left out at each side of its box: arms and couch
_SCALE_COST = 0.02  # of a scale other than 1, times |log scale|


class Slices(NamedTuple):
    """The axial slices of a body, each in its own box; S of them, without gaps."""

    first: int
    """Index of the first along the third axis."""
    looks: Float[np.ndarray, "S P"]
    """Intensities at `SAMPLES` places."""
    boxes: Float[np.ndarray, "S 4"]
    """Low and high along the first axis, then along the second, voxels."""


class Start(NamedTuple):
    """A map, and the mean difference of the slices that it brings together."""

    matrix: Float64[Tensor, "4 4"]
    """Fixed world to moving world, RAS mm."""
    cost: float


def body_slices(small: Thumbnail) -> Slices:
    """What `start_map` compares."""
    smooth = ndimage.gaussian_filter(small.volume.numpy(), (1.0, 1.0, 0.0))
    body = small.body.numpy()
    shown = np.flatnonzero(small.known.numpy().any((0, 1)))
    looks, boxes = [], []
    for k in shown:
        mask = body[:, :, k]
        if mask.sum() * SPACING**2 > 100 * LEAST_AREA or not boxes:
            boxes.append([*_span(mask.sum(1)), *_span(mask.sum(0))])
        else:  # a thin slice between others keeps the box of the one below
            boxes.append(boxes[-1])
        x, y = (np.linspace(boxes[-1][2 * a], boxes[-1][2 * a + 1], n) for a, n in enumerate(SAMPLES))
        places = np.meshgrid(x, y, indexing="ij")
        looks.append(ndimage.map_coordinates(smooth[:, :, k], places, order=1, mode="nearest").ravel())
    return Slices(int(shown[0]), np.array(looks, dtype=np.float32), np.array(boxes, dtype=np.float32))


def start_map(fixed: Thumbnail, moving: Thumbnail) -> Start:
    """The map from where the slices of two bodies agree: scales and shifts along the axes, no rotation.

    Raises:
        DataError: the scans share too few slices.
    """
    one, other = body_slices(fixed), body_slices(moving)
    table = np.abs(one.looks[:, None] - other.looks[None]).mean(-1)
    best = min((found for scale in SCALES for found in _lines(table, scale)), default=None)
    if best is None:
        raise DataError("scans share too few axial slices of a body to be aligned")
    cost, scale, offset = best
    rows = np.arange(len(table))
    columns = np.rint(scale * rows + offset).astype(int)
    shared = (columns >= 0) & (columns < table.shape[1])
    index = np.eye(4)
    for axis in range(2):
        (a, b), (c, d) = (
            boxes[:, 2 * axis : 2 * axis + 2].T for boxes in (one.boxes[shared], other.boxes[columns[shared]])
        )
        ratio = float(np.median((d - c) / (b - a)))
        index[axis, axis], index[axis, 3] = ratio, float(np.median((c + d) / 2 - ratio * (a + b) / 2))
    index[2, 2], index[2, 3] = scale, other.first + offset - scale * one.first
    to_moving = moving.grid.affine @ torch.from_numpy(index) @ torch.linalg.inv(fixed.grid.affine)
    to_moving[3] = to_moving.new_tensor([0.0, 0.0, 0.0, 1.0])
    return Start(to_moving, cost)


def _lines(table: Float[np.ndarray, "S T"], scale: float) -> list[tuple[float, float, float]]:
    """Mean difference along every line of one slope that shares enough slices: (cost, slope, offset)."""
    rows = np.arange(table.shape[0])
    least = LEAST_SHARED * min(table.shape[0], table.shape[1] / scale)
    found = []
    for offset in np.arange(-scale * table.shape[0], table.shape[1]):
        columns = np.rint(scale * rows + offset).astype(int)
        shared = (columns >= 0) & (columns < table.shape[1])
        if shared.sum() >= max(least, 1):
            cost = float(table[rows[shared], columns[shared]].mean()) + _SCALE_COST * abs(np.log(scale))
            found.append((cost, scale, float(offset)))
    return found


def _span(profile: Integer[np.ndarray, " N"]) -> tuple[float, float]:
    """Where a share `_TAIL` of a profile lies below, and above."""
    share = np.cumsum(profile) / profile.sum()
    edges = np.arange(len(share)) + 0.5
    low, high = np.interp([_TAIL, 1 - _TAIL], share, edges)
    return float(low), float(max(high, low + 1.0))
