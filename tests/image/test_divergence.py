"""Divergence by hand, and its compiled gradient against autograd's in float64."""

import pytest
import torch

from cst_core.field import positions
from cst_image.divergence import add_divergence_gradient, divergence


def test_by_hand():
    x = positions((5, 4, 3), (1.0, 1.0, 1.0), torch.float64)
    growing = torch.stack([0.2 * x[0] + x[1], -0.5 * x[1], x[0] * x[2]])
    expected = 0.2 - 0.5 + x[0][1:-1, 1:-1, 1:-1]
    torch.testing.assert_close(divergence(growing), expected)


def test_a_turn_and_a_shear_have_none():
    x = positions((5, 6, 7), (1.0, 1.0, 1.0), torch.float64)
    gradient = torch.zeros_like(x)
    for field in (torch.stack([-x[1], x[0], 0 * x[2]]), torch.stack([x[1] ** 2, 3 * x[2], x[0]])):
        assert divergence(field).abs().max() < 1e-12
        add_divergence_gradient(gradient, field, 1.0)
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 3, 3), (5, 4, 3), (9, 3, 7), (33, 17, 20)])
def test_gradient(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    field, before = (torch.randn(3, *shape, generator=generator, dtype=torch.float64) for _ in range(2))
    field.requires_grad_()
    (exact,) = torch.autograd.grad(0.7 * divergence(field).square().mean(), field)
    found, given = before.to(dtype, copy=True), field.detach().to(dtype)
    kept = given.clone()
    add_divergence_gradient(found, given, 0.7)
    assert exact.abs().max() > 1e-4
    torch.testing.assert_close(found.double() - before, exact, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-12)
    assert torch.equal(given, kept)


def test_a_field_that_does_not_lie_in_order():
    field = torch.randn(4, 5, 6, 3, generator=torch.Generator().manual_seed(0)).permute(3, 0, 1, 2)
    scattered, ordered = torch.zeros(3, 4, 5, 6), torch.zeros(3, 4, 5, 6)
    add_divergence_gradient(scattered, field, 1.0)
    add_divergence_gradient(ordered, field.contiguous(), 1.0)
    assert torch.equal(scattered, ordered)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 9, 9), (9, 9, 1)])
def test_where_no_voxel_lies_between_others_nothing_is_added(shape):
    gradient = torch.ones(3, *shape)
    add_divergence_gradient(gradient, torch.randn(3, *shape), 1.0)
    assert torch.equal(gradient, torch.ones(3, *shape))
