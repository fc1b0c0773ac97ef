"""Fields where they are refused, at the edge of a tolerance, in single precision: small changes that go unnoticed."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
import torch

from cst_core import field, grid
from cst_core.field import DisplacementField, Grid, invert, positions, sample, warp

SHAPE, SPACING = (9, 11, 13), (1.5, 2.0, 0.75)


def unchecked(module: ModuleType) -> ModuleType:
    """A module as users import it: here types are checked before a function can refuse a shape in its own words."""
    spec = importlib.util.spec_from_file_location(module.__name__, module.__file__)
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    return again


def test_volumes_and_fields_that_do_not_fit_are_named():
    volume, vectors = torch.zeros(1, 4, 5, 6), torch.zeros(3, 4, 5, 6)
    with pytest.raises(ValueError, match=r"^volume must .* \(X, Y, Z\) or \(C, X, Y, Z\), got \(1, 1, 4, 5, 6\)$"):
        unchecked(field).warp(volume[None], vectors, SPACING)
    with pytest.raises(ValueError, match=r"^vectors must have the shape \(3, 4, 5, 6\) as volume, got \(3, 4, 5, 5\)$"):
        unchecked(field).warp(volume, vectors[..., :5], SPACING)
    assert unchecked(field).warp(volume, vectors, SPACING).shape == volume.shape


def test_a_field_off_its_grid_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"\(3, \*grid.shape\), \(3, 9, 11, 13\), got \(3, 2, 2, 2\)$"):
        DisplacementField(torch.zeros(3, 2, 2, 2), Grid.of(SHAPE, SPACING))


def test_a_slice_is_a_grid_and_spacing_is_kept_in_double_precision():
    grid = Grid.of((1, 4, 4), (0.1, 0.7, 1 / 3))
    assert grid.shape == (1, 4, 4)
    assert grid.spacing == (0.1, 0.7, 1 / 3)


def test_affines_that_are_refused_say_why():
    affine = torch.diag(torch.tensor([*SPACING, 1.0], dtype=torch.float64))
    broken, sheared = affine.clone(), affine.clone()
    broken[0, 3], sheared[0, 1] = torch.nan, 0.5
    for wrong in (broken, affine[:3]):
        with pytest.raises(ValueError, match=r"^affine must be a finite 4x4 matrix, got \[\["):
            unchecked(grid).Grid(SHAPE, SPACING, wrong)
    with pytest.raises(ValueError, match=r"^the axes of affine must be orthogonal \(resample .* of up to 0\.2425$"):
        Grid.from_affine(SHAPE, sheared)  # atan(0.5 / 2): the cosine is 1 / sqrt(17)


def test_spacing_may_differ_from_the_affine_by_a_thousandth():
    affine = torch.diag(torch.tensor([*SPACING, 1.0], dtype=torch.float64))
    near, far = ((SPACING[0] * factor, *SPACING[1:]) for factor in (1.0008, 1.0012))
    assert Grid(SHAPE, near, affine).spacing == near
    with pytest.raises(ValueError, match="as long as spacing"):
        Grid(SHAPE, far, affine)


@pytest.mark.gpu
def test_the_affine_is_kept_on_the_cpu():
    assert Grid.from_affine(SHAPE, torch.eye(4, device="cuda")).affine.device.type == "cpu"


def test_resized_grids_are_exact():
    grid = Grid.of(SHAPE, SPACING).resized((7, 5, 3))
    expected = [n * s / m for n, s, m in zip(SHAPE, SPACING, (7, 5, 3), strict=True)]
    assert grid.spacing == pytest.approx(expected, rel=1e-14)
    with pytest.raises(ValueError):  # noqa: PT011  (zip's own words)
        Grid.of(SHAPE, SPACING).resized((7, 5))
    with pytest.raises(ValueError):  # noqa: PT011
        positions(SHAPE, (1.5, 2.0))


def test_points_stay_in_single_precision():
    affine = torch.tensor([[0.0, -2, 0, 5], [1.5, 0, 0, -6], [0, 0, 0.75, 7], [0, 0, 0, 1]])
    grid = Grid.from_affine(SHAPE, affine)
    points = torch.tensor([[3.0, 4.0, 1.5]])
    world = grid.points_to_world(points)
    assert world.dtype == torch.float32
    assert world.tolist() == [[1.0, -3.0, 8.5]]
    back = grid.points_from_world(world)
    assert back.dtype == torch.float32
    assert torch.allclose(back, points)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("fixed", ["first", "last"])
def test_grids_are_compared_at_their_outer_corners(axis, fixed):
    """A grid that is stretched about one outer face moves most at the other one: by ``n`` times the stretch."""
    n = SHAPE[axis]
    for moved, close in ((0.0097, True), (0.0103, False)):
        affine = torch.eye(4, dtype=torch.float64)
        affine[axis, axis] += moved / n
        affine[axis, 3] = moved / n * (0.5 if fixed == "first" else 0.5 - n)
        assert Grid.from_affine(SHAPE, affine).is_close(Grid.of(SHAPE, (1.0, 1.0, 1.0))) == close


def test_inversion_begins_at_minus_u_and_its_residual_is_the_longest_vector():
    """For u = a x, v = -u is wrong by -u(x) + u(x - u(x)) = -a^2 x: most at the far corner."""
    x = positions(SHAPE, SPACING, torch.float64)
    begun = invert(0.1 * x, SPACING, iterations=0)
    assert torch.equal(begun.vectors, -0.1 * x)
    corner = torch.tensor([(n - 1) * s for n, s in zip(SHAPE, SPACING, strict=True)])
    assert float(begun.residual_mm) == pytest.approx(0.01 * float(corner.norm()), rel=1e-6)


def test_inversion_takes_thirty_steps_unless_told_otherwise():
    u = 0.9 * positions(SHAPE, SPACING, torch.float64)  # so steep that every step still shows
    assert torch.equal(invert(u, SPACING).vectors, invert(u, SPACING, iterations=30).vectors)
    assert not torch.equal(invert(u, SPACING).vectors, invert(u, SPACING, iterations=31).vectors)


def test_a_double_volume_is_read_at_single_positions_in_double_precision():
    ramp = positions(SHAPE, SPACING, torch.float64)
    points = torch.tensor([[1.5], [3.0], [0.375]])
    read = sample(ramp, points, SPACING)
    assert read.dtype == torch.float64
    assert torch.allclose(read, points.double(), atol=1e-12)


def test_warping_stays_on_the_device_of_the_field():
    volume, vectors = (torch.zeros(channels, *SHAPE, device="meta") for channels in (1, 3))
    assert warp(volume, vectors, SPACING).device.type == "meta"
