"""The parts of PointPWC-Net's loss on clouds where each is known."""

import pytest
import torch
from torch import Tensor

from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.knn import nearest
from cst_points.supervision.chamfer import chamfer, chamfer_measure, laplacian, laplacian_difference, roughness

CONFIG = PointsConfig(chamfer_unit_mm=10.0)
ALONE = CONFIG.model_copy(update={"chamfer_smoothness": 0.0, "chamfer_laplacian": 0.0})


def lattice(spacing: float = 10.0) -> Tensor:
    at = spacing * torch.arange(4.0)
    return torch.cartesian_prod(at, at, at)


def cloud(n: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return 50 * torch.rand(n, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def paired(fixed: Tensor, moving: Tensor) -> CloudPair:
    return CloudPair(fixed, moving, torch.zeros(3).to(fixed), torch.full((3,), 50.0).to(fixed))


def test_the_right_shift_costs_nothing():
    fixed, shift = cloud(60, 0), torch.tensor([3.0, -4.0, 12.0])
    field = shift.expand(len(fixed), 3).T
    shuffled = fixed[torch.randperm(len(fixed), generator=torch.Generator().manual_seed(0))]
    assert float(chamfer_measure(paired(fixed, shuffled + shift), field, CONFIG)) == pytest.approx(0, abs=1e-6)


def test_a_known_shift_costs_its_square_both_ways():
    fixed, shift = lattice(), torch.tensor([1.0, 2.0, 2.0])  # 3 mm, less than half the spacing
    still = torch.zeros(3, len(fixed))
    assert float(chamfer_measure(paired(fixed, fixed + shift), still, ALONE)) == pytest.approx(2 * 0.3**2, rel=1e-5)
    # a unit twice as long: a quarter
    longer = ALONE.model_copy(update={"chamfer_unit_mm": 20.0})
    assert float(chamfer_measure(paired(fixed, fixed + shift), still, longer)) == pytest.approx(0.5 * 0.3**2, rel=1e-5)


def test_chamfer_is_that_of_all_distances_whatever_the_sizes():
    one, other = cloud(30, 0), cloud(70, 1)
    squares = torch.cdist(one, other).square()
    expected = squares.amin(1).mean() + squares.amin(0).mean()
    assert torch.allclose(chamfer(one, other), expected, rtol=1e-4)


def test_a_point_that_no_one_meets_costs_in_one_direction_only():
    fixed = lattice()
    moving = torch.cat([fixed, torch.tensor([[-6.0, 0.0, 0.0]])])
    assert float(chamfer(fixed, moving)) == pytest.approx(36 / len(moving))


def test_roughness_of_a_constant_and_of_a_shear():
    fixed = lattice()
    near = nearest(fixed, fixed, 7)
    # the mean of equal numbers may round, as the processor adds them
    assert float(roughness(torch.full_like(fixed, 7.0), near)) == pytest.approx(0, abs=1e-9)
    slope = torch.tensor([0.3, 0.0, 0.0])
    field = fixed[:, :1] * slope
    expected = 0.3 * (fixed[near[:, 1:], 0] - fixed[:, None, 0]).abs().mean()
    assert float(roughness(field, near)) == pytest.approx(float(expected), rel=1e-3)


def test_laplacian_follows_an_affine_map_and_vanishes_inside_a_lattice():
    fixed = lattice()
    near = nearest(fixed, fixed, 7)
    matrix = torch.tensor([[1.1, 0.2, 0.0], [0.0, 0.9, -0.1], [0.3, 0.0, 1.0]])
    moved = fixed @ matrix.T + 5
    assert torch.allclose(laplacian(moved, near), laplacian(fixed, near) @ matrix.T, atol=1e-4)
    inside = ((fixed > 5) & (fixed < 25)).all(1)
    assert int(inside.sum()) == 8
    assert torch.allclose(laplacian(fixed, near)[inside], torch.zeros(8, 3), atol=1e-5)


def test_laplacian_difference_sees_shape_and_not_place():
    fixed = cloud(60, 3)
    near = nearest(fixed, fixed, 10)
    assert float(laplacian_difference(fixed, near, fixed, CONFIG)) < 1e-6
    assert float(laplacian_difference(1.2 * fixed, near, fixed, CONFIG)) > 0.1


def test_gradient_is_that_of_finite_differences():
    pair = paired(cloud(25, 0, torch.float64), cloud(45, 1, torch.float64))
    field = torch.randn(3, 25, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)

    def measure(u: Tensor) -> Tensor:
        return chamfer_measure(pair, u, CONFIG)

    assert torch.autograd.gradcheck(measure, (field,), eps=1e-6, atol=1e-6)


def test_the_gradient_at_rest_is_finite():
    fixed = cloud(25, 0)
    field = torch.zeros(3, 25, requires_grad=True)
    chamfer_measure(paired(fixed, fixed), field, CONFIG).backward()
    assert bool(field.grad.isfinite().all())


def test_clouds_smaller_than_their_neighbourhoods():
    assert float(chamfer_measure(paired(cloud(5, 0), cloud(4, 1)), torch.zeros(3, 5), CONFIG)) > 0
