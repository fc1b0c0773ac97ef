"""How far to trust a field, voxel by voxel, in mm: measures that need no truth, and the one that is shipped."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cst_core.field import DisplacementField, warp
from cst_image.backend import ImageBackend, on_lattice, voxel_size
from cst_image.correlation import candidate_displacements, matching_cost
from cst_image.lattice import box_means, double, lattice_shape
from cst_image.pair import ImagePair

GOOD_MM, POOR_MM = 2.5, 10.0
"""Of `doubt`, 95th percentile: eight hippocampus pairs of Dice 0.74 to 0.85 have 1.7 to 2.3, an abdomen pair of Dice
0.46 has 40."""
_ROUNDS = 3  # of 3-box means: what "around a voxel" is
_NOISE = 1e-4  # variance, of intensities that span a range of 1


class Measure(NamedTuple):
    """One measure of a registration; larger is worse."""

    name: str
    """For people."""
    values: Float[Tensor, "X Y Z"]
    """mm, on the pair's grid."""


def confidence(backend: ImageBackend, network: nn.Module, pair: ImagePair, field: DisplacementField) -> Measure:
    """The measure that is shipped: of those that benchmarks/confidence.py compares the best.

    Args:
        backend: with the settings of test time.
        network: g.
        pair: as it was registered.
        field: what was found.
    """
    return doubt(backend, network, pair, field)


@torch.no_grad()
def doubt(backend: ImageBackend, network: nn.Module, pair: ImagePair, field: DisplacementField) -> Measure:
    """(`forward_backward` + one voxel) times 1 - r, with r the correlation of fixed and warped scan around a voxel.

    There and back again alone is blind to what both ways get wrong alike; that the scans still look unlike tells it.
    """
    there_and_back = forward_backward(backend, network, pair, field).values
    warped = warp(pair.moving, field.vectors, pair.grid.spacing)[0]
    voxel = sum(pair.grid.spacing) / 3
    unlike = 1.0 - _correlations(pair.fixed[0], warped)
    return Measure("forward-backward error, weighted by mismatch", (there_and_back + voxel) * unlike)


@torch.no_grad()
def forward_backward(backend: ImageBackend, network: nn.Module, pair: ImagePair, field: DisplacementField) -> Measure:
    """|u(x) + v(x + u(x))|, with v the registration of fixed to moving: how far there and back again ends from x."""
    back = backend.displacement(network, pair.swapped()).vectors
    missed = field.vectors + warp(back, field.vectors, pair.grid.spacing)
    return Measure("forward-backward error", torch.linalg.vector_norm(missed, dim=0))


@torch.no_grad()
def spread(backend: ImageBackend, network: nn.Module, pair: ImagePair, field: DisplacementField) -> Measure:
    """The standard deviation of the soft-argmin's candidates about their mean, where h is sure of its field.

    Of the last coupled step: the matching cost plus the strongest coupling to the field that was found.
    """
    config = backend.config
    (features,) = backend.features(network, [pair])
    scale = config.cost_scale / len(features.fixed)
    masks = (on_lattice(mask, config.stride) for mask in (pair.fixed_mask, pair.moving_mask))
    cost = matching_cost(scale * features.fixed, scale * features.moving, config.reach, *masks)
    candidates = candidate_displacements(config.reach, like=cost)
    step = config.stride
    found = (field.vectors[:, ::step, ::step, ::step] / voxel_size(pair.grid, step, cost)).flatten(1)
    pull = candidates.square().sum(1, keepdim=True) - 2.0 * candidates @ found
    shares = (-config.sharpness * (cost.flatten(1) + config.coupling[-1] * pull)).softmax(dim=0)
    size = voxel_size(pair.grid, step, cost)[:, 0, 0, 0]
    mean = candidates.T @ shares
    variance = (candidates.square().T @ shares - mean.square()).clamp(min=0.0)
    values = (variance * size[:, None].square()).sum(0).sqrt().reshape(1, *cost.shape[1:])
    while step > 1:
        step //= 2
        values = double(values, lattice_shape(pair.grid.shape, step))
    return Measure("spread of the soft-argmin", values[0])


@torch.no_grad()
def correction(backend: ImageBackend, network: nn.Module, pair: ImagePair, field: DisplacementField) -> Measure:
    """|u - u'|, with u' the field before instance optimisation: how much that had to mend."""
    config = backend.config.model_copy(update={"adam": False})
    before = ImageBackend(config, backend.device).displacement(network, pair)
    return Measure(
        "correction by instance optimisation", torch.linalg.vector_norm(field.vectors - before.vectors, dim=0)
    )


def _correlations(a: Float[Tensor, "X Y Z"], b: Float[Tensor, "X Y Z"]) -> Float[Tensor, "X Y Z"]:
    """Pearson's correlation around each voxel, towards 0 where one of the two hardly varies."""
    mean_a, mean_b = box_means(a, _ROUNDS), box_means(b, _ROUNDS)
    variance_a, variance_b = (
        (box_means(values.square(), _ROUNDS) - mean.square()).clamp(min=0.0) + _NOISE
        for values, mean in ((a, mean_a), (b, mean_b))
    )
    covariance = box_means(a * b, _ROUNDS) - mean_a * mean_b
    return (covariance / (variance_a * variance_b).sqrt()).clamp(-1.0, 1.0)


MEASURES = (forward_backward, spread, correction, doubt)
