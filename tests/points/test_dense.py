"""From keypoints to everywhere: exact where the answer is known."""

import pytest
import torch
from torch import Tensor

from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.dense import dense_field, dense_spline, displacement_at

ORIGIN, HALF_EXTENT = torch.tensor([10.0, -20.0, 5.0]), torch.tensor([130.0, 96.0, 168.0])


def random(seed: int, n: int) -> Tensor:
    return torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1


FIXED = random(1, 60) * 80 + ORIGIN
PAIR = CloudPair(FIXED, FIXED, ORIGIN, HALF_EXTENT)
SMOOTHED, BARE = PointsConfig(smooth=True, smoothing=0.1), PointsConfig(smooth=False, smoothing=0.1)


def linear(points: Tensor) -> Tensor:
    matrix = torch.tensor([[0.1, 0.05, 0.0], [-0.02, -0.1, 0.03], [0.0, 0.04, 0.2]])
    return (points - ORIGIN) @ matrix + torch.tensor([5.0, -7.0, 11.0])


@pytest.mark.parametrize("config", [SMOOTHED, BARE])
def test_affine_motion_is_exact_everywhere(config):
    spline = dense_spline(PAIR, linear(FIXED).T, config)
    there = random(2, 40) * 150 + ORIGIN
    assert torch.allclose(displacement_at(PAIR, spline, there), linear(there), atol=1e-3)


def test_smoothing_is_applied_once():
    field = linear(FIXED).T + 5 * random(3, 60).T
    through = displacement_at(PAIR, dense_spline(PAIR, field, SMOOTHED), FIXED).T
    smoothed = displacement_at(PAIR, dense_spline(PAIR, field, BARE), FIXED).T
    assert torch.allclose(through, field, atol=0.01)  # refinement has smoothed already
    assert (smoothed - field).abs().max() > 0.5
    # the spline through a smoothed field is the smoothing spline, between the keypoints as well
    there = random(4, 30) * 80 + ORIGIN
    twice = displacement_at(PAIR, dense_spline(PAIR, smoothed, SMOOTHED), there)
    assert torch.allclose(twice, displacement_at(PAIR, dense_spline(PAIR, field, BARE), there), atol=0.01)


@pytest.mark.parametrize("spacing", [4.0, 13.0])
def test_dense_field_is_the_spline_on_a_grid_over_the_cloud(spacing):
    spline = dense_spline(PAIR, linear(FIXED).T + random(3, 60).T, SMOOTHED)
    field = dense_field(PAIR, spline, spacing)
    assert field.vectors.shape == (3, *field.grid.shape)
    assert field.grid.spacing == (spacing,) * 3
    last = torch.tensor(field.grid.shape, dtype=torch.float64) - 1
    corners = [field.grid.affine @ torch.cat([voxel, torch.ones(1).double()]) for voxel in (0 * last, last)]
    assert torch.allclose(corners[0][:3].float(), FIXED.amin(0), atol=1e-3)
    assert (corners[1][:3] >= FIXED.amax(0).double() - 1e-3).all()
    voxel = torch.tensor([2.0, 4.0, 3.0])
    place = FIXED.amin(0) + voxel * spacing
    assert torch.allclose(field.vectors[:, 2, 4, 3], displacement_at(PAIR, spline, place[None])[0], atol=1e-3)


def test_a_small_cloud_still_has_room_for_the_jacobian():
    tiny = CloudPair(FIXED * 0.01, FIXED * 0.01, ORIGIN * 0.01, HALF_EXTENT * 0.01)
    assert dense_field(tiny, dense_spline(tiny, linear(FIXED).T, SMOOTHED), 4.0).grid.shape == (6, 6, 6)
