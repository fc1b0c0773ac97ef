"""Smooth random fields that are functions of position: the same whatever the voxels they are read at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

# Variance of a uniform cubic B-spline with unit normal coefficients, averaged over the places along one axis: the
# integral of the squared basis function, 151/315.
SPLINE_VARIANCE = 151 / 315

Axes = tuple[Float[np.ndarray, " X"], Float[np.ndarray, " Y"], Float[np.ndarray, " Z"]]


@dataclass(frozen=True)
class Lattice:
    """A cubic B-spline with coefficients on a regular lattice about the world's origin."""

    coefficients: Float[np.ndarray, "C I J K"]
    pitch: float
    """mm between neighbouring coefficients: the field's grain."""

    def scaled(self, deviations: Sequence[float]) -> Lattice:
        """Each channel times its own factor."""
        factors = np.array(deviations, np.float32)[:, None, None, None]
        return Lattice(factors * self.coefficients, self.pitch)

    def on(self, axes: Axes) -> Float[np.ndarray, "C X Y Z"]:
        """The field at all combinations of positions along each axis (world mm), float32.

        Summed tap by tap: a product of matrices may round differently on another number of threads.
        """
        field = self.coefficients
        # the first axis last: most of the work then moves whole planes
        for axis in (3, 2, 1):
            position = axes[axis - 1] / self.pitch + 0.5 * (field.shape[axis] - 1)
            first = np.clip(np.floor(position).astype(int) - 1, 0, field.shape[axis] - 4)
            weights = _basis(position - first - 1).astype(np.float32)
            weights = weights.reshape(4, *[-1 if other == axis else 1 for other in range(4)])
            spread = weights[0] * field.take(first, axis)
            for tap in range(1, 4):
                part = field.take(first + tap, axis)
                part *= weights[tap]
                spread += part
            field = spread
        return field


def draw_lattice(generator: Generator, extent: tuple[float, float, float], pitch: float, channels: int = 1) -> Lattice:
    """Draw a field of about unit standard deviation that covers ``extent`` (mm) about the origin."""
    shape = [int(np.ceil(length / pitch)) + 4 for length in extent]
    coefficients = generator.standard_normal((channels, *shape), dtype=np.float32)
    return Lattice(coefficients * np.float32(SPLINE_VARIANCE**-1.5), pitch)


def _basis(t: Float[np.ndarray, " N"]) -> Float[np.ndarray, "4 N"]:
    """Cubic B-spline weights of the four coefficients around ``t`` in [0, 1]."""
    return np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
