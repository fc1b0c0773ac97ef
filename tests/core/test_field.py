"""Fields against what is known exactly: whole voxels, affine maps, ramps, SciPy, and finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from cst_core.field import (
    DisplacementField,
    Grid,
    compose,
    invert,
    positions,
    resample,
    resize,
    sample,
    sample_at,
    warp,
)

SHAPE, SPACING = (9, 11, 13), (1.5, 2.0, 0.75)
shapes = st.tuples(*[st.integers(2, 9)] * 3)
spacings = st.tuples(*[st.floats(0.3, 5.0)] * 3)
seeds = st.integers(0, 2**31)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smooth_field(seed: int, amplitude: float = 0.4) -> Tensor:
    """Changes by well under 1 mm per mm."""
    return amplitude * resize(random(seed, 3, 4, 4, 4), SHAPE)


def affine_field(matrix: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """u(x) = (M - I) x + t on the test grid, and where x + u(x) stays on it."""
    x = positions(SHAPE, SPACING, torch.float64)
    u = torch.einsum("ij,jxyz->ixyz", matrix, x) + offset[:, None, None, None] - x
    return u, inside(x + u)


def inside(points: Tensor) -> Tensor:
    last = torch.tensor([(n - 1) * s for n, s in zip(SHAPE, SPACING, strict=True)])[:, None, None, None]
    return ((points >= 0) & (points <= last)).all(dim=0)


def near_identity(seed: int) -> tuple[Tensor, Tensor]:
    return torch.eye(3, dtype=torch.float64) + 0.05 * random(seed, 3, 3), 0.5 * random(seed + 1, 3)


def oblique() -> Tensor:
    """Left-handed, permuted and rotated axes: nothing that a sign or an order can hide behind."""
    rotation = torch.linalg.qr(random(3, 3, 3)).Q
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = rotation[:, [2, 0, 1]] * torch.tensor(SPACING)
    affine[:3, 3] = torch.tensor([-120.0, 33.0, 7.0])
    return affine


# Grid


def test_a_grid_reads_its_spacing_from_the_affine():
    grid = Grid.from_affine(SHAPE, oblique().numpy().astype(np.float32))
    assert grid.spacing == pytest.approx(SPACING, rel=1e-6)
    assert grid.affine.dtype == torch.float64


def test_a_grid_keeps_its_own_copy_of_the_affine():
    affine = oblique()
    grid = Grid.from_affine(SHAPE, affine)
    affine[0, 3] = 0.0
    assert grid.affine[0, 3] == -120.0


def test_centre_and_half_extent_span_the_outer_voxel_faces():
    grid = Grid.of((4, 5, 6), (1.0, 2.0, 3.0))
    assert (grid.centre - grid.half_extent).tolist() == [-0.5, -1.0, -1.5]
    assert (grid.centre + grid.half_extent).tolist() == [3.5, 9.0, 16.5]


@given(shapes, shapes)
@settings(max_examples=25, deadline=None)
def test_resized_keeps_the_field_of_view_in_the_world(shape, other):
    grid = Grid.from_affine(shape, oblique())
    resized = grid.resized(other)
    for sign in (-1.0, 1.0):
        corner = grid.points_to_world((grid.centre + sign * grid.half_extent)[None])
        assert torch.allclose(resized.points_to_world((resized.centre + sign * resized.half_extent)[None]), corner)
    assert resized.resized(shape).is_close(grid)
    assert resized.is_close(grid) == (shape == other)


def test_grids_at_other_places_are_not_close():
    moved, turned = oblique(), oblique()
    moved[1, 3] += 0.1
    turned[:, 0] *= -1
    for affine in (moved, turned):
        assert not Grid.from_affine(SHAPE, oblique()).is_close(Grid.from_affine(SHAPE, affine))


def test_points_go_to_the_world_and_back():
    grid, index = Grid.from_affine(SHAPE, oblique()), torch.tensor([[1.0, 2.0, 3.0]]).double()
    world = grid.points_to_world(index * torch.tensor(SPACING))
    assert torch.allclose(world[0], (oblique() @ torch.tensor([1.0, 2.0, 3.0, 1.0]).double())[:3])
    assert torch.allclose(grid.points_from_world(world), index * torch.tensor(SPACING))


@pytest.mark.parametrize(
    ("shape", "spacing", "rule"),
    [
        ((4, 0, 4), (1.0, 1.0, 1.0), r"shape must be .* got \(4, 0, 4\)"),
        ((4, 4), (1.0, 1.0, 1.0), r"shape must be three"),
        ((4, 4, 4), (1.0, 0.0, 1.0), r"spacing must be .* got \(1.0, 0.0, 1.0\)"),
        ((4, 4, 4), (1.0, float("nan"), 1.0), "spacing must be"),
        ((4, 4, 4), (1.0, 1.0), "spacing must be"),
    ],
)
def test_impossible_grids_are_refused(shape, spacing, rule):
    with pytest.raises(ValueError, match=rule):
        Grid.of(shape, spacing)


def test_impossible_affines_are_refused():
    sheared, projective, singular = torch.eye(4), torch.eye(4), torch.eye(4)
    sheared[0, 1], projective[3, 0], singular[0, 0] = 0.2, 1.0, 0.0
    for affine, rule in ((sheared, "orthogonal"), (projective, "row 0 0 0 1"), (singular, "spacing must be")):
        with pytest.raises(ValueError, match=rule):
            Grid.from_affine(SHAPE, affine)
    with pytest.raises(ValueError, match="4x4"):
        Grid.from_affine(SHAPE, torch.eye(3))
    with pytest.raises(ValueError, match="as long as spacing"):
        Grid(SHAPE, (1.0, 1.0, 2.0), torch.eye(4, dtype=torch.float64))


# Warping


@given(shapes, spacings, seeds)
@settings(max_examples=25, deadline=None)
def test_warping_by_zero_changes_nothing(shape, spacing, seed):
    volume = random(seed, 2, *shape)
    assert torch.allclose(warp(volume, torch.zeros(3, *shape).double(), spacing), volume, atol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("voxels", [-2, 1])
@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_whole_voxels_shift_the_right_axis_the_right_way(axis, voxels, padding):
    volume, vectors = random(0, *SHAPE), torch.zeros(3, *SHAPE).double()
    vectors[axis] = voxels * SPACING[axis]
    source = torch.arange(SHAPE[axis]) + voxels
    expected = volume.index_select(axis, source.clip(0, SHAPE[axis] - 1))
    if padding == "zeros":
        expected.index_fill_(axis, torch.nonzero((source < 0) | (source >= SHAPE[axis]))[:, 0], 0.0)
    assert torch.allclose(warp(volume, vectors, SPACING, padding=padding), expected, atol=1e-12)
    assert torch.equal(warp(volume, vectors, SPACING, mode="nearest", padding=padding), expected)


@given(shapes, spacings, seeds)
@settings(max_examples=25, deadline=None)
def test_linear_warping_agrees_with_scipy(shape, spacing, seed):
    volume, vectors = random(seed, *shape), 3.0 * random(seed + 1, 3, *shape)
    index = (positions(shape, spacing, torch.float64) + vectors) / torch.tensor(spacing)[:, None, None, None]
    expected = ndimage.map_coordinates(volume.numpy(), index.numpy(), order=1, mode="nearest")
    assert np.allclose(warp(volume, vectors, spacing).numpy(), expected, atol=1e-5)


def test_a_ramp_reads_back_the_displaced_position():
    u = smooth_field(1)
    x = positions(SHAPE, SPACING, torch.float64)
    interior = inside(x + u)
    assert interior.float().mean() > 0.5
    assert torch.allclose(warp(x, u, SPACING)[:, interior], (x + u)[:, interior], atol=1e-12)


def test_single_precision_is_good_to_a_thousandth():
    volume, u = random(0, 2, *SHAPE), smooth_field(1)
    single = warp(volume.float(), u.float(), SPACING)
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), warp(volume, u, SPACING), atol=1e-4)


def test_half_precision_values_are_read_at_single_precision_positions():
    stripes = (torch.arange(512) % 2).half()[:, None, None].expand(512, 2, 2)
    u = torch.zeros(3, 512, 2, 2).half()
    u[0] = 0.375  # a quarter of a voxel, which half precision cannot add to positions of some hundred millimetres
    warped = warp(stripes, u, SPACING)
    assert warped.dtype == torch.float16
    assert torch.allclose(warped[:-1].float(), 0.25 + 0.5 * stripes[:-1].float(), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.bool])
def test_labels_stay_labels(dtype):
    labels = (random(0, *SHAPE) > 0.5).to(dtype)
    warped = warp(labels, smooth_field(1).float(), SPACING, mode="nearest", padding="zeros")
    assert warped.dtype == dtype
    assert set(warped.unique().tolist()) <= {0, 1}
    with pytest.raises(ValueError, match="use 'nearest'"):
        warp(labels, smooth_field(1), SPACING)


def test_volumes_and_fields_on_other_voxels_are_refused():
    with pytest.raises((ValueError, TypeError)):
        warp(random(0, 4, 5, 6), torch.zeros(3, 4, 5, 5).double(), SPACING)
    with pytest.raises((ValueError, TypeError)):
        warp(random(0, 1, 1, 4, 5, 6), torch.zeros(3, 4, 5, 6).double(), SPACING)
    with pytest.raises(ValueError, match="spacing must be"):
        warp(random(0, 4, 5, 6), torch.zeros(3, 4, 5, 6).double(), (1.0, -1.0, 1.0))


def test_gradients_of_warp_and_compose():
    volume = random(0, 1, 3, 4, 3).requires_grad_()
    u, v = (0.2 * random(seed, 3, 3, 4, 3) + 0.3 for seed in (1, 2))
    for tensor in (u, v):
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(lambda m, d: warp(m, d, SPACING), (volume, u), fast_mode=True)
    assert torch.autograd.gradcheck(lambda m, d: warp(m, d, SPACING, padding="zeros"), (volume, u), fast_mode=True)
    assert torch.autograd.gradcheck(lambda a, b: compose(a, b, SPACING), (u, v), fast_mode=True)


# Composition and inversion


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_zero_is_neutral(seed):
    u = smooth_field(seed)
    zero = torch.zeros_like(u)
    assert torch.allclose(compose(u, zero, SPACING), u)
    assert torch.allclose(compose(zero, u, SPACING), u, atol=1e-12)


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_affine_fields_compose_as_their_matrices(seed):
    (a, s), (b, t) = near_identity(seed), near_identity(seed + 2)
    u, interior = affine_field(a, s)
    v, _ = affine_field(b, t)
    expected, _ = affine_field(b @ a, b @ s + t)
    assert torch.allclose(compose(u, v, SPACING)[:, interior], expected[:, interior], atol=1e-10)


def test_second_warp_composes_inside_out():
    """moving∘(id + u1) registered by u2 is moving read at x + u2(x) + u1(x + u2(x)); the published order is another."""
    centre = Grid.of(SHAPE, SPACING).centre
    a, b = torch.eye(3).double(), torch.eye(3).double()
    a[0, 1], b[1, 0] = 0.3, 0.3  # two shears that do not commute, about the centre
    s, t = centre - a @ centre, centre - b @ centre
    u1, inside_1 = affine_field(a, s)
    u2, inside_2 = affine_field(b, t)
    moving = positions(SHAPE, SPACING, torch.float64)  # a ramp an axis: its values say where they were read
    whole, wrong = compose(u2, u1, SPACING), u1 + warp(u2, u1, SPACING)
    twice = warp(warp(moving, u1, SPACING), u2, SPACING)
    known, inside_known = affine_field(a @ b, a @ t + s)
    interior = ndimage.binary_erosion((inside_1 & inside_2 & inside_known).numpy(), iterations=2)
    assert interior.sum() > 50
    assert torch.allclose(whole[:, interior], known[:, interior], atol=1e-10)
    assert torch.allclose(warp(moving, whole, SPACING)[:, interior], twice[:, interior], atol=1e-10)
    assert (wrong - known)[:, interior].abs().max() > 0.1


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_a_field_and_its_inverse_cancel(seed):
    u = smooth_field(seed, amplitude=0.1)
    inverse = invert(u, SPACING)
    assert inverse.residual_mm < 1e-6
    back = compose(u, inverse.vectors, SPACING)
    assert back[:, 2:-2, 2:-2, 2:-2].abs().max() < 0.05  # v is linear between voxels, which the true inverse is not


def test_the_inverse_of_an_affine_field_is_known():
    matrix, offset = near_identity(11)
    u, _ = affine_field(matrix, offset)
    inverse = torch.linalg.inv(matrix)
    known, interior = affine_field(inverse, -inverse @ offset)
    assert torch.allclose(invert(u, SPACING).vectors[:, interior], known[:, interior], atol=1e-8)


def test_a_folded_field_confesses_by_its_residual():
    u = torch.zeros(3, *SHAPE).double()
    u[0] = -2.0 * positions(SHAPE, SPACING, torch.float64)[0] + 9.0
    assert invert(u + 2.0 * random(0, 3, *SHAPE), SPACING).residual_mm > 0.5


# Other grids, points, the world


@given(shapes)
@settings(max_examples=25, deadline=None)
def test_resampled_fields_agree_at_the_same_places_of_the_world(shape):
    grid = Grid.from_affine(SHAPE, oblique())
    u, _ = affine_field(*near_identity(1))
    coarse = resample(DisplacementField(u, grid), grid.resized(shape))
    x = grid.points_from_world(coarse.grid.points_to_world(positions(shape, coarse.grid.spacing).flatten(1).T.double()))
    assert torch.allclose(coarse.vectors.flatten(1).T, sample_at(DisplacementField(u, grid), x), atol=1e-5)


def test_resampling_does_not_rescale_millimetres():
    grid = Grid.of((4, 6, 8), (2.0, 3.0, 1.0))
    u = torch.full((3, 4, 6, 8), 7.0)
    fine = resample(DisplacementField(u, grid), grid.resized((8, 12, 16)))
    assert fine.grid.spacing == (1.0, 1.5, 0.5)
    assert torch.allclose(fine.vectors, torch.tensor(7.0))


def test_resampling_onto_another_field_of_view_is_refused():
    field = DisplacementField(torch.zeros(3, *SHAPE), Grid.of(SHAPE, SPACING))
    with pytest.raises(ValueError, match="same field of view"):
        resample(field, Grid.of((4, 5, 6), SPACING))


def test_sample_at_reads_voxels_and_between_them():
    u, _ = affine_field(*near_identity(1))
    field = DisplacementField(u, Grid.of(SHAPE, SPACING))
    index = torch.tensor([[2, 3, 4], [8, 0, 12]])
    at_voxels = sample_at(field, index * torch.tensor(SPACING).double())
    assert torch.allclose(at_voxels, u[:, index[:, 0], index[:, 1], index[:, 2]].T, atol=1e-12)
    between = sample_at(field, torch.tensor([[2.5 * 1.5, 3.0 * 2.0, 4.0 * 0.75]]).double())
    assert torch.allclose(between[0], (u[:, 2, 3, 4] + u[:, 3, 3, 4]) / 2, atol=1e-12)
    assert sample_at(field, torch.empty(0, 3).double()).shape == (0, 3)


def test_sample_takes_sites_of_any_shape():
    volume, points = random(0, 2, *SHAPE), random(1, 3, 4, 5)
    assert sample(volume, points, SPACING).shape == (2, 4, 5)
    assert torch.allclose(sample(volume, points[:, 1, 2], SPACING), sample(volume, points, SPACING)[:, 1, 2])


def test_vectors_in_the_world_join_points_in_the_world():
    grid = Grid.from_affine(SHAPE, oblique())
    field = DisplacementField(smooth_field(1), grid)
    x = positions(SHAPE, SPACING, torch.float64)
    start, end = (grid.points_to_world(p.flatten(1).T) for p in (x, x + field.vectors))
    assert torch.allclose(field.to_world().flatten(1).T, end - start, atol=1e-10)


def test_an_lps_array_has_its_first_two_components_negated_in_ras():
    grid = Grid.from_affine((2, 2, 2), np.diag([-2.0, -2.0, 3.0, 1.0]))
    vectors = torch.tensor([1.0, 2.0, 3.0])[:, None, None, None].expand(3, 2, 2, 2)
    assert DisplacementField(vectors, grid).to_world()[:, 0, 0, 0].tolist() == [-1.0, -2.0, 3.0]


def test_a_field_off_its_grid_is_refused():
    with pytest.raises(ValueError, match=r"vectors must have the shape .* got \(3, 2, 2, 2\)"):
        DisplacementField(torch.zeros(3, 2, 2, 2), Grid.of(SHAPE, SPACING))
