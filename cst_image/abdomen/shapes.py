"""Two kinds of solid from which organs are built: ellipsoids, and tubes along a curve.

A solid is known by its *depth*: about how far a point lies under its surface, mm, and negative outside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

SEGMENT = 16.0  # mm, length of the straight pieces of a tube

Number = float | int
Triple = tuple[Number, Number, Number]
Vector = Float[np.ndarray, "3"]
Points = Float[np.ndarray, "3 *voxels"]
Depth = Float[np.ndarray, "*voxels"]


class Bounds(NamedTuple):
    """The box, mm, outside which a solid has negative depth."""

    low: Vector
    high: Vector


class Placement(NamedTuple):
    """How a solid is put elsewhere: scaled and turned about ``pivot``, then shifted."""

    pivot: Vector
    """mm."""
    shift: Vector
    """mm."""
    scale: Vector
    """Along the solid's axes."""
    rotation: Float[np.ndarray, "3 3"]

    def point(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """Where points (mm) come to lie."""
        return (self.scale * (points - self.pivot)) @ self.rotation.T + self.pivot + self.shift


@dataclass(frozen=True)
class Ellipsoid:
    """A turned ellipsoid."""

    centre: Vector
    """mm."""
    semi_axes: Vector
    """mm."""
    axes: Float[np.ndarray, "3 3"]
    """Unit vectors along the semi-axes, one a row."""

    def bounds(self) -> Bounds:
        reach = np.linalg.norm(self.semi_axes[:, None] * self.axes, axis=0)
        return Bounds(self.centre - reach, self.centre + reach)

    def depth(self, points: Points) -> Depth:
        """First-order distance: exact at the surface and along the axes."""
        offset = [points[axis] - np.float32(self.centre[axis]) for axis in range(3)]
        # not quite 0, so that the centre is as deep as what surrounds it
        once, twice = np.float32(1e-8), np.float32(1e-12)
        for axis, semi in zip(self.axes.astype(np.float32), self.semi_axes.astype(np.float32), strict=True):
            along = (axis[0] * offset[0] + axis[1] * offset[1] + axis[2] * offset[2]) / semi
            once = once + along**2
            twice = twice + (along / semi) ** 2
        radius = np.sqrt(once)
        return np.minimum(radius * (1 - radius) / np.sqrt(twice), np.float32(self.semi_axes.min()))

    def placed(self, placement: Placement) -> Ellipsoid:
        return Ellipsoid(
            placement.point(self.centre[None])[0], self.semi_axes * placement.scale, self.axes @ placement.rotation.T
        )


@dataclass(frozen=True)
class Cone:
    """A straight piece of tube with round ends, whose radius changes linearly along it."""

    start: Vector
    end: Vector
    radii: tuple[float, float]
    """At start and end, mm."""

    def bounds(self) -> Bounds:
        reach = max(self.radii)
        return Bounds(np.minimum(self.start, self.end) - reach, np.maximum(self.start, self.end) + reach)

    def depth(self, points: Points) -> Depth:
        start, run = self.start.astype(np.float32), (self.end - self.start).astype(np.float32)
        offset = [points[axis] - start[axis] for axis in range(3)]
        square = max(float((run * run).sum()), 1e-6)
        along = (offset[0] * run[0] + offset[1] * run[1] + offset[2] * run[2]) / np.float32(square)
        np.clip(along, 0, 1, out=along)
        away = sum((offset[axis] - along * run[axis]) ** 2 for axis in range(3))
        return np.float32(self.radii[0]) + along * np.float32(self.radii[1] - self.radii[0]) - np.sqrt(away)


@dataclass(frozen=True)
class Tube:
    """A tube through ``knots``, smooth between them."""

    knots: Float[np.ndarray, "N 3"]
    """mm."""
    radii: Float[np.ndarray, "N"]
    """mm, at the knots."""

    def pieces(self) -> list[Cone]:
        """Straight pieces of at most `SEGMENT`, end to end."""
        lengths = np.linalg.norm(np.diff(self.knots, axis=0), axis=1)
        at = np.concatenate([[0.0], np.cumsum(lengths)])
        counts = np.ceil(lengths / SEGMENT).astype(int)
        fine = np.concatenate([np.linspace(at[i], at[i + 1], n, endpoint=False) for i, n in enumerate(counts)])
        curve = PchipInterpolator(at, np.column_stack([self.knots, self.radii]))(np.append(fine, at[-1]))
        return [Cone(a[:3], b[:3], (float(a[3]), float(b[3]))) for a, b in pairwise(curve)]

    def placed(self, placement: Placement) -> Tube:
        return Tube(placement.point(self.knots), self.radii * placement.scale.mean())

    def jittered(self, offsets: Float[np.ndarray, "N 3"]) -> Tube:
        """With its knots moved by ``offsets``, mm."""
        return replace(self, knots=self.knots + offsets)


Solid = Ellipsoid | Tube


def ellipsoid(centre: Triple, semi_axes: Triple, turn: Triple = (0, 0, 0)) -> Ellipsoid:
    """An ellipsoid whose axes are turned by the angles ``turn``, degrees, about the world's x, then y, then z."""
    axes = Rotation.from_euler("xyz", turn, degrees=True).as_matrix().T
    return Ellipsoid(np.array(centre, float), np.array(semi_axes, float), axes)


def tube(*knots: tuple[Number, Number, Number, Number]) -> Tube:
    """A tube through ``(x, y, z, radius)``, mm."""
    table = np.array(knots, float)
    return Tube(table[:, :3], table[:, 3])


def mirrored(solid: Solid) -> Solid:
    """The solid's image on the other side of the midplane x = 0."""
    flip = np.array([-1.0, 1.0, 1.0])
    if isinstance(solid, Tube):
        return replace(solid, knots=solid.knots * flip)
    return replace(solid, centre=solid.centre * flip, axes=solid.axes * flip)
