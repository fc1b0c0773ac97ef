import numpy as np
import torch

from cst_core.field import Grid
from cst_image.preparation.body_start import start_map
from cst_image.preparation.thumbnail import thumbnail


def view(torso, low: float, high: float, matrix: np.ndarray, origin: np.ndarray):
    """The torso from ``low`` to ``high`` mm along the body, mapped, in a scanner with another origin."""
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = (-190, -140, low)
    grid = Grid.from_affine((76, 56, int((high - low) / 5)), affine)
    values = torso(grid, matrix)
    affine[:3, 3] += origin
    return thumbnail(values, Grid.from_affine(grid.shape, affine), "torso")


def off(matrix: torch.Tensor, truth: np.ndarray) -> float:
    """How far the map puts points of the trunk from where they belong, mm."""
    points = torch.cartesian_prod(*[torch.tensor([-80.0, 0.0, 80.0], dtype=torch.float64)] * 3)
    expected = points @ torch.from_numpy(truth[:3, :3]).T + torch.from_numpy(truth[:3, 3])
    found = points @ matrix[:3, :3].T + matrix[:3, 3]
    return float(torch.linalg.vector_norm(found - expected, dim=1).max())


def test_other_fields_of_view_and_sizes(torso):
    fixed = view(torso, -200, 200, np.eye(4), np.zeros(3))
    scale, origin = np.diag([1.1, 1.05, 0.9, 1.0]), np.array([300.0, -50.0, 700.0])
    for low, high in ((-220, 220), (-220, 60), (-60, 220)):
        moving = view(torso, low, high, scale, origin)
        truth = np.linalg.inv(scale)
        truth[:3, 3] += origin
        assert off(start_map(fixed, moving).matrix, truth) < 12  # the least scale step moves the ends by 5 mm
        back = start_map(moving, fixed).matrix
        assert off(torch.linalg.inv(back), truth) < 15


def test_a_scan_and_itself(torso):
    small = view(torso, -150, 150, np.eye(4), np.zeros(3))
    found = start_map(small, small)
    torch.testing.assert_close(found.matrix, torch.eye(4, dtype=torch.float64), atol=1e-4, rtol=0)
    assert found.cost == 0
