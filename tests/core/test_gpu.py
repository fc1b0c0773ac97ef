"""Fields and affine maps on CUDA against the CPU: within 1e-4 mm, gradients within 1e-3 of their largest value."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cst_core.affine import augment_label_cloud, augment_label_image, draw_image_affines, for_grid, warp_image
from cst_core.field import Grid, compose, invert, resize, warp
from cst_core.loss import difficulty
from cst_core.metrics import dice, jacobian_figures

pytestmark = pytest.mark.gpu
SHAPE, SPACING = (20, 16, 18), (1.5, 2.0, 2.5)


def smooth(seed: int, shape: tuple[int, ...] = SHAPE, size: float = 3.0) -> Tensor:
    coarse = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(seed))
    return size * torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear")[0]


def test_fields_agree():
    u, v, image = smooth(0), smooth(1), smooth(2)[:1]
    there = [tensor.cuda() for tensor in (u, v, image)]
    pairs = [
        (warp(image, u, SPACING), warp(there[2], there[0], SPACING)),
        (compose(u, v, SPACING), compose(there[0], there[1], SPACING)),
        (invert(0.2 * u, SPACING).vectors, invert(0.2 * there[0], SPACING).vectors),
        (resize(u, (10, 8, 9)), resize(there[0], (10, 8, 9))),
    ]
    for here, other in pairs:
        assert other.is_cuda
        assert torch.allclose(here, other.cpu(), atol=1e-4)


def test_labels_are_warped_to_the_same_voxel():
    labels = torch.randint(0, 5, SHAPE, generator=torch.Generator().manual_seed(0))
    u = smooth(0).round() * torch.tensor(SPACING)[:, None, None, None]  # whole voxels: no rounding decides
    here, there = warp(labels, u, SPACING, "nearest"), warp(labels.cuda(), u.cuda(), SPACING, "nearest")
    assert torch.equal(here, there.cpu())
    assert dice(here, labels) == pytest.approx(dice(there, labels.cuda()))


def test_gradients_of_a_warp_agree():
    found = []
    for device in ("cpu", "cuda"):
        image, u = smooth(2).to(device).requires_grad_(), (0.3 + 0.01 * smooth(0)).to(device).requires_grad_()
        (warp(image, u, SPACING) * smooth(3).to(device)).sum().backward()
        found.append((image.grad, u.grad))
    for here, other in zip(*found, strict=True):
        assert float((here - other.cpu()).abs().max()) < 1e-3 * float(here.abs().max())


def test_augmentation_agrees():
    grid, label, image = Grid.of(SHAPE, SPACING), smooth(0), smooth(1)[:1]
    maps = draw_image_affines(torch.Generator().manual_seed(0), 0.075, 0.05)
    fixed, moving = (for_grid(affine, grid) for affine in maps)
    there = augment_label_image(label.cuda(), fixed, moving, grid)
    assert torch.allclose(augment_label_image(label, fixed, moving, grid), there.cpu(), atol=1e-4)
    assert torch.allclose(warp_image(image, fixed, grid), warp_image(image.cuda(), fixed, grid).cpu(), atol=1e-4)
    points = torch.rand(3, 7)
    assert torch.allclose(augment_label_cloud(points, fixed), augment_label_cloud(points.cuda(), fixed).cpu())


def test_measures_agree():
    u, v = smooth(0, size=0.5), smooth(1, size=0.5)
    here, there = jacobian_figures(u, SPACING), jacobian_figures(u.cuda(), SPACING)
    assert tuple(there) == pytest.approx(tuple(here), rel=1e-4, abs=1e-6)
    assert difficulty(u.cuda(), v.cuda()) == pytest.approx(difficulty(u, v), rel=1e-5)
