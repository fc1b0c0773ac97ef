"""h recovers what was planted, where it was planted: axes, signs, parts of a site, anisotropic spacing, any size."""

import pytest
import torch
from torch import Tensor

from cst_core.field import Grid, positions, resize
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.correlation import candidate_displacements
from cst_image.coupled_convex import coupled_convex, upsampled
from cst_image.lattice import box_means, lattice_grid, lattice_shape
from cst_image.pair import ImagePair

SPACING = (1.0, 1.5, 2.0)
CONFIG = ImageConfig(channels=(4, 4, 4), strides=(2, 1, 2), cost_scale=1.0)
INNER = (slice(None), *[slice(4, -4)] * 3)
"""Away from the border, where candidates are missing and the mean's neighbours are other ones."""


def pair_of(shape: tuple[int, int, int]) -> ImagePair:
    volume = torch.zeros(1, *shape)
    return ImagePair(volume, volume, Grid.of(shape, SPACING))


def column(values: tuple[float, ...] | Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)[:, None, None, None]


class Planted:
    """Analytic features on the lattice of stride 4: no resampling stands between the motion and what h sees."""

    def __init__(self, waves, shape: tuple[int, int, int], channels: int = 12) -> None:
        self.pair, self.backend = pair_of(shape), ImageBackend(CONFIG)
        lattice = lattice_grid(self.pair.grid, CONFIG.stride)
        self.site = column(lattice.spacing)
        self.x = positions(lattice.shape, lattice.spacing)
        self.features = waves(channels, 6 * float(self.site.mean()))

    def solve(self, backwards: Tensor) -> Tensor:
        """``backwards``: where each moving site was in the fixed scan."""
        return self.backend.solve(self.pair, self.features(self.x), self.features(backwards))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sites", [1.0, -1.0, 0.5, -0.5])
def test_planted_shifts_in_mm(waves, axis, sites):
    planted = Planted(waves, (44, 44, 44))
    shift = torch.zeros(3, 1, 1, 1)
    shift[axis] = sites * planted.site[axis]
    error = (planted.solve(planted.x - shift) - shift) / planted.site
    assert error[INNER].abs().max() < (0.02 if sites % 1 == 0 else 0.12)


@pytest.mark.parametrize("shape", [(48, 40, 44), (47, 42, 43)])
def test_the_field_stands_where_the_motion_is(waves, shape):
    """u varies over space, so a field on a wrong grid is wrong at every voxel, whatever its mean."""
    planted, growth = Planted(waves, shape, channels=48), -0.3
    grid, middle = planted.pair.grid, column(planted.pair.grid.centre)
    solved = planted.solve((planted.x - middle) / (1 + growth) + middle)
    field = planted.backend.on_grid(planted.pair, planted.backend.to_label_lattice(planted.pair, solved))
    truth = growth * (positions(grid.shape, SPACING) - middle)
    reachable = (truth.abs() < 1.3 * planted.site).all(0)
    away = torch.zeros_like(reachable)
    away[15:-15, 15:-15, 15:-15] = True
    there = reachable & away
    voxels = column(SPACING)
    error = ((field - truth) / voxels)[:, there]
    assert there.sum() > 500
    assert truth[:, there].abs().amin(1).max() < 1  # mm: it passes through zero
    assert error.abs().max() < 0.4  # voxels: a tenth of a site
    assert error.mean(1).abs().max() < 0.2
    # wrong: resized as if lattice and volume covered one field of view, 1.5 voxels apart
    published = ((resize(solved, grid.shape) - truth) / voxels)[:, there]
    assert published.abs().max() > 0.5
    if all(n % CONFIG.stride == 0 for n in shape):
        assert published.mean(1).abs().min() > 0.3


@pytest.mark.parametrize("shape", [(31, 40, 24), (33, 37, 26)])
@pytest.mark.parametrize(("stride", "to_stride"), [(8, 2), (8, 1), (4, 2), (2, 2)])
def test_upsampling_is_exact_on_linear_fields(shape, stride, to_stride):
    grid = Grid.of(shape, SPACING)
    matrix = torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def linear(step: int) -> Tensor:
        lattice = lattice_grid(grid, step)
        return torch.einsum("ab,b...->a...", matrix, positions(lattice.shape, lattice.spacing, torch.float64))

    found = upsampled(linear(stride), shape, stride, to_stride, smoothing=0)
    inside = (slice(None), *(slice(0, (n - 1) * stride // to_stride + 1) for n in lattice_shape(shape, stride)))
    assert found.shape == (3, *lattice_shape(shape, to_stride))
    assert torch.allclose(found[inside], linear(to_stride)[inside])
    smooth = upsampled(linear(stride), shape, stride, to_stride)
    reach = 3 * stride // to_stride if stride > to_stride else 0  # means of ever finer lattices
    core = (slice(None), *(slice(reach, s.stop - reach) for s in inside[1:]))
    if smooth[core].numel():
        assert torch.allclose(smooth[core], linear(to_stride)[core])
    assert (stride == to_stride) == torch.equal(smooth, found)


def test_published_upsampling_steps():
    field = torch.randn(3, 4, 5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    one = upsampled(field, (32, 40, 24), 8, 4)
    assert torch.equal(upsampled(field, (32, 40, 24), 8, 2), upsampled(one, (32, 40, 24), 4, 2))
    assert torch.equal(one, box_means(upsampled(field, (32, 40, 24), 8, 4, smoothing=0), 2))


def random_cost(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(27, 3, 4, 3, generator=torch.Generator().manual_seed(3), dtype=dtype)


def test_coupled_steps_are_the_textbooks():
    cost, candidates = random_cost(), candidate_displacements(1, like=random_cost())

    def textbook(sharpness: float, coupling: tuple[float, ...]) -> Tensor:
        def read(total: Tensor) -> Tensor:
            return torch.einsum("kd,kxyz->dxyz", candidates, torch.softmax(-sharpness * total, 0))

        u = read(cost)
        for weight in coupling:
            squares = (candidates[:, :, None, None, None] - u[None]).square().sum(1)
            u = box_means(read(cost + weight * squares))
        return u

    u = textbook(7.0, (0.1, 2.0))
    assert torch.allclose(coupled_convex(cost, candidates, 7.0, (0.1, 2.0)), u, rtol=0, atol=1e-12)
    assert torch.allclose(coupled_convex(cost, candidates, 7.0, ()), textbook(7.0, ()), rtol=0, atol=1e-12)
    published = textbook(20.0, (0.003, 0.03, 0.3))
    assert torch.allclose(coupled_convex(cost, candidates), published, rtol=0, atol=1e-12)
    assert torch.allclose(coupled_convex(cost + 5, candidates, 7.0, (0.1, 2.0)), u, rtol=0, atol=1e-9)


def test_gradcheck():
    cost = random_cost()[:, :2, :1, :1].requires_grad_()
    candidates = candidate_displacements(1, like=cost)
    assert torch.autograd.gradcheck(lambda c: coupled_convex(c, candidates, 3.0), (cost,), fast_mode=True)


def test_large_costs_stay_finite():
    cost = (1e4 * random_cost(torch.float32)).requires_grad_()
    u = coupled_convex(cost, candidate_displacements(1, like=cost))
    u.square().sum().backward()
    assert u.isfinite().all()
    assert cost.grad.isfinite().all()


def test_coupling_pulls_an_outlier_to_its_neighbours():
    candidates = candidate_displacements(1, like=random_cost())
    cost = torch.ones(27, 5, 5, 5, dtype=torch.float64)
    cost[13] = 0.5  # to stay
    cost[:, 2, 2, 2] = 1.0
    cost[22, 2, 2, 2] = 0.4  # one site would rather go by (1, 0, 0)
    alone = coupled_convex(cost, candidates, coupling=())
    coupled = coupled_convex(cost, candidates)
    assert float(alone[0, 2, 2, 2]) > 0.9
    assert float(coupled[0, 2, 2, 2]) < 0.2
