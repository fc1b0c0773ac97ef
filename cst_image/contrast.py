"""A contrastive term: the same place of a scan and of its augmented copy shall have like features, others not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional

from cst_core.affine import draw_image_affines, for_grid, warp_image
from cst_core.field import positions, sample
from cst_image.lattice import lattice_grid
from cst_image.pair import ImagePair
from cst_image.varied import varied

if TYPE_CHECKING:
    from cst_image.backend import ImageBackend


def contrast(
    backend: ImageBackend, network: nn.Module, pairs: Sequence[ImagePair], generator: Generator
) -> Float[Tensor, ""]:
    """Mean InfoNCE over the pairs: of one scan of each, drawn, and its copy under a random affine map, other contrast
    and noise."""
    scans = [pair if torch.rand(1, generator=generator) < 0.5 else pair.swapped() for pair in pairs]
    maps = [for_grid(draw_image_affines(generator, backend.config.sigma_first).fixed, pair.grid) for pair in scans]
    views = [
        ImagePair(
            pair.fixed,
            varied(warp_image(pair.fixed, affine, pair.grid), backend.config, generator),
            pair.grid,
            pair.fixed_mask,
            warp_image(mask_of(pair), affine, pair.grid, padding="zeros") > 0.5,
        )
        for pair, affine in zip(scans, maps, strict=True)
    ]
    losses = []
    for view, affine, features in zip(views, maps, backend.features(network, views), strict=True):
        lattice = lattice_grid(view.grid, backend.config.stride)
        x = positions(lattice.shape, lattice.spacing, device=view.fixed.device)
        there = affine.apply_to_sites(x)
        shown = sample(mask_of(view), there, view.grid.spacing, padding="zeros")[0] > 0.5
        step = backend.config.stride
        shown &= view.moving_mask[0, ::step, ::step, ::step]  # type: ignore[index]
        sites = shown.flatten().nonzero()[:, 0]
        drawn = torch.randperm(len(sites), generator=generator)[: backend.config.contrast_sites]
        sites = sites[drawn.to(sites.device)]
        scan = sample(features.fixed, there.flatten(1)[:, sites], lattice.spacing)
        losses.append(info_nce(scan, features.moving.flatten(1)[:, sites], backend.config.contrast_temperature))
    return torch.stack(losses).mean()


def info_nce(first: Float[Tensor, "C N"], second: Float[Tensor, "C N"], temperature: float) -> Float[Tensor, ""]:
    """Mean -log of the share of the right partner among all, in both directions; cosines over ``temperature``."""
    cosines = functional.normalize(first, dim=0).T @ functional.normalize(second, dim=0)
    right = torch.arange(len(cosines), device=cosines.device)
    shares = cosines / temperature
    return 0.5 * (functional.cross_entropy(shares, right) + functional.cross_entropy(shares.T, right))


def mask_of(pair: ImagePair) -> Float[Tensor, "1 X Y Z"]:
    """Of the fixed scan, 1 where it has data."""
    return torch.ones_like(pair.fixed) if pair.fixed_mask is None else pair.fixed_mask.to(pair.fixed)
