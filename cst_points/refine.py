"""Refinement of h's field on keypoints: asymmetry 2 of the method (Sec. 2.2), each step with its switch.

The paper refines images only. On by default are the spline and the second warp; agreement and views are unproven and
off. `benchmarks/refinement.py` measures each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cst_core.affine import draw_similarity, in_mm
from cst_core.sampling import seeded
from cst_points.cloud import CloudPair
from cst_points.tps import Spline, fit_spline

if TYPE_CHECKING:
    from cst_points.backend import Effort, PointsBackend

_VIEWS_SEED = 2023  # the extra views are part of the method, not of a run: labels stay a function of weights and data


def refine(
    backend: PointsBackend,
    network: nn.Module,
    pair: CloudPair,
    features: tuple[Float[Tensor, "N C"], Float[Tensor, "M C"]],
    predicted: Float[Tensor, "3 N"],
) -> Float[Tensor, "3 N"]:
    """Views, second warp, agreement, spline: the refined field at the fixed keypoints, ``(3, N)`` mm."""
    config = backend.config
    field = predicted
    if config.views > 1:
        field = _mean_over_views(backend, network, pair, field)
    if config.second_warp:
        prior = at_keypoints(pair, fitted(pair, field, config.prior_smoothing))
        field = backend.solve(pair, *features, second_effort(backend), prior)
    trust = agreement(backend, pair, features, field) if config.forward_backward else None
    if config.smooth:
        field = at_keypoints(pair, fitted(pair, field, config.smoothing, trust))
    return field


def fitted(
    pair: CloudPair, field: Float[Tensor, "3 N"], smoothing: float, trust: Float[Tensor, " N"] | None = None
) -> Spline:
    """The smoothing spline of a field, from normalised fixed coordinates to mm."""
    return fit_spline(pair.normalised()[0], field.T, smoothing, trust)


def at_keypoints(pair: CloudPair, spline: Spline) -> Float[Tensor, "3 N"]:
    """A spline's values at the fixed keypoints, mm."""
    return spline(pair.normalised()[0]).T


def agreement(
    backend: PointsBackend,
    pair: CloudPair,
    features: tuple[Float[Tensor, "N C"], Float[Tensor, "M C"]],
    field: Float[Tensor, "3 N"],
) -> Float[Tensor, " N"]:
    """How far to trust each fixed keypoint, in (0, 1]: 1 / (1 + (e / agreement_mm)^2), with e of `disagreement`."""
    error = disagreement(backend, pair, features, field)
    return 1.0 / (1.0 + (error / backend.config.agreement_mm).square())


def disagreement(
    backend: PointsBackend,
    pair: CloudPair,
    features: tuple[Float[Tensor, "N C"], Float[Tensor, "M C"]],
    field: Float[Tensor, "3 N"],
) -> Float[Tensor, " N"]:
    """Forward-backward error |u(x) + v(x + u(x))| at each fixed keypoint, mm.

    v is the solution from moving to fixed. The moving cloud is denser and most of its points have no partner, so v is
    searched only round what u implies, by the spline of -u at x + u.
    """
    config = backend.config
    fixed_features, moving_features = features
    carried = pair.fixed + field.T
    there = CloudPair(carried, pair.moving, pair.origin, pair.half_extent)
    prior = fitted(there, -field, config.prior_smoothing)(there.normalised()[1]).T
    back = backend.solve(pair.swapped(), moving_features, fixed_features, second_effort(backend), prior)
    returned = fitted(pair.swapped(), back, config.smoothing)(there.normalised()[0])
    return torch.linalg.vector_norm(field.T + returned, dim=1)


def second_effort(backend: PointsBackend) -> Effort:
    """How hard h works once a first solution tells it where to look."""
    return backend.effort._replace(candidates=backend.config.second_candidates)


def _mean_over_views(
    backend: PointsBackend, network: nn.Module, pair: CloudPair, field: Float[Tensor, "3 N"]
) -> Float[Tensor, "3 N"]:
    """The mean of the solutions of randomly transformed copies of the pair, each brought back to its own axes."""
    config, total = backend.config, field
    for view in range(1, config.views):
        generator = seeded(_VIEWS_SEED, view)
        drawn = draw_similarity(generator, config.max_degrees, config.max_translation, config.max_scale)
        both = in_mm(drawn, pair.origin.cpu(), pair.half_extent.cpu())
        seen = CloudPair(both.apply(pair.fixed), both.apply(pair.moving), pair.origin, pair.half_extent)
        (features,) = backend.features(network, [seen])
        solved = backend.solve(seen, *features, backend.effort)
        total = total + both.inverse().matrix.to(solved) @ solved
    return total / config.views
