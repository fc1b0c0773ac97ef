"""The compiled kernel against the textbook and finite differences; the same bits whatever the threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from cst_core.field import warp
from cst_image.feature_difference import FeatureDifference

ROOT = Path(__file__).parents[2]


class Problem(NamedTuple):
    fixed: Tensor
    moving: Tensor
    weight: Tensor
    u: Tensor

    def to(self, dtype: torch.dtype) -> Problem:
        return Problem(*(part.to(dtype) for part in self))


def problem(shape: tuple[int, int, int] = (7, 6, 5), channels: int = 4, size: float = 1.0, seed: int = 0) -> Problem:
    """Displacements of ``size`` voxels, none of which ends on a voxel, where the derivative jumps."""
    generator = torch.Generator().manual_seed(seed)
    fixed, moving = (torch.randn(channels, *shape, generator=generator) for _ in range(2))
    u = size * torch.randn(3, *shape, generator=generator)
    off = u - u.round()
    u = torch.where(off.abs() < 0.05, u.round() + 0.05, u)
    weight = torch.rand(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.7)
    weight[0, 0, 0] = 0.5
    return Problem(fixed, moving, weight, u)


def naive(p: Problem) -> Tensor:
    """As one writes it down; differentiable."""
    squares = (warp(p.moving, p.u, (1.0, 1.0, 1.0)) - p.fixed).square()
    return (squares * p.weight).sum() / (len(p.fixed) * p.weight.sum())


@pytest.mark.parametrize("size", [0.3, 1.0, 5.0])  # the last leads most voxels out of the volume
@pytest.mark.parametrize(("shape", "channels"), [((7, 6, 5), 4), ((5, 1, 4), 3), ((1, 1, 1), 2), ((2, 9, 3), 17)])
def test_kernel_equals_the_textbook(shape, channels, size):
    p = problem(shape, channels, size)
    ours = FeatureDifference(*p[:3])(p.u)
    exact = p.to(torch.float64)
    leaf = exact.u.clone().requires_grad_()
    value = naive(exact._replace(u=leaf))
    (gradient,) = torch.autograd.grad(value, leaf)
    assert ours.value.dtype == torch.float32
    assert torch.allclose(ours.value.double(), value, rtol=1e-5)
    assert torch.allclose(ours.gradient.double(), gradient, rtol=1e-4, atol=1e-6)
    in_double = FeatureDifference(*exact[:3])(exact.u)
    assert torch.allclose(in_double.value, value, rtol=1e-12)
    assert torch.allclose(in_double.gradient, gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("shape", "channels"), [((7, 6, 5), 32), ((5, 1, 4), 3), ((1, 1, 1), 2), ((2, 9, 3), 17)])
def test_triton_kernel_interpreted(shape, channels, interpreted):
    p = problem(shape, channels, 2.0)
    fixed, moving = (part.permute(1, 2, 3, 0).contiguous() for part in (p.fixed, p.moving))
    share = 1.0 / (channels * p.weight.double().sum())
    given = {"fixed": fixed, "moving": moving, "weight": p.weight, "u": p.u, "share": share}
    value, gradient = interpreted("cst_image.feature_difference_cuda", "feature_difference_cuda", given)
    compiled = FeatureDifference(*p[:3])(p.u)
    assert torch.allclose(value, compiled.value, rtol=1e-5)
    assert torch.allclose(gradient, compiled.gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [0.3, 3.0])
def test_gradient_by_finite_differences(size):
    p = problem((4, 3, 3), 2, size).to(torch.float64)
    kernel = FeatureDifference(*p.to(torch.float32)[:3])(p.u.float()).gradient
    double = FeatureDifference(*p[:3])
    step = 1e-6
    for place in range(p.u.numel()):
        moved = torch.zeros_like(p.u)
        moved.view(-1)[place] = step
        slope = (double(p.u + moved).value - double(p.u - moved).value) / (2 * step)
        assert float(double(p.u).gradient.view(-1)[place]) == pytest.approx(float(slope), abs=1e-8)
        assert float(kernel.view(-1)[place]) == pytest.approx(float(slope), abs=1e-5)


def test_beyond_the_border_the_moving_one_is_continued():
    p = problem()._replace(u=torch.full((3, 7, 6, 5), 100.3))
    found = FeatureDifference(*p[:3])(p.u)
    corner = p.moving[:, -1:, -1:, -1:].expand_as(p.moving)
    assert float(found.value) == pytest.approx(float(naive(p._replace(moving=corner, u=torch.zeros_like(p.u)))))
    assert torch.equal(found.gradient, torch.zeros_like(p.u))


def test_one_axis_out_leaves_the_others_free():
    p = problem(size=0.3)
    p.u[1] += 50.0
    gradient = FeatureDifference(*p[:3])(p.u).gradient
    assert torch.equal(gradient[1], torch.zeros_like(gradient[1]))
    assert gradient[0].abs().max() > 1e-4
    assert gradient[2].abs().max() > 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights(dtype):
    p = problem().to(dtype)
    there = p.weight > 0
    found = FeatureDifference(*p[:3])(p.u)
    assert torch.equal(found.gradient[:, ~there], torch.zeros_like(found.gradient[:, ~there]))
    spoiled = p.fixed.clone()
    spoiled[:, ~there] = 1e3
    assert torch.allclose(FeatureDifference(spoiled, *p[1:3])(p.u).value, found.value)
    twice = FeatureDifference(p.fixed, p.moving, 2 * p.weight)(p.u)  # it is a mean
    assert torch.allclose(twice.value, found.value)
    assert torch.allclose(twice.gradient, found.gradient, rtol=1e-5)
    nothing = FeatureDifference(p.fixed, p.moving, torch.zeros_like(p.weight))(p.u)
    assert float(nothing.value) == 0
    assert torch.equal(nothing.gradient, torch.zeros_like(p.u))


def test_strided_arguments():
    p = problem()
    turned = [part.transpose(-1, -2).contiguous().transpose(-1, -2) for part in p]
    one, other = FeatureDifference(*p[:3])(p.u), FeatureDifference(*turned[:3])(turned[3])
    assert torch.equal(one.value, other.value)
    assert torch.equal(one.gradient, other.gradient)


def test_what_is_not_a_number_stays_in_bounds():
    p = problem()
    p.u[0, 3, 3, 3] = torch.nan
    p.u[1, 2, 2, 2] = torch.inf
    gradient = FeatureDifference(*p[:3])(p.u).gradient
    clean = FeatureDifference(*p[:3])(p.u.nan_to_num(0.0, 1e4)).gradient
    same = torch.ones(7, 6, 5, dtype=torch.bool)
    same[3, 3, 3] = same[2, 2, 2] = False
    assert torch.equal(gradient[:, same], clean[:, same])


_THREADS = """
import numba, torch
from cst_image.feature_difference import FeatureDifference
generator = torch.Generator().manual_seed(0)
fixed, moving = (torch.randn(8, 13, 11, 9, generator=generator) for _ in range(2))
weight, u = torch.rand(13, 11, 9, generator=generator), torch.randn(3, 13, 11, 9, generator=generator)
difference = FeatureDifference(fixed, moving, weight)
found = []
for threads in (1, 2, 3, 3, 2):
    numba.set_num_threads(threads)
    found.append(difference(u))
assert all(torch.equal(one.value, found[0].value) for one in found)
assert all(torch.equal(one.gradient, found[0].gradient) for one in found)
"""


def test_the_same_bits_on_any_number_of_threads():
    environment = os.environ | {"NUMBA_NUM_THREADS": "3", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", _THREADS], env=environment, check=True)
