import numpy as np
import pytest
import torch

from cst_core.field import Grid
from cst_core.transform import Transform, WorldAffine, WorldField
from cst_core.way_back import ContinuedField, way_back
from cst_core.world_grid import slab_points

FIXED = Grid.of((24, 22, 20), (3.0, 3.0, 3.0))
MOVING = Grid.from_affine(
    (20, 20, 16),
    torch.tensor([[0.0, -3.5, 0.0, 68.0], [3.5, 0.0, 0.0, -4.0], [0.0, 0.0, 4.0, -2.0], [0.0, 0.0, 0.0, 1.0]]).double(),
)
COARSE = Grid.of((13, 13, 12), (6.0, 6.0, 6.0))


def waves(grid: Grid) -> ContinuedField:
    """Up to 5 mm, waves of 60 mm."""
    x, y, z = (2 * np.pi / 60.0 * slab_points(grid, 0, grid.shape[2])).T
    vectors = torch.stack([5 * torch.sin(y), 4 * torch.cos(z), 3 * torch.sin(x + 1)])
    return ContinuedField(vectors.reshape(3, *grid.shape).float(), grid)


@pytest.fixture
def affine() -> WorldAffine:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3] = torch.tensor([[1.0, 0.1, 0.0, 3.0], [-0.1, 1.05, 0.0, -2.0], [0.0, 0.05, 0.95, 1.0]])
    return WorldAffine(matrix)


def test_there_and_back_again_on_the_moving_grid(affine):
    found = waves(FIXED)
    exported = Transform((found, affine)).on(FIXED)
    back = way_back(found, affine, exported, MOVING, COARSE)
    points = slab_points(MOVING, 0, MOVING.shape[2])
    places = points + back.field.vectors.flatten(1).T
    missed = torch.linalg.vector_norm(exported.map(places) - points, dim=1)
    size = torch.tensor(FIXED.shape) * 3.0 - 3.0
    inside = ((places > 1.0) & (places < size - 1.0)).all(1)
    assert 0.2 < float(inside.double().mean()) < 1.0
    assert float(missed[inside].max()) < 2e-3
    assert back.residual_mm is not None
    assert back.residual_mm["mean"] <= back.residual_mm["p999"] <= back.residual_mm["max"]
    assert back.residual_mm["mean"] < 2e-3


def test_beyond_the_fixed_grid_the_way_back_goes_on(affine):
    """Where T^-1(y) lies outside, it is still the inverse of the field continued, and of no jump."""
    found = waves(FIXED)
    exported = Transform((found, affine)).on(FIXED)
    back = way_back(found, affine, exported, MOVING, COARSE).field.vectors
    steps = torch.cat([torch.linalg.vector_norm(back.diff(dim=axis), dim=0).flatten() for axis in (1, 2, 3)])
    assert float(steps.max()) < 3.5


def test_a_field_that_folds_is_told_by_its_residual(affine):
    vectors = torch.zeros(3, *FIXED.shape)
    vectors[0, 12:] = -15.0
    found = ContinuedField(vectors, FIXED)
    back = way_back(found, affine, Transform((found, affine)).on(FIXED), MOVING, COARSE)
    assert back.residual_mm is not None
    assert back.residual_mm["max"] > 0.1


def test_nothing_inside_has_no_residual(affine):
    far = Grid.from_affine(
        (4, 4, 4), torch.tensor([[1.0, 0, 0, 900], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).double()
    )
    found = waves(FIXED)
    assert way_back(found, affine, Transform((found, affine)).on(FIXED), far, far).residual_mm is None


def test_a_field_goes_on_as_at_its_border():
    field = waves(FIXED)
    inside, outside = torch.tensor([[0.0, 6.0, 6.0]]), torch.tensor([[-50.0, 6.0, 6.0]])
    torch.testing.assert_close(field.at(outside), field.at(inside))
    assert bool((WorldField(field.vectors, FIXED).at(outside) == 0).all())
