"""Laws of fields, for any small grid: what must hold whatever the numbers are."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cst_core.affine import Affine, warp_image
from cst_core.field import Grid, compose, invert, positions, resize, warp
from cst_core.transform import Transform, WorldAffine, WorldField

shapes = st.tuples(*[st.integers(4, 7)] * 3)
spacings = st.tuples(*[st.floats(0.5, 3.0)] * 3)
seeds = st.integers(0, 2**31)
few = settings(max_examples=15, deadline=None)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gentle(seed: int, shape: tuple[int, ...], spacing: tuple[float, ...], size: float = 0.1) -> Tensor:
    """A smooth field that leads nowhere at the faces, so that all laws hold to the last voxel."""
    inner = torch.zeros(shape, dtype=torch.float64)
    inner[1:-1, 1:-1, 1:-1] = 1.0
    return size * min(spacing) * resize(random(seed, 3, 3, 3, 3), shape).clamp(-2, 2) * inner


@few
@given(shapes, spacings, seeds)
def test_warping_twice_is_warping_by_the_composition(shape, spacing, seed):
    """Of what is linear in space, as interpolation then is exact; inside, as no value is known beyond the faces."""
    ramp = positions(shape, spacing, torch.float64)
    first, then = (gentle(seed + k, shape, spacing) for k in (0, 1))
    twice = warp(warp(ramp, then, spacing), first, spacing)
    assert torch.allclose(twice, warp(ramp, compose(first, then, spacing), spacing), atol=1e-9)


@few
@given(shapes, spacings, seeds)
def test_composition_is_associative_for_shifts_and_neutral_for_none(shape, spacing, seed):
    a, b, c = (random(seed + k, 3)[:, None, None, None].expand(3, *shape) for k in range(3))
    left = compose(compose(a, b, spacing), c, spacing)
    assert torch.allclose(left, compose(a, compose(b, c, spacing), spacing), atol=1e-9)
    assert torch.allclose(left, a + b + c, atol=1e-9)
    u = gentle(seed, shape, spacing)
    assert torch.allclose(compose(u, torch.zeros_like(u), spacing), u, atol=1e-12)
    assert torch.allclose(compose(torch.zeros_like(u), u, spacing), u, atol=1e-9)


@few
@given(shapes, spacings, seeds)
def test_a_field_then_its_inverse_leads_nowhere(shape, spacing, seed):
    u = gentle(seed, shape, spacing)
    inverse = invert(u, spacing)
    assert inverse.residual_mm < 1e-6
    assert compose(inverse.vectors, u, spacing).abs().max() < 1e-6
    again = invert(inverse.vectors, spacing, iterations=40)
    assert (again.vectors - u).abs().max() < 0.2 * min(spacing)  # both are linear between voxels, their inverses not


@few
@given(shapes, spacings, seeds)
def test_warping_is_linear_and_keeps_bounds(shape, spacing, seed):
    u = 3.0 * random(seed, 3, *shape)
    one, other = random(seed + 1, 2, *shape), random(seed + 2, 2, *shape)
    both = warp(2.0 * one - 3.0 * other, u, spacing)
    assert torch.allclose(both, 2.0 * warp(one, u, spacing) - 3.0 * warp(other, u, spacing), atol=1e-8)
    warped = warp(one, u, spacing)
    assert warped.max() <= one.max() + 1e-9
    assert warped.min() >= one.min() - 1e-9


@few
@given(shapes, spacings, seeds, st.floats(0.25, 4.0))
def test_millimetres_have_no_unit_of_their_own(shape, spacing, seed, scale):
    """All lengths times the same number: the same voxels."""
    volume, u = random(seed, *shape), random(seed + 1, 3, *shape)
    larger = tuple(scale * s for s in spacing)
    assert torch.allclose(warp(volume, u, spacing), warp(volume, scale * u, larger), atol=1e-8)
    g = gentle(seed, shape, spacing)
    assert torch.allclose(scale * invert(g, spacing).vectors, invert(scale * g, larger).vectors, atol=1e-8)


@few
@given(shapes, spacings, seeds)
def test_mirrored_axes_mirror_the_result(shape, spacing, seed):
    volume, u = random(seed, *shape), random(seed + 1, 3, *shape)
    for axis in range(3):
        mirrored = u.flip(axis + 1).clone()
        mirrored[axis] *= -1.0
        assert torch.allclose(
            warp(volume.flip(axis), mirrored, spacing), warp(volume, u, spacing).flip(axis), atol=1e-8
        )


@few
@given(shapes, spacings, seeds)
def test_warping_by_an_affine_map_is_warping_by_its_field(shape, spacing, seed):
    grid = Grid.of(shape, spacing)
    affine = Affine(torch.eye(3, dtype=torch.float64) + 0.1 * random(seed, 3, 3), random(seed + 1, 3))
    x, volume = positions(shape, spacing, torch.float64), random(seed + 2, 1, *shape)
    assert torch.allclose(
        warp_image(volume, affine, grid), warp(volume, affine.apply_to_sites(x) - x, spacing), atol=1e-8
    )


@few
@given(shapes, spacings, seeds)
def test_points_that_a_transform_moves_come_back(shape, spacing, seed):
    field = WorldField(gentle(seed, shape, spacing), Grid.of(shape, spacing))
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3] += 0.1 * random(seed + 1, 3, 4)
    transform = Transform((field, WorldAffine(matrix)))
    inside = torch.rand(20, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    points = inside * (torch.tensor(shape) - 1) * torch.tensor(spacing, dtype=torch.float64)
    found = transform.invert(transform.map(points))
    assert torch.allclose(found.points, points, atol=1e-3)
    assert found.residual_mm.max() < 1e-4
