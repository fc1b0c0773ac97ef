"""Unsupervised training as scene flow has it: PointPWC-Net (Wu et al., ECCV 2020), Sec. 3.3 and published code."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.knn import nearest

_NO_DIVISION = 1e-8  # added to squared distances (published code)


def chamfer_measure(pair: CloudPair, field: Float[Tensor, "3 N"], config: PointsConfig) -> Tensor:
    """Chamfer distance + weighted smoothness + weighted Laplacian difference, a scalar, differentiable in ``field``.

    Lengths are in units of `chamfer_unit_mm`. Published are sums over the points of both clouds; here each part is the
    mean over its cloud, so that pairs of any size, and a moving cloud twice as dense, count alike. Both directions
    count, as published: without the one from moving to fixed, fixed keypoints may crowd round few moving ones.
    """
    unit = config.chamfer_unit_mm
    fixed, moving, u = pair.fixed / unit, pair.moving / unit, field.T / unit
    near = nearest(fixed, fixed, min(config.laplacian_neighbours + 1, len(fixed)))
    return (
        chamfer(fixed + u, moving)
        + config.chamfer_smoothness * roughness(u, near[:, : config.smooth_neighbours + 1])
        + config.chamfer_laplacian * laplacian_difference(fixed + u, near, moving, config)
    )


def chamfer(one: Float[Tensor, "N 3"], other: Float[Tensor, "M 3"]) -> Tensor:
    """Mean squared distance to the other cloud's nearest point, of both clouds, summed (Eq. 5); unit squared.

    Neighbours are found without gradients, their distances have them.
    """
    there, back = nearest(one.detach(), other.detach(), 1)[:, 0], nearest(other.detach(), one.detach(), 1)[:, 0]
    forward = (one - other.index_select(0, there)).square().sum(1)
    return forward.mean() + (other - one.index_select(0, back)).square().sum(1).mean()


def roughness(u: Float[Tensor, "N 3"], near: Int[Tensor, "N k"]) -> Tensor:
    """Mean Euclidean distance of a point's displacement to its neighbours' (Eq. 6; published code: not squared).

    ``near``: each point itself first, then its neighbours.
    """
    difference = _gathered(u, near[:, 1:]) - u.unsqueeze(1)
    # the root has no slope at 0, where a constant field is
    return (difference.square().sum(2) + _NO_DIVISION).sqrt().mean() - _NO_DIVISION**0.5


def laplacian(points: Float[Tensor, "N 3"], near: Int[Tensor, "N k"]) -> Float[Tensor, "N 3"]:
    """A point's neighbours' mean minus the point: (1 / |N|) sum_j (x_j - x_i); ``near`` as for `roughness`."""
    return _gathered(points, near[:, 1:]).mean(1) - points


def laplacian_difference(
    warped: Float[Tensor, "N 3"], near: Int[Tensor, "N k"], moving: Float[Tensor, "M 3"], config: PointsConfig
) -> Tensor:
    """Mean squared difference of the warped cloud's Laplacian from the moving cloud's, interpolated there (Eq. 7)."""
    of_moving = laplacian(moving, nearest(moving, moving, min(config.laplacian_neighbours + 1, len(moving))))
    round_it = nearest(warped.detach(), moving, min(config.interpolation_neighbours, len(moving)))
    square = (warped.unsqueeze(1) - _gathered(moving, round_it)).square().sum(2)
    weight = 1 / (square + _NO_DIVISION)
    weight = weight / weight.sum(1, keepdim=True)
    expected = (weight.unsqueeze(2) * _gathered(of_moving, round_it)).sum(1)
    return (laplacian(warped, near) - expected).square().sum(1).mean()


def _gathered(values: Float[Tensor, "N C"], index: Int[Tensor, "Q k"]) -> Float[Tensor, "Q k C"]:
    # index_select, not indexing: its gradient is summed in a fixed order, so that training repeats to the bit
    return torch.index_select(values, 0, index.reshape(-1)).reshape(*index.shape, -1)
