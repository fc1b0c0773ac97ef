"""Lattices of any stride stand in the volume's own millimetres; box means and their adjoint are the textbook's."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cst_core.field import Grid, positions
from cst_image.lattice import box_means, box_means_adjoint, double, lattice_grid, lattice_shape


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(16, 20, 14), (31, 40, 24), (5, 1, 9)])
@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_a_lattice_is_what_strided_convolutions_make(shape, stride):
    volume = random(0, 1, 1, *shape)
    for _ in range(stride.bit_length() - 1):
        volume = functional.conv3d(volume, random(1, 1, 1, 3, 3, 3), stride=2, padding=1)
    assert lattice_shape(shape, stride) == tuple(volume.shape[2:])


def test_sites_keep_their_millimetres_and_their_world():
    matrix = torch.tensor([[0.0, -1.5, 0.0, 7.0], [1.0, 0.0, 0.0, -3.0], [0.0, 0.0, 2.0, 11.0], [0.0, 0.0, 0.0, 1.0]])
    grid = Grid.from_affine((31, 40, 24), matrix)
    coarse = lattice_grid(grid, 4)
    assert coarse.shape == (8, 10, 6)
    assert coarse.spacing == tuple(4 * s for s in grid.spacing)
    sites = positions(coarse.shape, coarse.spacing, torch.float64)
    voxels = positions(grid.shape, grid.spacing, torch.float64)[:, ::4, ::4, ::4]
    assert torch.equal(sites, voxels)
    points = sites.flatten(1).T
    assert torch.equal(coarse.points_to_world(points), grid.points_to_world(points))
    assert torch.equal(grid.affine, matrix.double())  # not written to
    same_view = grid.resized(coarse.shape)
    assert not coarse.is_close(same_view)  # the published code's assumption


@pytest.mark.parametrize("shape", [(16, 20, 14), (31, 40, 24), (17, 9, 1)])
@pytest.mark.parametrize("stride", [2, 4, 8])
def test_double_is_exact_on_linear_fields(shape, stride):
    def linear(step: int) -> Tensor:
        x = positions(lattice_shape(shape, step), (float(step),) * 3, torch.float64)
        return torch.einsum("ca,a...->c...", random(2, 2, 3), x) + 5

    doubled, exact = double(linear(stride), lattice_shape(shape, stride // 2)), linear(stride // 2)
    inside = (slice(None), *(slice(0, 2 * n - 1) for n in lattice_shape(shape, stride)))
    assert doubled.shape == exact.shape
    assert torch.allclose(doubled[inside], exact[inside])


def test_double_continues_beyond_the_last_site():
    field = random(3, 1, 2, 2, 2)
    doubled = double(field, (4, 3, 4))
    assert torch.equal(doubled[:, ::2, ::2, ::2], field)
    assert torch.equal(doubled[:, 3, ::2, ::2], field[:, 1])
    assert torch.allclose(doubled[:, 1, 1, 1], field.mean((1, 2, 3)))


@pytest.mark.parametrize("shape", [(7, 6, 5), (3, 4, 3)])
@pytest.mark.parametrize("times", [0, 1, 2, 3, 7])
def test_box_means_are_the_textbooks(shape, times):
    field = random(4, 3, *shape)
    expected = field[None]
    for _ in range(times):
        expected = functional.avg_pool3d(expected, 3, 1, 1, count_include_pad=False)
    assert torch.allclose(box_means(field, times), expected[0], rtol=0, atol=1e-12)
    assert torch.allclose(box_means(field[0], times), expected[0, 0], rtol=0, atol=1e-12)
    single = box_means(field.float(), times)
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), expected[0], atol=1e-5)


def test_box_means_of_fewer_voxels_than_the_box():
    field = random(4, 2, 2, 1, 3)
    across = torch.stack([field[..., :2].mean(-1), field.mean(-1), field[..., 1:].mean(-1)], -1)
    assert torch.allclose(box_means(field), across.mean(1, keepdim=True).expand_as(field))


@pytest.mark.parametrize("times", [0, 1, 3])
def test_adjoint(times):
    x, y = random(5, 3, 7, 6, 5), random(6, 3, 7, 6, 5)
    smoothed, spread = box_means(x, times), box_means_adjoint(y, times)
    assert float((smoothed * y).sum()) == pytest.approx(float((x * spread).sum()), rel=1e-12)
    leaf = x.clone().requires_grad_()
    (box_means(leaf, times) * y).sum().backward()
    assert torch.allclose(leaf.grad, spread, rtol=0, atol=1e-12)
    if times:  # means at the border are over fewer voxels: the matrix is not symmetric
        assert not torch.allclose(spread, box_means(y, times), atol=1e-3)
