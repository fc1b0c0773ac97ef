"""How much a field changes volumes, and the gradient of it that instance optimisation adds at every step.

With the roughness it is the energy of an elastic body, mu |grad u|^2 + (lambda + mu) (div u)^2, but for its edge
(Broit 1981, Optimal Registration of Deformed Images; Modersitzki 2004, Numerical Methods for Image Registration).
Roughness alone resists a shear and a change of volume alike, though tissue shears more easily than it shrinks, and it
is by shrinking that a field hides what it cannot match.
"""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

_F = np.float32


def divergence(field: Float[Tensor, "3 X Y Z"]) -> Float[Tensor, "x y z"]:
    """Of a field in voxels, so without a unit: the relative change of volume, to first order; differentiable.

    By central differences, at the voxels that have a neighbour on each side: two fewer along each axis.
    """
    parts = [_beside(field[axis], axis, 2) - _beside(field[axis], axis, 0) for axis in range(3)]
    return torch.stack(parts).sum(0) / 2


def add_divergence_gradient(gradient: Float[Tensor, "3 X Y Z"], field: Float[Tensor, "3 X Y Z"], weight: float) -> None:
    """Add ``weight`` times the gradient of the mean squared `divergence` in ``field`` to ``gradient``, in place.

    Both in voxels. Nothing is added where an axis has fewer than three. In float32 on the CPU compiled, as
    `cst_image.roughness.add_roughness_gradient`.
    """
    if weight == 0.0 or min(field.shape[1:]) < 3:  # no voxel has neighbours on each side
        return
    found = field.new_zeros([n + 2 for n in field.shape[1:]])  # of every voxel, nothing where it is not measured
    scale = weight / prod(n - 2 for n in field.shape[1:])
    if field.device.type == "cpu" and field.dtype == gradient.dtype == torch.float32:
        _measure(field.contiguous().numpy(), found.numpy())
        _spread(found.numpy(), _F(scale), gradient.numpy())
        return
    found[2:-2, 2:-2, 2:-2] = divergence(field)
    for axis in range(3):
        gradient[axis].add_(_beside(found, axis, 0) - _beside(found, axis, 2), alpha=scale)


def _beside(volume: Float[Tensor, "X Y Z"], axis: int, start: int) -> Float[Tensor, "x y z"]:
    """Without its faces, read a voxel lower (0) or higher (2) along an axis."""
    spans = [slice(start, n - 2 + start) if along == axis else slice(1, n - 1) for along, n in enumerate(volume.shape)]
    return volume[tuple(spans)]


@njit(parallel=True, fastmath=True, cache=True)
def _measure(field, found):  # pragma: no cover - compiled
    nx, ny, nz = field.shape[1:]
    for place in prange(nx - 2):
        x = place + 1
        for y in range(1, ny - 1):
            low, high, row = field[1, x, y - 1], field[1, x, y + 1], field[2, x, y]
            before, behind, to = field[0, x - 1, y], field[0, x + 1, y], found[x + 1, y + 1]
            for z in range(1, nz - 1):
                to[z + 1] = _F(0.5) * (behind[z] - before[z] + high[z] - low[z] + row[z + 1] - row[z - 1])


@njit(parallel=True, fastmath=True, cache=True)
def _spread(found, scale, gradient):  # pragma: no cover - compiled
    nx, ny, nz = gradient.shape[1:]
    for x in prange(nx):
        for y in range(ny):
            before, behind = found[x, y + 1], found[x + 2, y + 1]
            low, high, row = found[x + 1, y], found[x + 1, y + 2], found[x + 1, y + 1]
            gx, gy, gz = gradient[0, x, y], gradient[1, x, y], gradient[2, x, y]
            for z in range(nz):
                gx[z] += scale * (before[z + 1] - behind[z + 1])
                gy[z] += scale * (low[z + 1] - high[z + 1])
                gz[z] += scale * (row[z] - row[z + 2])
