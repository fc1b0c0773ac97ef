"""The steps of registering one pair of volumes: ours, a textbook's, and what either cannot do without."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from benchmarks.speed import textbook
from benchmarks.speed.network_steps import network_steps
from benchmarks.speed.smooth_pair import SPACING, deformation
from benchmarks.speed.step import Step
from cst_core.compiled_field import Search, search
from cst_core.field import Grid, compose, warp
from cst_core.world_grid import slab_points
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.consistency import make_consistent
from cst_image.correlation import candidate_displacements, matching_cost
from cst_image.coupled_convex import coupled_convex
from cst_image.divergence import add_divergence_gradient
from cst_image.feature_difference import FeatureDifference
from cst_image.instance import InstanceSettings, adam_step, instance_optimisation
from cst_image.lattice import box_means, lattice_shape
from cst_image.pair import ImagePair
from cst_image.refine import projected
from cst_image.roughness import add_roughness_gradient

SOLVED = 1e-3  # mm, where the search for an inverse ends
FEW = 10  # steps of instance optimisation beside the textbook's, which takes seconds for each


def steps(backend: ImageBackend, network: nn.Module, pair: ImagePair) -> list[Step]:
    """All steps, on what the steps before them give for this pair."""
    config = backend.config
    (features,) = backend.features(network, [pair])
    scale = config.cost_scale / len(features.fixed)
    fixed, moving = scale * features.fixed, scale * features.moving
    channels, sites = len(fixed), prod(fixed.shape[1:])
    made = network_steps(backend, network, pair)
    for reach in (config.reach, config.reach + 1):
        k, used = (2 * reach + 1) ** 3, 4 if reach == config.reach else 0
        cost, candidates = matching_cost(fixed, moving, reach), candidate_displacements(reach, like=fixed)
        convex = (cost, candidates, config.sharpness, config.coupling)
        made += [
            Step(
                f"correlation, {k} candidates",
                lambda reach=reach: matching_cost(fixed, moving, reach),
                lambda reach=reach: textbook.matching_cost(fixed, moving, reach),
                k * sites * (3 * channels + 12),
                sites * (2 * channels + k),
                used,
            ),
            Step(
                f"coupled convex, {k} candidates",
                lambda convex=convex: coupled_convex(*convex),
                lambda convex=convex: textbook.coupled_convex(*convex),
                (1 + len(config.coupling)) * k * sites * 18,
                (1 + len(config.coupling)) * k * sites,
                used,
            ),
        ]
    forward = backend.solve(pair, features.fixed, features.moving)
    backward = backend.solve(pair.swapped(), features.moving, features.fixed)
    spacing = tuple(config.stride * s for s in SPACING)
    rounds = config.consistency_steps
    made.append(
        Step(
            f"consistency, {rounds} iterations",
            lambda: make_consistent(forward, backward, spacing, rounds)[0],
            None,
            rounds * 2 * sites * 3 * 17,
            rounds * 2 * sites * 9,
            2,
        )
    )
    # a field as it is in the middle of the optimisation: h's own has steps of whole voxels
    start = deformation(lattice_shape(pair.grid.shape, config.label_stride)) / (config.label_stride * SPACING[0])
    made += moving_steps(backend, pair, forward, features.fixed_instance)
    return [
        *made,
        *field_steps(config, features.fixed_instance, features.moving_instance, start),
        way_back(pair.grid),
    ]


def moving_steps(backend: ImageBackend, pair: ImagePair, solved: Tensor, second: Tensor) -> list[Step]:
    """What brings h's field from one lattice to the next, and both scans to Adam."""
    config, shape, stride = backend.config, pair.grid.shape, backend.config.label_stride
    voxels, coarse, sites = prod(shape), prod(solved.shape[1:]), prod(lattice_shape(shape, stride))
    field = backend.to_label_lattice(pair, solved)
    dense, spacing = backend.on_grid(pair, field), tuple(stride * s for s in SPACING)
    before, after, rounds = len(second), config.instance_channels, config.adam_rounds
    linear = 17  # of one channel at one position, beside the position's own 12
    return [
        Step(
            "upsampling to the labels' lattice",
            lambda: backend.to_label_lattice(pair, solved),
            None,
            3 * sites * 18,
            3 * (coarse + sites),
            3,
        ),
        Step(
            "field at every voxel", lambda: backend.on_grid(pair, field), None, 6 * voxels, 3 * (sites + voxels), rounds
        ),
        Step(
            "warp, one volume",
            lambda: warp(pair.moving, dense, SPACING),
            lambda: textbook.warped(pair.moving, dense, SPACING),
            voxels * (linear + 12),
            voxels * 5,
            rounds,
        ),
        Step(
            "composition of two fields",
            lambda: compose(field, field, spacing),
            lambda: textbook.composed(field, field, spacing),
            sites * (3 * linear + 15),
            sites * 9,
            rounds,
        ),
        Step(
            "features for Adam, one volume",
            lambda: projected(second, after, standardise=config.standardise),
            None,
            sites * before * (2 * after + 5),
            sites * (before + after),
            2 * rounds,
        ),
    ]


def way_back(grid: Grid) -> Step:
    """The inverse of a dense field, as `cst register` writes it beside the field."""
    field, voxels = deformation(grid.shape), prod(grid.shape)
    points = slab_points(grid, 0, grid.shape[2])

    def ours() -> Tensor:
        how = Search(SOLVED, within=False)
        places, _ = search(field, grid, True, points, points, torch.eye(3, dtype=torch.float64), how)
        return (places - points).T.reshape(field.shape).float()

    # two steps at least: 6 numbers a voxel are read for one, 3 written in the end
    return Step(
        "inverse field",
        ours,
        lambda: textbook.inverse(field, SPACING, Search(SOLVED, within=False).steps, SOLVED),
        2 * voxels * (3 * 15 + 30),
        voxels * 9,
    )


def field_steps(config: ImageConfig, fixed: Tensor, moving: Tensor, start: Tensor) -> list[Step]:
    """What happens on the lattice of labels: instance optimisation and its parts."""
    channels, smoothing = config.instance_channels, config.field_smoothing
    fixed, moving = (projected(features, channels) for features in (fixed, moving))
    weight, sites = torch.ones_like(start[0]), start[0].numel()
    difference = FeatureDifference(fixed, moving, weight)
    gradient = difference(start).gradient
    parameter, first, second = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    few, all_ = (
        InstanceSettings(
            n, config.adam_rate, config.data_weight * config.instance_scale**2, config.smoothness, smoothing
        )
        for n in (FEW, config.adam_steps)
    )

    plain_adam = textbook.Adam(start)

    def adam() -> Tensor:
        adam_step(parameter, gradient, first, second, 1, config.adam_rate)
        return parameter

    def rough() -> Tensor:
        gradient = torch.zeros_like(start)
        add_roughness_gradient(gradient, start, config.smoothness)
        return gradient

    def diverge() -> Tensor:
        gradient = torch.zeros_like(start)
        add_divergence_gradient(gradient, start, 1.0)
        return gradient

    means = 3 * smoothing * 3 * 3 * sites, 2 * 3 * sites
    differences = sites * (34 * channels + 60), sites * (2 * channels + 7)
    roughnesses = 3 * 3 * 4 * sites, 3 * 3 * sites
    divergences = (6 + 3 * 3) * sites, (3 + 2 + 3) * sites
    adams = 3 * sites * 12, 3 * sites * 7
    step = [sum(part) for part in zip(differences, means, means, adams, roughnesses, strict=True)]
    return [
        Step(
            "feature difference and gradient",
            lambda: difference(start).gradient,
            lambda: textbook.difference_gradient(fixed, moving, start),
            *differences,
        ),
        Step(
            f"box means, {smoothing} rounds",
            lambda: box_means(start, smoothing),
            lambda: textbook.box_means(start, smoothing),
            *means,
        ),
        Step(
            "gradient of the roughness",
            rough,
            lambda: textbook.roughness_gradient(start, config.smoothness),
            *roughnesses,
        ),
        Step(
            "gradient of the divergence",
            diverge,
            lambda: textbook.divergence_gradient(start, 1.0),
            *divergences,
        ),
        Step("one Adam update", adam, lambda: plain_adam(gradient, config.adam_rate), *adams),
        Step(
            f"instance optimisation, {FEW} steps",
            lambda: instance_optimisation(fixed, moving, start, weight, few),
            lambda: textbook.instance_optimisation(fixed, moving, start, few),
            FEW * step[0],
            FEW * step[1],
        ),
        Step(
            f"instance optimisation, {config.adam_steps} steps",
            lambda: instance_optimisation(fixed, moving, start, weight, all_),
            None,
            config.adam_steps * step[0],
            config.adam_steps * step[1],
            config.adam_rounds,
        ),
    ]
