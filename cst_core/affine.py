"""Random affine maps, and what they do to an image, a cloud and a label: exactly.

The draws are random and live in normalised coordinates ([-1, 1] over the field of view); `in_mm` and `for_grid` bring
them into millimetres; everything that applies a map is deterministic and wants it in mm, so an augmentation can be
replayed from its maps.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from cst_core.field import Grid, Mode, Padding, positions, sample


@dataclass(frozen=True, eq=False)
class Affine:
    """The map x -> M x + t. In mm or in normalised coordinates, as whoever made it says."""

    matrix: Float[Tensor, "3 3"]
    """M."""
    offset: Float[Tensor, "3"]
    """t."""

    def __post_init__(self) -> None:
        if self.matrix.shape != (3, 3) or self.offset.shape != (3,):
            raise ValueError(
                "matrix and offset must have the shapes (3, 3) and (3,), "
                f"got {tuple(self.matrix.shape)} and {tuple(self.offset.shape)}"
            )

    @classmethod
    def identity(cls) -> "Affine":
        """x -> x, in float64."""
        return cls(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))

    def then(self, second: "Affine") -> "Affine":
        """x -> second(self(x))."""
        return Affine(second.matrix @ self.matrix, second.matrix @ self.offset + second.offset)

    def inverse(self) -> "Affine":
        """The map back. Raises `torch.linalg.LinAlgError` if the matrix is singular."""
        inverse = torch.linalg.inv(self.matrix)
        return Affine(inverse, -inverse @ self.offset)

    def apply(self, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """The images of points, in their own dtype and on their device."""
        return points @ self.matrix.to(points).T + self.offset.to(points)

    def apply_to_sites(self, points: Float[Tensor, "3 *sites"]) -> Float[Tensor, "3 *sites"]:
        """As `apply`, for coordinates that come first, as in fields."""
        return self.apply(points.flatten(1).T).T.reshape(points.shape)


class ImageAffines(NamedTuple):
    """The maps of one augmented pair: fixed'(x) = fixed(A1 x), moving'(x) = moving(A2 x)."""

    fixed: Affine
    """A1."""
    moving: Affine
    """A2."""


def draw_image_affines(generator: Generator, sigma_first: float = 0.075, sigma_second: float = 0.05) -> ImageAffines:
    """A1 = I + 0.075 N and A2 = (I + 0.05 N') A1, N and N' standard normal 3x4 (Sec. 3; published code).

    Normalised coordinates, float64: use `for_grid` before applying. ``generator`` on the CPU; fixed is drawn first.
    """
    first = _near_identity(generator, sigma_first)
    return ImageAffines(first, first.then(_near_identity(generator, sigma_second)))


def draw_similarity(
    generator: Generator, max_degrees: float = 10.0, max_translation: float = 0.1, max_scale: float = 0.1
) -> Affine:
    """A rotation about x, then y, then z, one isotropic scaling, then a translation; all uniform (Sec. 3).

    Angles within +-``max_degrees``, the scale within 1 +- ``max_scale``, each translation within +-``max_translation``.
    Normalised coordinates, float64: use `in_mm` before applying. ``generator`` on the CPU.
    """
    draw = 2.0 * torch.rand(7, dtype=torch.float64, generator=generator) - 1.0
    x, y, z = (_rotation(axis, float(draw[axis]) * math.radians(max_degrees)) for axis in range(3))
    return Affine((1.0 + max_scale * draw[3]) * (z @ y @ x), max_translation * draw[4:])


def in_mm(affine: Affine, origin: Float[Tensor, "3"], half_extent: Float[Tensor, "3"]) -> Affine:
    """A map of normalised coordinates (x - origin) / half_extent, as the same map of mm.

    x -> origin + H (M H^-1 (x - origin) + t) with H = diag(half_extent): a similarity becomes a general affine map
    where the half-extents differ, which is why cloud and label must be mapped by this one and not by the draw.
    """
    origin, half_extent = origin.detach().to(affine.matrix), half_extent.detach().to(affine.matrix)
    matrix = half_extent[:, None] * affine.matrix / half_extent
    return Affine(matrix, origin + half_extent * affine.offset - matrix @ origin)


def for_grid(affine: Affine, grid: Grid) -> Affine:
    """A map of normalised coordinates, as the same map of the grid mm of ``grid``.

    Grids of one field of view but of different resolution have different grid mm: give each its own.
    """
    return in_mm(affine, grid.centre, grid.half_extent)


def warp_image(
    volume: Shaped[Tensor, "C X Y Z"],
    affine: Affine,
    grid: Grid,
    mode: Mode = "linear",
    padding: Padding = "border",
) -> Shaped[Tensor, "C X Y Z"]:
    """``volume(A x)``; ``affine`` in the grid mm of ``grid``. Modes and padding as in `cst_core.field.sample`."""
    if volume.shape[1:] != grid.shape:
        raise ValueError(f"volume must have the shape (C, *grid.shape), {grid.shape}, got {tuple(volume.shape)}")
    points = positions(grid.shape, grid.spacing, _computing_dtype(volume), volume.device)
    return sample(volume, affine.apply_to_sites(points), grid.spacing, mode, padding)


def augment_label_image(
    label: Float[Tensor, "3 X Y Z"], fixed: Affine, moving: Affine, grid: Grid
) -> Float[Tensor, "3 X Y Z"]:
    """The label of fixed' = fixed∘A1 and moving' = moving∘A2: u'(x) = A2^-1 (A1 x + u(A1 x)) - x.

    ``label`` u, mm, on ``grid``; A1 ``fixed`` and A2 ``moving`` in its grid mm. Returns mm, float32 at least. Where
    A1 x leaves the grid, u is continued as at the border. The published code uses exp(log A1 - log A2) instead, which
    is A2^-1 A1 only where the two commute, and does not rotate u: millimetres to centimetres of error.
    """
    if label.shape != (3, *grid.shape):
        raise ValueError(f"label must have the shape (3, *grid.shape), {grid.shape}, got {tuple(label.shape)}")
    label = label.to(_computing_dtype(label))
    points = positions(grid.shape, grid.spacing, label.dtype, label.device)
    in_fixed = fixed.apply_to_sites(points)
    in_moving = in_fixed + sample(label, in_fixed, grid.spacing)
    return moving.inverse().apply_to_sites(in_moving) - points


def augment_label_cloud(label: Float[Tensor, "3 N"], both: Affine) -> Float[Tensor, "3 N"]:
    """The label of fixed' = S fixed and moving' = S moving: u'_i = L u_i with L the linear part of S.

    ``label`` one displacement a fixed point, mm; ``both`` is S, in mm (`in_mm`).
    """
    return both.matrix.to(label) @ label


def _near_identity(generator: Generator, sigma: float) -> Affine:
    noise = sigma * torch.randn(3, 4, dtype=torch.float64, generator=generator)
    return Affine(torch.eye(3, dtype=torch.float64) + noise[:, :3], noise[:, 3])


def _rotation(axis: int, radians: float) -> Tensor:
    """Right-handed, about one coordinate axis."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[a, a] = matrix[b, b] = math.cos(radians)
    matrix[a, b], matrix[b, a] = -math.sin(radians), math.sin(radians)
    return matrix


def _computing_dtype(tensor: Tensor) -> torch.dtype:
    """Coordinates need single precision, whatever the values are stored in."""
    return torch.promote_types(tensor.dtype, torch.float32)
