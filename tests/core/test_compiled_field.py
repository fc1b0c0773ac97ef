"""The compiled look-up and search against the same in whole float64 arrays, and where each has its limits."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from cst_core.compiled_field import Search, displacements_at, search
from cst_core.field import Grid
from cst_core.world_grid import is_inside, slab_points, to_indices

TURNED = torch.tensor([[0.0, -3.5, 0.0, 68.0], [3.0, 0.0, 0.0, -4.0], [0.0, 0.0, 4.0, -2.0], [0, 0, 0, 1.0]]).double()
GRID = Grid.from_affine((9, 8, 7), TURNED)


def rough(grid: Grid, size: float, dtype: torch.dtype = torch.float32) -> Tensor:
    return size * torch.randn(3, *grid.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def around(grid: Grid, count: int = 2000) -> Tensor:
    """World points of which about half lie outside."""
    size = torch.tensor(grid.shape, dtype=torch.float64)
    index = torch.rand(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * (size + 3) - 2
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def plain(vectors: Tensor, grid: Grid, points: Tensor, continued: bool) -> Tensor:
    index = to_indices(grid, points)
    found = [map_coordinates(part.double().numpy(), index.T.numpy(), order=1, mode="nearest") for part in vectors]
    at = torch.from_numpy(np.stack(found, axis=1))
    return at if continued else at * is_inside(index, grid.shape)[:, None]


@pytest.mark.parametrize("continued", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(9, 8, 7), (9, 1, 7), (1, 1, 1), (2, 8, 1)])
def test_look_up_is_linear_interpolation(shape, dtype, continued):
    grid = Grid.from_affine(shape, TURNED)
    vectors, points = rough(grid, 3.0, dtype), around(grid)
    found = displacements_at(vectors, grid, points, continued)
    assert found.dtype == torch.float64
    assert continued or 0.02 < float((found == 0).all(1).double().mean()) < 0.995
    torch.testing.assert_close(found, plain(vectors, grid, points, continued), rtol=0, atol=1e-12)


def test_look_up_of_vectors_that_do_not_lie_in_order():
    vectors = rough(GRID, 3.0)
    scattered = vectors.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)
    points = around(GRID).float()
    assert torch.equal(displacements_at(scattered, GRID, points, True), displacements_at(vectors, GRID, points, True))


def test_what_is_not_a_number_is_read_from_nowhere():
    points = torch.tensor([[np.nan, 0.0, 0.0], [np.inf, 0.0, 0.0], [-np.inf, np.nan, 1e300]]).double()
    assert bool((displacements_at(rough(GRID, 3.0), GRID, points, False) == 0).all())
    assert displacements_at(rough(GRID, 3.0), GRID, points, True).shape == (3, 3)
    left = search(rough(GRID, 3.0), GRID, True, points, points, torch.eye(3).double(), Search(1e-3, within=True))[1]
    assert not bool(left.isfinite().any())


def smooth() -> tuple[Grid, Tensor]:
    """Up to 5 mm, waves of 60 mm: it does not fold."""
    grid = Grid.of((24, 22, 20), (3.0, 3.0, 3.0))
    x, y, z = (2 * np.pi / 60.0 * slab_points(grid, 0, 20)).T
    return grid, torch.stack([5 * torch.sin(y), 4 * torch.cos(z), 3 * torch.sin(x + 1)]).reshape(3, *grid.shape).float()


def test_search_undoes_the_field():
    grid, vectors = smooth()
    places = slab_points(grid, 0, 20)
    targets = places + displacements_at(vectors, grid, places, True)
    found, left = search(vectors, grid, True, targets, targets, torch.eye(3).double(), Search(1e-9, within=False))
    assert float(left.max()) <= 1e-9
    assert float((found - places).abs().max()) < 1e-7
    missed = torch.linalg.vector_norm(found + displacements_at(vectors, grid, found, True) - targets, dim=1)
    torch.testing.assert_close(missed, left, rtol=0, atol=1e-12)


def stepwise(vectors: Tensor, grid: Grid, targets: Tensor, places: Tensor, back: Tensor, how: Search):
    """The search as whole arrays."""
    places = places.clone()

    def missing_at(x: Tensor) -> tuple[Tensor, Tensor]:
        missing = targets - x - plain(vectors, grid, x, False)
        left = torch.linalg.vector_norm(missing, dim=1)
        if how.within:
            left[~is_inside(to_indices(grid, x), grid.shape)] = torch.inf
        return missing, left

    missing, best = missing_at(places)
    step = torch.ones_like(best)
    for _ in range(how.steps):
        going = (best > how.solved_mm) & best.isfinite() & (step >= how.smallest_step)
        tried = places + step[:, None] * missing @ back.T
        still, left = missing_at(tried)
        closer, further = going & (left < best), going & ~(left < best)
        places[closer], missing[closer], best[closer] = tried[closer], still[closer], left[closer]
        step[further] *= 0.5
    return places, best


@pytest.mark.parametrize("within", [False, True])
def test_search_equals_the_same_in_whole_arrays(within):
    """On a field that folds, where steps are halved; few enough of them that rounding cannot grow."""
    vectors, targets = rough(GRID, 2.0), around(GRID)
    back = torch.tensor([[0.9, 0.1, 0.0], [-0.2, 1.0, 0.0], [0.0, 0.05, 1.1]]).double()
    how = Search(1e-3, within=within, steps=8, smallest_step=0.2)
    found, left = search(vectors, GRID, False, targets, targets, back, how)
    expected, expected_left = stepwise(vectors, GRID, targets, targets, back, how)
    assert 0.01 < float((expected_left < 1e-3).double().mean()) < 0.9
    torch.testing.assert_close(left, expected_left, rtol=0, atol=1e-9)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_search_keeps_what_it_was_given():
    grid, vectors = smooth()
    targets = around(grid, 50)
    start, before = targets.clone(), vectors.clone()
    search(vectors, grid, True, targets, start, torch.eye(3).double(), Search(1e-6, within=False))
    assert torch.equal(start, targets)
    assert torch.equal(vectors, before)


def test_halved_steps_reach_where_whole_ones_do_not():
    """A field that takes points back nearly to one place: whole steps overshoot."""
    grid = Grid.of((40, 3, 3), (1.0, 1.0, 1.0))
    vectors = torch.zeros(3, *grid.shape)
    vectors[0] = 1.5 * (torch.arange(40.0) - 20)[:, None, None]  # x + u = 2.5 x - 30
    targets = torch.tensor([[5.0, 1.0, 1.0], [30.0, 1.0, 1.0]]).double()
    whole = Search(1e-6, within=False, smallest_step=1.0)
    assert float(search(vectors, grid, True, targets, targets, torch.eye(3).double(), whole)[1].min()) > 1.0
    halved = search(vectors, grid, True, targets, targets, torch.eye(3).double(), Search(1e-6, within=False))
    assert float(halved[1].max()) <= 1e-6
    torch.testing.assert_close(halved[0][:, 0], torch.tensor([14.0, 24.0]).double(), rtol=0, atol=1e-5)
