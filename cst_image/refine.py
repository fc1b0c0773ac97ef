"""Refinement of h's field (Sec. 2.2, 3): asymmetry 2 of the method, each step with its switch, in the paper's order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cst_core.field import compose, warp
from cst_image.consistency import make_consistent
from cst_image.instance import InstanceSettings
from cst_image.lattice import lattice_grid
from cst_image.pair import ImagePair

if TYPE_CHECKING:
    from cst_image.backend import ImageBackend, PairFeatures

EPSILON = 1e-6  # of a channel's deviation: one that is constant stays near zero
_BLOCK = 2**13  # sites that are standardised at a time
_PROJECTION_SEED = 2023  # the projection is part of the method, not of a run: labels are a function of weights and data


def refine(
    backend: ImageBackend,
    network: nn.Module,
    pair: ImagePair,
    features: PairFeatures,
    solved: Float[Tensor, "3 x y z"],
) -> Float[Tensor, "3 X Y Z"]:
    """Consistency, second warp, instance optimisation: the refined field on the label lattice, mm."""
    config = backend.config
    spacing = lattice_grid(pair.grid, config.label_stride).spacing
    # 1. forward-backward consistency
    field = backend.to_label_lattice(pair, _consistent(backend, pair, features, solved))
    # 2. second warp: moving∘(id + u1) registered by u2 gives u2 then u1
    if config.warps > 1:
        moved = _warped(backend, pair, field)
        again = features._replace(moving=backend.matched_features(network, moved.moving, moved.moving_mask))
        rest = _consistent(backend, moved, again, backend.solve(moved, again.fixed, again.moving))
        field = compose(backend.to_label_lattice(pair, rest), field, spacing)
    if not config.adam:
        return field
    # 3. Adam, and again on what the moving scan has become: features change where a scan is turned or stretched
    field = optimised(backend, pair, features, field)
    for _ in range(1, config.adam_rounds):
        moved = _warped(backend, pair, field)
        again = features._replace(moving_instance=backend.instance_features(network, moved.moving))
        field = compose(optimised(backend, moved, again, torch.zeros_like(field)), field, spacing)
    return field


def _consistent(
    backend: ImageBackend, pair: ImagePair, features: PairFeatures, forward: Float[Tensor, "3 x y z"]
) -> Float[Tensor, "3 x y z"]:
    config = backend.config
    if not config.consistency:
        return forward
    backward = backend.solve(pair.swapped(), features.moving, features.fixed)
    spacing = lattice_grid(pair.grid, config.stride).spacing
    return make_consistent(forward, backward, spacing, config.consistency_steps)[0]


def _warped(backend: ImageBackend, pair: ImagePair, field: Float[Tensor, "3 X Y Z"]) -> ImagePair:
    """The pair with the moving scan warped by what was found so far, linearly."""
    vectors, spacing = backend.on_grid(pair, field), pair.grid.spacing
    mask = None
    if pair.moving_mask is not None:
        mask = warp(pair.moving_mask.to(vectors), vectors, spacing) > 0.5
    return ImagePair(pair.fixed, warp(pair.moving, vectors, spacing), pair.grid, pair.fixed_mask, mask)


def optimised(
    backend: ImageBackend, pair: ImagePair, features: PairFeatures, field: Float[Tensor, "3 X Y Z"]
) -> Float[Tensor, "3 X Y Z"]:
    """A field of the label lattice after Adam, mm (`cst_image.instance`)."""
    config = backend.config
    stride = config.label_stride
    spacing = lattice_grid(pair.grid, stride).spacing
    seen, shown = (
        None if mask is None else mask[0, ::stride, ::stride, ::stride] for mask in (pair.fixed_mask, pair.moving_mask)
    )
    fixed = projected(features.fixed_instance, config.instance_channels, seen, config.standardise)
    moving = projected(features.moving_instance, config.instance_channels, shown, config.standardise)
    weight = torch.ones_like(field[0]) if seen is None else seen.to(field)
    if shown is not None:
        # where the start leads to what the moving scan shows: else its edge would be drawn towards the fixed one's
        weight = weight * (warp(shown.to(weight), field, spacing, padding="zeros") > 0.5)
    settings = InstanceSettings(
        config.adam_steps,
        config.adam_rate,
        config.data_weight * config.instance_scale**2,
        config.smoothness,
        config.field_smoothing,
        config.divergence,
    )
    voxel = field.new_tensor(spacing)[:, None, None, None]
    return voxel * backend.optimise(fixed, moving, field / voxel, weight, settings=settings)


def projected(
    features: Float[Tensor, "D X Y Z"],
    channels: int,
    seen: Bool[Tensor, "X Y Z"] | None = None,
    standardise: bool = False,
) -> Float[Tensor, "C X Y Z"]:
    """Random combinations of the channels that keep squared differences in the mean (a 1x1x1 convolution, Sec. 3).

    Where there are no more than ``channels``, they are kept as they are: nothing is saved, and mixing only adds noise.

    ``standardise``: of channels that are brought to mean 0 and deviation 1 over ``seen`` (None: everywhere) first, in
    blocks that stay in the cache, so that no copy of all channels is written.
    """
    rows = features.flatten(1).T  # adjacent where channels lie last, as those of g do
    matrix = None
    if len(features) > channels:
        generator = torch.Generator().manual_seed(_PROJECTION_SEED)
        mixing = torch.randn(channels, len(features), generator=generator) / len(features) ** 0.5
        matrix = mixing.to(rows.device).T
    mean, deviation = torch.zeros(len(features), device=rows.device), torch.ones(len(features), device=rows.device)
    if standardise:
        # a small field of view may lie between the sites
        mean, variance = _moments(rows if seen is None or not seen.any() else rows[seen.flatten()])
        deviation = (variance + EPSILON**2).sqrt()
    last = mean.new_empty(len(rows), min(channels, len(features)))  # as instance optimisation reads them
    for block, place in zip(rows.split(_BLOCK), last.split(_BLOCK), strict=True):
        even = (block - mean) / deviation
        if matrix is None:
            place.copy_(even)
        else:
            torch.mm(even, matrix, out=place)
    return last.reshape(*features.shape[1:], last.shape[1]).permute(3, 0, 1, 2)


def _moments(rows: Float[Tensor, "N D"]) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
    """Mean and variance of every column."""
    mean = rows.mean(0, dtype=torch.float32)
    squares = torch.zeros_like(mean)
    for block in rows.split(_BLOCK):
        squares += (block - mean).square().sum(0)
    return mean, squares / len(rows)
