"""Roughness by hand, and its compiled gradient against autograd's in float64."""

import pytest
import torch

from cst_core.field import positions
from cst_image.roughness import add_roughness_gradient, roughness


def test_by_hand():
    x = positions((5, 4, 3), (1.0, 1.0, 1.0), torch.float64)
    field = torch.stack([2 * x[0], 3 * x[1], x[0] + x[2]])
    assert float(roughness(field)) == pytest.approx((4 + 1) / 3 + 9 / 3 + 1 / 3)
    assert float(roughness(field[:, :, :1])) == pytest.approx((4 + 1) / 3 + 1 / 3)  # one slice has no neighbours


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5, 4, 3), (9, 1, 7), (1, 6, 2), (2, 2, 1), (33, 17, 20)])
def test_gradient(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    field, before = (torch.randn(3, *shape, generator=generator, dtype=torch.float64) for _ in range(2))
    field.requires_grad_()
    (exact,) = torch.autograd.grad(0.7 * roughness(field), field)
    found, given = before.to(dtype, copy=True), field.detach().to(dtype)
    kept = given.clone()
    add_roughness_gradient(found, given, 0.7)
    assert exact.abs().max() > 1e-4
    torch.testing.assert_close(found.double() - before, exact, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-12)
    assert torch.equal(given, kept)


def test_a_field_that_does_not_lie_in_order():
    field = torch.randn(4, 5, 6, 3, generator=torch.Generator().manual_seed(0)).permute(3, 0, 1, 2)
    scattered, ordered = torch.zeros(3, 4, 5, 6), torch.zeros(3, 4, 5, 6)
    add_roughness_gradient(scattered, field, 1.0)
    add_roughness_gradient(ordered, field.contiguous(), 1.0)
    assert torch.equal(scattered, ordered)


def test_one_voxel_has_none():
    gradient = torch.ones(3, 1, 1, 1)
    add_roughness_gradient(gradient, torch.randn(3, 1, 1, 1), 1.0)
    assert torch.equal(gradient, torch.ones(3, 1, 1, 1))
