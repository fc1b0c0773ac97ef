"""Thin-plate splines: what they must reproduce, what stiffness does, and what they refuse."""

import warnings

import pytest
import torch
from torch import Tensor

from cst_points import tps
from cst_points.knn import keops_works
from cst_points.tps import Spline, distance_product, distance_product_keops, fit_reference, fit_spline


def random(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


POINTS, VALUES = random(1, 80, 3), random(2, 80, 3)


def misfit(spline: Spline) -> float:
    return float((spline(POINTS) - VALUES).square().sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_affine_maps_are_reproduced_everywhere(smoothing, dtype):
    matrix, offset = random(3, 3, 3), random(4, 3)
    spline = fit_spline(POINTS.to(dtype), (POINTS @ matrix + offset).to(dtype), smoothing)
    elsewhere = random(5, 40, 3) * 3
    values = spline(elsewhere.to(dtype))
    assert values.dtype == dtype
    assert torch.allclose(values.double(), elsewhere @ matrix + offset, atol=1e-5 if dtype == torch.float32 else 1e-10)


def test_interpolates_without_smoothing():
    assert torch.allclose(fit_spline(POINTS, VALUES, 0.0)(POINTS), VALUES, atol=1e-10)


@pytest.mark.parametrize("smoothing", [0.0, 1e-6, 0.1, 10.0])
def test_equals_the_saddle_point_system(smoothing):
    spline = fit_spline(POINTS, VALUES, smoothing)
    weights, affine = fit_reference(POINTS, VALUES, smoothing)
    assert torch.allclose(spline.weights, weights, rtol=1e-8, atol=1e-9)
    assert torch.allclose(spline.affine, affine, rtol=1e-8, atol=1e-9)


def test_single_precision_loses_little():
    spline = fit_spline(POINTS.float(), VALUES.float(), 0.1)
    there = random(5, 40, 3)
    assert torch.allclose(spline(there.float()).double(), fit_spline(POINTS, VALUES, 0.1)(there), atol=1e-5)


def test_stiffer_splines_fit_worse_and_end_affine():
    residuals = [misfit(fit_spline(POINTS, VALUES, smoothing)) for smoothing in (1e-4, 1e-2, 0.1, 1.0, 10.0, 1e3)]
    assert residuals == sorted(residuals)
    assert residuals[0] < 0.01 * residuals[-1]
    homogeneous = torch.cat([torch.ones(80, 1, dtype=torch.float64), POINTS], 1)
    best_affine = homogeneous @ torch.linalg.lstsq(homogeneous, VALUES).solution
    assert torch.allclose(fit_spline(POINTS, VALUES, 1e8)(POINTS), best_affine, atol=1e-5)


def test_minimises_misfit_plus_bending():
    """The energy of the solution is lower than of splines near it (bending = weights' quadratic form in the kernel)."""
    smoothing = 0.3
    kernel = -torch.cdist(POINTS, POINTS)

    def energy(spline: Spline) -> float:
        return misfit(spline) + smoothing * float((spline.weights * (kernel @ spline.weights)).sum())

    best = energy(fit_spline(POINTS, VALUES, smoothing))
    for seed in range(5):
        other = fit_spline(POINTS, VALUES + 0.01 * random(seed, 80, 3), smoothing)
        assert best < energy(other)


def test_trust_of_one_changes_nothing_and_less_is_followed_less():
    ones = torch.ones(80, dtype=torch.float64)
    assert torch.equal(fit_spline(POINTS, VALUES, 0.1, ones).weights, fit_spline(POINTS, VALUES, 0.1).weights)
    doubted = ones.clone()
    doubted[7] = 0.01
    followed, ignored = (fit_spline(POINTS, VALUES, 0.1, trust)(POINTS)[7] for trust in (ones, doubted))
    assert (ignored - VALUES[7]).norm() > 1.1 * (followed - VALUES[7]).norm()
    without = torch.arange(80) != 7
    left_out = fit_spline(POINTS[without], VALUES[without], 0.1)(POINTS[7:8])[0]
    doubted[7] = 1e-9
    assert torch.allclose(fit_spline(POINTS, VALUES, 0.1, doubted)(POINTS)[7], left_out, atol=1e-6)


def test_too_few_points():
    with pytest.raises(ValueError, match="at least 4 points, got 3"):
        fit_spline(POINTS[:3], VALUES[:3], 0.1)
    assert torch.allclose(fit_spline(POINTS[:4], VALUES[:4], 0.1)(POINTS[:4]), VALUES[:4], atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tilt", [0.0, 0.7])
def test_points_in_a_plane(tilt, smoothing, dtype):
    plane = POINTS.clone()
    plane[:, 2] = 0.3 + tilt * plane[:, 0] - 0.4 * tilt * plane[:, 1]
    with pytest.raises(ValueError, match="all 80 lie in one plane"):
        fit_spline(plane.to(dtype), VALUES.to(dtype), smoothing)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("copies", [2, 5])
def test_duplicates_need_smoothing(seed, copies):
    points = torch.cat([random(seed, 60, 3), random(seed, 60, 3)[3:4].expand(copies - 1, 3)])
    values = random(seed + 50, 60 + copies - 1, 3)
    with pytest.raises(ValueError, match="duplicates cannot be interpolated"):
        fit_spline(points, values, 0.0)
    assert fit_spline(points, values, 0.1)(points).abs().max() < 2


def test_blocks_equal_at_once(monkeypatch):
    there, weights = random(5, 50, 3), VALUES
    expected = torch.cdist(there, POINTS) @ weights
    assert torch.allclose(distance_product(there, POINTS, weights), expected, atol=1e-12)
    monkeypatch.setattr(tps, "_BLOCK", 7 * 80)
    assert torch.allclose(distance_product(there, POINTS, weights), expected, atol=1e-12)
    assert distance_product(there[:0], POINTS, weights).shape == (0, 3)


def test_keops_product_equals_torch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not keops_works("cpu"):
            pytest.skip("KeOps cannot compile here (needs a C++ compiler and Python's headers)")
    there = torch.cat([random(5, 50, 3), POINTS[:10]]).float()  # at the centres too, where the distance is zero
    expected = distance_product(there, POINTS.float(), VALUES.float())
    assert torch.allclose(distance_product_keops(there, POINTS.float(), VALUES.float()), expected, atol=1e-4)
