"""Features and a torso whose values at any place are known: any motion without resampling. One thread."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cst_core.field import Grid
from cst_core.transform import slab_points

Waves = Callable[[Tensor], Tensor]

# `import blobs`, in the tests beside it, wherever they are run from
_blobs = importlib.util.spec_from_file_location("blobs", Path(__file__).with_name("blobs.py"))
assert _blobs is not None
assert _blobs.loader is not None
sys.modules["blobs"] = importlib.util.module_from_spec(_blobs)
_blobs.loader.exec_module(sys.modules["blobs"])


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The volumes here are so small that threads only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def waves() -> Callable[..., Waves]:
    """``waves(channels, wavelength, seed)`` gives a function from positions ``(3, *sites)`` to ``(channels, *sites)``.

    One sine a channel, of random direction and phase; ``wavelength`` in the unit of the positions.
    """

    def make(channels: int, wavelength: float, seed: int = 0) -> Waves:
        generator = torch.Generator().manual_seed(seed)
        direction = torch.randn(channels, 3, generator=generator, dtype=torch.float64)
        number = 2 * math.pi / wavelength * direction / direction.norm(dim=1, keepdim=True)
        phase = 2 * math.pi * torch.rand(channels, generator=generator, dtype=torch.float64)

        def at(points: Tensor) -> Tensor:
            angle = torch.einsum("ca,a...->...c", number, points.double()) + phase
            return torch.sin(angle).movedim(-1, 0).to(points.dtype)

        return at

    return make


def torso_hu(points: np.ndarray) -> np.ndarray:
    """HU at ``(..., 3)`` mm of a made-up torso about the origin: spine, pelvis, lungs, organs; it ends at no plane."""
    x, y, z = np.moveaxis(points, -1, 0)
    girth = 1 + 0.15 * np.cos(z / 70)
    values = np.where((x / (150 * girth)) ** 2 + (y / (100 * girth)) ** 2 < 1, -90.0, -1000.0)
    values[(x / (130 * girth)) ** 2 + (y / (82 * girth)) ** 2 < 1] = 40.0
    for centre, radii, hu in (
        ((60, 10, 60), (60, 50, 50), 110),  # liver
        ((-70, -10, 70), (28, 30, 40), 150),  # spleen
        ((55, -40, 0), (20, 20, 40), 190),  # kidneys
        ((-55, -40, 10), (20, 20, 40), 190),
        ((60, 0, 150), (50, 55, 60), -800),  # lungs
        ((-60, 0, 150), (50, 55, 60), -800),
        ((80, -20, -140), (40, 50, 45), 500),  # pelvis
        ((-80, -20, -140), (40, 50, 45), 500),
    ):
        inside = sum(((a - c) / r) ** 2 for a, c, r in zip((x, y, z), centre, radii, strict=True)) < 1
        values[inside] = hu
    values[x**2 + (y + 55) ** 2 < 20**2] = 400.0  # spine
    return values


@pytest.fixture(scope="session")
def torso():
    """Write or make the torso under an affine map: ``torso(grid, matrix)`` is HU(matrix x) at the grid's voxels x."""

    def make(grid: Grid, matrix: np.ndarray) -> torch.Tensor:
        points = slab_points(grid, 0, grid.shape[2]).numpy() @ matrix[:3, :3].T + matrix[:3, 3]
        return torch.from_numpy(torso_hu(points).astype(np.float32)).reshape(grid.shape)

    return make
