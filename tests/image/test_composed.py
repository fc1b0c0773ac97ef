import torch

from cst_core import transform, world_grid
from cst_core.field import Grid
from cst_core.metrics import jacobian_determinant
from cst_core.transform import WorldField
from cst_image.registration.composed import determinant, length_figures


def test_an_affine_map_has_its_determinant_everywhere_on_any_axes():
    matrix = torch.tensor([[0.1, 0.2, 0.0], [-0.1, 0.05, 0.0], [0.0, 0.3, -0.2]])
    turned = torch.tensor([[0.0, -2.0, 0.0, 5.0], [0.0, 0.0, 3.0, 1.0], [1.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    grid = Grid.from_affine((6, 7, 8), turned)
    points = transform.slab_points(grid, 0, 8).float()
    field = WorldField((points @ matrix.T).T.reshape(3, 6, 7, 8), grid)
    expected = torch.linalg.det(matrix + torch.eye(3))
    torch.testing.assert_close(determinant(field), torch.full((6, 7, 8), float(expected)), atol=1e-4, rtol=0)


def test_slabs_make_no_difference(monkeypatch):
    grid = Grid.of((6, 7, 8), (1.0, 2.0, 3.0))
    vectors = torch.randn(3, 6, 7, 8, generator=torch.Generator().manual_seed(0))
    for sites in (42, 3 * 42, 10**6):
        monkeypatch.setattr(world_grid, "_SITES", sites)
        torch.testing.assert_close(
            determinant(WorldField(vectors, grid)), jacobian_determinant(vectors, grid.spacing), atol=1e-5, rtol=0
        )


def test_lengths():
    vectors = torch.zeros(3, 10, 10, 10)
    vectors[0, 0, 0, :5] = 3.0
    vectors[1, 0, 0, :5] = -4.0
    found = length_figures(WorldField(vectors, Grid.of((10, 10, 10), (1.0, 1.0, 1.0))))
    assert found == {"mean": 0.025, "p99": 0.0, "max": 5.0}
