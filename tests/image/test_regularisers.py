"""Roughness and divergence by hand, and their compiled gradients against autograd's in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cst_core.field import positions
from cst_image.divergence import add_divergence_gradient, divergence
from cst_image.roughness import add_roughness_gradient, roughness


def squared_divergence(field: Tensor) -> Tensor:
    return divergence(field).square().mean()


Penalty = tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor, float], None]]
ROUGH: Penalty = (roughness, add_roughness_gradient)
CHANGE: Penalty = (squared_divergence, add_divergence_gradient)


def test_roughness_by_hand():
    x = positions((5, 4, 3), (1.0, 1.0, 1.0), torch.float64)
    field = torch.stack([2 * x[0], 3 * x[1], x[0] + x[2]])
    assert float(roughness(field)) == pytest.approx((4 + 1) / 3 + 9 / 3 + 1 / 3)
    assert float(roughness(field[:, :, :1])) == pytest.approx((4 + 1) / 3 + 1 / 3)  # one slice has no neighbours


def test_divergence_by_hand():
    x = positions((5, 4, 3), (1.0, 1.0, 1.0), torch.float64)
    growing = torch.stack([0.2 * x[0] + x[1], -0.5 * x[1], x[0] * x[2]])
    torch.testing.assert_close(divergence(growing), 0.2 - 0.5 + x[0][1:-1, 1:-1, 1:-1])


def test_a_turn_and_a_shear_change_no_volume():
    x = positions((5, 6, 7), (1.0, 1.0, 1.0), torch.float64)
    gradient = torch.zeros_like(x)
    for field in (torch.stack([-x[1], x[0], 0 * x[2]]), torch.stack([x[1] ** 2, 3 * x[2], x[0]])):
        assert divergence(field).abs().max() < 1e-12
        add_divergence_gradient(gradient, field, 1.0)
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("penalty", "shape"),
    [(ROUGH, shape) for shape in [(5, 4, 3), (9, 1, 7), (1, 6, 2), (2, 2, 1), (33, 17, 20)]]
    + [(CHANGE, shape) for shape in [(3, 3, 3), (5, 4, 3), (9, 3, 7), (33, 17, 20)]],
)
def test_gradient(penalty: Penalty, shape, dtype):
    value, add_gradient = penalty
    generator = torch.Generator().manual_seed(0)
    field, before = (torch.randn(3, *shape, generator=generator, dtype=torch.float64) for _ in range(2))
    field.requires_grad_()
    (exact,) = torch.autograd.grad(0.7 * value(field), field)
    found, given = before.to(dtype, copy=True), field.detach().to(dtype)
    kept = given.clone()
    add_gradient(found, given, 0.7)
    assert exact.abs().max() > 1e-4
    torch.testing.assert_close(found.double() - before, exact, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-12)
    assert torch.equal(given, kept)


@pytest.mark.parametrize("penalty", [ROUGH, CHANGE])
def test_a_field_that_does_not_lie_in_order(penalty: Penalty):
    field = torch.randn(4, 5, 6, 3, generator=torch.Generator().manual_seed(0)).permute(3, 0, 1, 2)
    scattered, ordered = torch.zeros(3, 4, 5, 6), torch.zeros(3, 4, 5, 6)
    penalty[1](scattered, field, 1.0)
    penalty[1](ordered, field.contiguous(), 1.0)
    assert ordered.abs().max() > 0
    assert torch.equal(scattered, ordered)


@pytest.mark.parametrize(
    ("penalty", "shape"), [(ROUGH, (1, 1, 1)), *((CHANGE, shape) for shape in [(1, 1, 1), (2, 9, 9), (9, 9, 1)])]
)
def test_where_no_voxel_has_the_neighbours_nothing_is_added(penalty: Penalty, shape):
    gradient = torch.ones(3, *shape)
    penalty[1](gradient, torch.randn(3, *shape), 1.0)
    assert torch.equal(gradient, torch.ones(3, *shape))
