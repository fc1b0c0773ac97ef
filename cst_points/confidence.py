"""How far a registration of clouds can be trusted, keypoint by keypoint, without knowing the truth.

`benchmarks/confidence_points.py` shows how well each measure ranks the landmark errors of ten pairs; `residual`, the
best, goes into results.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.knn import nearest
from cst_points.lbp import read_out
from cst_points.refine import at_keypoints, disagreement, fitted, second_effort

NEIGHBOURS = 8
"""Keypoints whose values are averaged where there is none."""
TEMPERED = 1.0
"""Sharpness of the softmax for spread and entropy: at that of the read-out, 50, no keypoint has any doubt."""


class Doubt(NamedTuple):
    """Measures of distrust at the fixed keypoints; larger is worse."""

    residual: Float[Tensor, " N"]
    """From where the smooth field puts the keypoint to the match that h prefers near there, mm."""
    spread: Float[Tensor, " N"]
    """Standard deviation of the candidates under the tempered softmax, mm."""
    entropy: Float[Tensor, " N"]
    """Of that softmax, over the largest possible: 0 to 1."""
    forward_backward: Float[Tensor, " N"]
    """|u(x) + v(x + u(x))| with the solution v of the way back, mm."""


@torch.no_grad()
def residual(
    backend: PointsBackend, network: nn.Module, pair: CloudPair, field: Float[Tensor, "3 N"]
) -> Float[Tensor, " N"]:
    """`Doubt.residual` of a registration ``field``, mm; takes about half a registration.

    h is asked once more, round where the field points, so that a large smooth motion is no doubt.
    """
    network.eval()
    (features,) = backend.features(network, [pair])
    prior = _prior(backend, pair, field)
    solved = backend.solve(pair, *features, second_effort(backend), prior)
    return torch.linalg.vector_norm(solved - field, dim=0)


@torch.no_grad()
def doubt(backend: PointsBackend, network: nn.Module, pair: CloudPair, field: Float[Tensor, "3 N"]) -> Doubt:
    """All measures of a registration ``field``, mm, at its fixed keypoints."""
    network.eval()
    (features,) = backend.features(network, [pair])
    prior = _prior(backend, pair, field)
    solution = backend.solution(pair, *features, second_effort(backend), prior)
    match = read_out(solution.belief, solution.displacement, backend.config.sharpness) * pair.half_extent
    probability = torch.softmax(-TEMPERED * solution.belief, 1)
    return Doubt(
        torch.linalg.vector_norm(prior + match.T - field, dim=0),
        spread(probability, solution.displacement * pair.half_extent),
        relative_entropy(probability),
        disagreement(backend, pair, features, field),
    )


def _prior(backend: PointsBackend, pair: CloudPair, field: Float[Tensor, "3 N"]) -> Float[Tensor, "3 N"]:
    return at_keypoints(pair, fitted(pair, field, backend.config.prior_smoothing))


def spread(probability: Float[Tensor, "N K"], places: Float[Tensor, "N K 3"]) -> Float[Tensor, " N"]:
    """Standard deviation of the places under their probabilities, in the places' unit: root of the total variance."""
    mean = torch.einsum("nk,nkc->nc", probability, places)
    squares = (places - mean[:, None]).square().sum(2)
    return (probability * squares).sum(1).sqrt()


def relative_entropy(probability: Float[Tensor, "N K"]) -> Float[Tensor, " N"]:
    """Entropy over the largest that K values can have, 0 (certain) to 1 (all alike); 0 for a single candidate."""
    if probability.shape[1] == 1:
        return probability.new_zeros(len(probability))
    entropy = -torch.special.xlogy(probability, probability).sum(1)
    return (entropy / torch.tensor(float(probability.shape[1])).log()).clamp(0, 1)


def at_points(
    keypoints: Float[Tensor, "N 3"], values: Float[Tensor, " N"], points: Float[Tensor, "L 3"]
) -> Float[Tensor, " L"]:
    """Values of keypoints at other points: the mean of the nearest ones, each weighted by one over its distance."""
    near = nearest(points, keypoints, min(NEIGHBOURS, len(keypoints)))
    distance = torch.linalg.vector_norm(keypoints[near] - points[:, None], dim=2)
    weight = 1.0 / distance.clamp(min=1e-3)
    return (weight * values[near]).sum(1) / weight.sum(1)
