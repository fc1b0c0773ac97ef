"""Thin-plate splines in 3D: fitted stably, evaluated in blocks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from cst_points.knn import keops_works

_BLOCK = 2**24  # kernel values held at once: 64 MB


class Spline(NamedTuple):
    """s(x) = sum_i w_i (-|x - x_i|) + A (1, x): the smoothest map for the values it was fitted to.

    In three dimensions the thin-plate energy (integrated squared second derivatives) has the kernel -|x|.
    """

    centres: Float[Tensor, "N 3"]
    weights: Float[Tensor, "N D"]
    affine: Float[Tensor, "4 D"]

    def __call__(self, points: Float[Tensor, "Q 3"]) -> Float[Tensor, "Q D"]:
        """Values at ``points``, in the units of the centres; any number of points, bounded memory."""
        polynomial = torch.addmm(self.affine[0], points, self.affine[1:])
        if points.device.type == "cuda" and keops_works("cuda"):
            return polynomial - distance_product_keops(points, self.centres, self.weights)
        return polynomial - distance_product(points, self.centres, self.weights)


def distance_product(
    points: Float[Tensor, "Q 3"], centres: Float[Tensor, "N 3"], weights: Float[Tensor, "N D"]
) -> Float[Tensor, "Q D"]:
    """sum_i |x - x_i| w_i for every x, a block of points at a time."""
    block = max(1, _BLOCK // len(centres))
    parts = [
        torch.cdist(part, centres, compute_mode="donot_use_mm_for_euclid_dist") @ weights
        for part in points.split(block)
    ]
    return torch.cat(parts) if parts else points.new_zeros(0, weights.shape[1])


def distance_product_keops(
    points: Float[Tensor, "Q 3"], centres: Float[Tensor, "N 3"], weights: Float[Tensor, "N D"]
) -> Float[Tensor, "Q D"]:
    """`distance_product` as a KeOps reduction, CPU or CUDA: no block is ever stored."""
    from pykeops.torch import LazyTensor

    x = LazyTensor(points.contiguous()[:, None, :])
    y = LazyTensor(centres.contiguous()[None, :, :])
    w = LazyTensor(weights.contiguous()[None, :, :])
    return ((((x - y) ** 2).sum(-1)).sqrt() * w).sum(dim=1)


def fit_spline(
    points: Float[Tensor, "N 3"],
    values: Float[Tensor, "N D"],
    smoothing: float,
    trust: Float[Tensor, " N"] | None = None,
) -> Spline:
    """The thin-plate spline that minimises squared misfit + ``smoothing`` times bending energy.

    Args:
        points: At least four, not all in one plane. Normalised coordinates, so that ``smoothing`` has a scale.
        values: What to fit there.
        smoothing: lambda >= 0; 0 interpolates, which duplicate points forbid.
        trust: Weight of each point's misfit, in (0, 1]; default 1 everywhere.

    The usual saddle-point system is indefinite and badly scaled. Here the affine part is split off by four Householder
    reflections; what is left is positive definite and goes through Cholesky, in float64.

    Raises:
        ValueError: fewer than four points, or all in a plane, or duplicates with smoothing 0.
    """
    if len(points) < 4:
        raise ValueError(f"points: a spline needs at least 4 points, got {len(points)}")
    x, y = points.detach().double(), values.detach().double()
    affine = torch.cat([torch.ones_like(x[:, :1]), x], 1)
    kernel = -torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    ridge = x.new_full((len(x),), smoothing) if trust is None else smoothing / trust.double()
    kernel.diagonal().add_(ridge)
    reflections, tau = torch.geqrf(affine)
    triangle = reflections[:4].triu()
    # what rounding to float32 leaves of a plane's thickness is below 1e-7
    if triangle.diagonal().abs().min() < 1e-6 * triangle.diagonal().abs().max():
        raise ValueError(f"points: a spline needs points that span space, but all {len(points)} lie in one plane")
    rotated = torch.ormqr(reflections, tau, torch.ormqr(reflections, tau, kernel, transpose=True), left=False)
    target = torch.ormqr(reflections, tau, y, transpose=True)
    factor, failed = torch.linalg.cholesky_ex(rotated[4:, 4:])
    pivots = factor.diagonal()
    # of duplicates, rounding may leave a tiny positive pivot instead of a failure
    if failed or (len(pivots) and pivots.min() < 1e-6 * pivots.max()):
        raise ValueError(f"points: duplicates cannot be interpolated exactly; set smoothing above 0, got {smoothing}")
    free = torch.cholesky_solve(target[4:], factor)
    weights = torch.ormqr(reflections, tau, torch.cat([torch.zeros_like(target[:4]), free]))
    polynomial = torch.linalg.solve_triangular(triangle, target[:4] - rotated[:4, 4:] @ free, upper=True)
    return Spline(points.detach(), weights.to(values.dtype), polynomial.to(values.dtype))


def fit_reference(
    points: Float64[Tensor, "N 3"], values: Float64[Tensor, "N D"], smoothing: float
) -> tuple[Tensor, Tensor]:
    """Weights and affine part from the textbook's saddle-point system: for tests."""
    n = len(points)
    system = points.new_zeros(n + 4, n + 4)
    affine = torch.cat([torch.ones_like(points[:, :1]), points], 1)
    system[:n, :n] = -torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    system[:n, :n].diagonal().add_(smoothing)
    system[:n, n:], system[n:, :n] = affine, affine.T
    solution = torch.linalg.solve(system, torch.cat([values, values.new_zeros(4, values.shape[1])]))
    return solution[:n], solution[n:]
