from __future__ import annotations

import pytest
import torch

from cst_image.box import compiled_box_means, compiled_box_means_adjoint
from cst_image.lattice import box_means, box_means_adjoint

SHAPES = ((3, 7, 5, 9), (1, 1, 1, 1), (2, 1, 2, 3), (2, 4, 1, 1), (6, 5, 4))


def mean_by_hand(volume: torch.Tensor) -> torch.Tensor:
    """Voxel by voxel, over the neighbours that exist."""
    result = torch.empty_like(volume)
    for x, y, z in torch.cartesian_prod(*(torch.arange(n) for n in volume.shape)).reshape(-1, 3).tolist():
        near = (slice(max(0, i - 1), i + 2) for i in (x, y, z))
        result[x, y, z] = volume[tuple(near)].mean()
    return result


def test_one_mean_by_hand():
    volume = torch.randn(4, 1, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(compiled_box_means(volume, 1), mean_by_hand(volume))
    torch.testing.assert_close(compiled_box_means(volume, 2), mean_by_hand(mean_by_hand(volume)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("times", [0, 1, 3])
def test_as_matrices_in_double_precision(shape: tuple[int, ...], times: int):
    field = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    kept = field.clone()
    for ours, exact in ((compiled_box_means, box_means), (compiled_box_means_adjoint, box_means_adjoint)):
        torch.testing.assert_close(ours(field, times).double(), exact(field.double(), times), rtol=1e-5, atol=1e-6)
    assert torch.equal(field, kept)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_is_that_of_the_matrices(shape: tuple[int, ...]):
    generator = torch.Generator().manual_seed(2)
    field, toward = (torch.randn(shape, generator=generator) for _ in range(2))
    gradients = []
    for dtype in (torch.float32, torch.float64):
        at = field.clone().to(dtype).requires_grad_()
        (gradient,) = torch.autograd.grad((box_means(at, 2) * toward.to(dtype)).sum(), at)
        gradients.append(gradient.double())
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


def test_any_layout():
    field = torch.randn(6, 5, 4, 3, generator=torch.Generator().manual_seed(3)).permute(3, 1, 2, 0)
    torch.testing.assert_close(compiled_box_means(field, 2), compiled_box_means(field.contiguous(), 2))
