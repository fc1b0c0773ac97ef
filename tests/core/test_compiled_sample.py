"""The compiled sampling of volumes against SciPy and `grid_sample` in float64, and when it takes their place."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from cst_core import compiled_sample
from cst_core.compiled_sample import sampled, warped
from cst_core.field import positions, sample, warp

SPACING = (1.5, 2.0, 0.75)
SHAPES = [(9, 11, 13), (9, 1, 13), (1, 1, 1), (2, 11, 1)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def around(shape: tuple[int, int, int], count: int = 9000) -> Tensor:
    """Points, grid mm, of which about half lie beyond the voxels; more than a thread takes at a time."""
    size = torch.tensor(shape)[:, None]
    index = torch.rand(3, count, generator=torch.Generator().manual_seed(1)) * (size + 4) - 2.5
    return index * torch.tensor(SPACING)[:, None]


def plain(volume: Tensor, points: Tensor, zeros: bool) -> Tensor:
    index = (points.double() / torch.tensor(SPACING).double()[:, None]).numpy()
    mode = "grid-constant" if zeros else "nearest"
    return torch.from_numpy(np.stack([map_coordinates(c.double().numpy(), index, order=1, mode=mode) for c in volume]))


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_points_are_read_as_scipy_reads_them(shape, zeros):
    volume, points = random(3, *shape), around(shape)
    found = sampled(volume, points, SPACING, zeros)
    assert not zeros or 0.02 < float((found == 0).all(0).float().mean()) < 0.99
    torch.testing.assert_close(found.double(), plain(volume, points, zeros), rtol=0, atol=2e-6)


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("shape", SHAPES)
def test_volumes_are_warped_as_grid_sample_warps_them(shape, padding):
    volume, vectors = random(2, *shape), 4 * random(3, *shape, seed=1)
    found = warped(volume, vectors, SPACING, padding == "zeros")
    wanted = warp(volume.double(), vectors.double(), SPACING, padding=padding)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("axis", "sign"), [*product(range(3), (-1, 1))])
def test_whole_voxels_are_met_exactly(axis, sign):
    volume = random(2, 9, 11, 13)
    vectors = torch.zeros(3, 9, 11, 13)
    vectors[axis] = sign * 2 * SPACING[axis]
    inner = torch.roll(volume, -2 * sign, axis + 1).narrow(axis + 1, 2, volume.shape[axis + 1] - 4)
    assert torch.equal(warped(volume, vectors, SPACING, False).narrow(axis + 1, 2, inner.shape[axis + 1]), inner)


def test_volumes_that_do_not_lie_in_order():
    volume, vectors = random(9, 11, 13, 2).permute(3, 0, 1, 2), random(9, 11, 13, 3, seed=1).permute(3, 0, 1, 2)
    ours = warped(volume, vectors, SPACING, False)
    assert torch.equal(ours, warped(volume.contiguous(), vectors.contiguous(), SPACING, False))
    points = positions((9, 11, 13), SPACING) + vectors
    torch.testing.assert_close(sampled(volume, points, SPACING, False), ours, rtol=0, atol=5e-6)  # rounded points


@pytest.mark.parametrize("zeros", [False, True])
def test_what_is_not_a_number_is_read_from_within(zeros):
    points = torch.tensor([[torch.nan, torch.inf, -torch.inf, 3e38], [0.0] * 4, [torch.nan, 0.0, 0.0, 0.0]])
    found = sampled(random(1, 4, 5, 6), points, SPACING, zeros)
    assert found.shape == (1, 4)
    assert not zeros or bool((found[0, 1:] == 0).all())


def test_float32_is_compiled_unless_gradients_are_wanted(monkeypatch: pytest.MonkeyPatch):
    called = []
    for name in ("sampled", "warped"):
        monkeypatch.setattr(compiled_sample, name, lambda volume, *_, name=name, **__: called.append(name) or volume)
    volume, vectors = random(1, 4, 5, 6), random(3, 4, 5, 6, seed=1)
    wanted = vectors.clone().requires_grad_()
    warp(volume, wanted, SPACING).sum().backward()
    assert wanted.grad is not None
    assert bool(wanted.grad.abs().sum() > 0)
    sample(volume.double(), vectors, SPACING)
    warp(volume, vectors, SPACING, mode="nearest")
    assert not called
    sample(volume, vectors, SPACING)
    with torch.no_grad():
        warp(volume, wanted, SPACING)
    assert called == ["sampled", "warped"]


def test_a_large_volume_is_sampled_to_single_precision():
    """Coordinates normalised in float32, as for `grid_sample`, are off by some 1e-4 of the values here."""
    volume, vectors = random(1, 4, 5, 700), random(3, 4, 5, 700, seed=1)
    wanted = warp(volume.double(), vectors.double(), SPACING)
    torch.testing.assert_close(warp(volume, vectors, SPACING).double(), wanted, rtol=0, atol=2e-6)
