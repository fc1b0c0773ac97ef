"""A template made of scans alone: the most central one first, then their mean, in the middle of their sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_image.placement import place
from cst_image.preparation.affine_descent import descend
from cst_image.preparation.body_start import start_map
from cst_image.preparation.thumbnail import WINDOW_HU, Thumbnail, thumbnail

MOST_SCANS = 16
"""That make a template; of more, as many at regular steps."""
ROUNDS = 2
"""Of aligning to the mean and averaging anew."""
LEAST_SEEN = 0.3
"""Of the scans, that must show a place for the template to show it."""
_AIR_HU = -1024.0


class Template(NamedTuple):
    """The mean of the scans."""

    values: Float[Tensor, "X Y Z"]
    """HU, within the window; air where too few scans have data."""
    central: str
    """The scan to which the others were aligned first."""


def template(scans: Mapping[str, Thumbnail], grid: Grid) -> Template:
    """The mean of scans after affine alignment, on ``grid``; the middle of their bodies becomes that of the grid.

    Raises:
        DataError: less than two scans, or scans that show too little in common.
    """
    if len(scans) < 2:
        raise DataError(f"a template without --template needs two scans or more, found {len(scans)}; add scans")
    step = -(-len(scans) // MOST_SCANS)
    chosen = dict(list(scans.items())[::step])
    central = _central(chosen)
    maps = {id: start_map(chosen[central], small).matrix for id, small in chosen.items()}
    maps = _in_the_middle(maps, chosen, grid)
    mean = _mean(maps, chosen, grid)
    for _ in range(ROUNDS):
        seen = thumbnail(mean, grid, "mean of the scans")
        maps = {id: descend(seen, chosen[id], start).matrix for id, start in maps.items()}
        maps = _in_the_middle(maps, chosen, grid)
        mean = _mean(maps, chosen, grid)
    return Template(mean, central)


def _central(scans: Mapping[str, Thumbnail]) -> str:
    """The scan whose slices differ least from those of all others."""
    costs = dict.fromkeys(scans, 0.0)
    for fixed in scans:
        for moving in scans:
            if fixed < moving:
                cost = start_map(scans[fixed], scans[moving]).cost
                costs[fixed] += cost
                costs[moving] += cost
    return min(costs, key=lambda id: costs[id])


def _in_the_middle(
    maps: Mapping[str, Float64[Tensor, "4 4"]], scans: Mapping[str, Thumbnail], grid: Grid
) -> dict[str, Float64[Tensor, "4 4"]]:
    """The same maps from a world in which they enlarge nothing on average, with bodies about the middle of the grid."""
    shape = torch.from_numpy(_mean_shape([matrix[:3, :3].numpy() for matrix in maps.values()]))
    middles = []
    for id, matrix in maps.items():
        weight = scans[id].body.double()
        index = [
            (weight.sum([b for b in range(3) if b != a]) * torch.arange(n)).sum() for a, n in enumerate(weight.shape)
        ]
        at = scans[id].grid.affine[:3, :3] @ (torch.stack(index) / weight.sum()) + scans[id].grid.affine[:3, 3]
        middles.append(torch.linalg.solve(matrix[:3, :3], at - matrix[:3, 3]))
    change = torch.eye(4, dtype=torch.float64)
    change[:3, :3] = torch.linalg.inv(shape)
    change[:3, 3] = torch.stack(middles).mean(0) - change[:3, :3] @ grid.points_to_world(grid.centre[None])[0]
    return {id: matrix @ change for id, matrix in maps.items()}


def _mean_shape(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of linear maps through their logarithms: of a map and its inverse, the identity."""
    logarithms = [np.real(scipy.linalg.logm(matrix)) for matrix in matrices]
    return np.asarray(scipy.linalg.expm(np.mean(logarithms, axis=0)))


def _mean(
    maps: Mapping[str, Float64[Tensor, "4 4"]], scans: Mapping[str, Thumbnail], grid: Grid
) -> Float[Tensor, "X Y Z"]:
    """HU."""
    total, number = torch.zeros(grid.shape), torch.zeros(grid.shape)
    for id, matrix in maps.items():
        placed = place(scans[id].volume, scans[id].grid, grid, mask=scans[id].known, through=matrix)
        number += 1.0 if placed.mask is None else placed.mask
        total += placed.volume
    low, high = WINDOW_HU
    mean = total / number.clamp(min=1.0) * (high - low) + low
    return torch.where(number >= max(1.0, LEAST_SEEN * len(maps)), mean, torch.tensor(_AIR_HU))
