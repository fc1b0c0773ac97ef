"""The matching cost of every site at every candidate displacement (Sec. 3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from cst_image.lattice import box_means, is_float32_on_cpu
from cst_image.shift_costs import compiled_shift_costs


class Shift(NamedTuple):
    """Where a candidate displacement meets the other lattice: ``fixed[inside]`` goes to ``moving[there]``."""

    inside: tuple[slice, slice, slice]
    there: tuple[slice, slice, slice]


def candidate_displacements(reach: int, like: Tensor) -> Float[Tensor, "K 3"]:
    """All (2 reach + 1)^3 displacements of up to ``reach`` sites along each axis, in lattice voxels."""
    steps = torch.arange(-reach, reach + 1, dtype=like.dtype, device=like.device)
    return torch.cartesian_prod(steps, steps, steps)


def matching_cost(
    fixed: Float[Tensor, "C x y z"],
    moving: Float[Tensor, "C x y z"],
    reach: int,
    fixed_mask: Bool[Tensor, "x y z"] | None = None,
    moving_mask: Bool[Tensor, "x y z"] | None = None,
) -> Float[Tensor, "K x y z"]:
    """Sum over channels of |fixed(x) - moving(x + d)|, for every candidate d, then the 3-box mean over space.

    A candidate that leads out of the moving lattice, or out of its mask, costs the mean of the site's other candidates:
    it is neither a match nor a mismatch. A site outside the fixed mask costs nothing anywhere, so that the solver takes
    it along with its neighbours.
    """
    differentiable = torch.is_grad_enabled() and (fixed.requires_grad or moving.requires_grad)
    if is_float32_on_cpu(fixed) and is_float32_on_cpu(moving) and not differentiable:
        cost = compiled_shift_costs(fixed, moving, reach, moving_mask)
    else:
        cost = shift_costs(fixed, moving, reach, moving_mask)
    if fixed_mask is not None:
        cost = cost * fixed_mask
    return box_means(cost)


def shift_costs(
    fixed: Float[Tensor, "C x y z"],
    moving: Float[Tensor, "C x y z"],
    reach: int,
    moving_mask: Bool[Tensor, "x y z"] | None = None,
) -> Float[Tensor, "K x y z"]:
    """`matching_cost` before masking and smoothing; differentiable, any dtype and device."""
    cost = _Correlation.apply(fixed, moving, reach)
    seen = _visible(fixed.shape[1:], reach, moving_mask, fixed.device)
    count = seen.sum(dim=0)
    neutral = (cost * seen).sum(dim=0) / count.clamp(min=1)
    return torch.where(seen, cost, neutral)


def shifts(shape: torch.Size, reach: int) -> Iterator[Shift]:
    """One a candidate, in the order of `candidate_displacements`."""
    axes = [[_overlap(n, step) for step in range(-reach, reach + 1)] for n in shape]
    for x in axes[0]:
        for y in axes[1]:
            for z in axes[2]:
                yield Shift((x[0], y[0], z[0]), (x[1], y[1], z[1]))


def _overlap(n: int, step: int) -> tuple[slice, slice]:
    """Along one axis; both empty where ``step`` leads from every site out of the lattice."""
    length = max(0, n - abs(step))
    first, second = max(0, -step), max(0, step)
    return slice(first, first + length), slice(second, second + length)


def _visible(shape: torch.Size, reach: int, mask: Tensor | None, device: torch.device) -> Bool[Tensor, "K x y z"]:
    """Whether a candidate leads to a site of the moving lattice that shows something."""
    there = torch.ones(*shape, dtype=torch.bool, device=device) if mask is None else mask
    width = 2 * reach + 1
    padded = functional.pad(there, (reach,) * 6)
    windows = padded.unfold(0, width, 1).unfold(1, width, 1).unfold(2, width, 1)
    return windows.permute(3, 4, 5, 0, 1, 2).reshape(width**3, *shape)


class _Correlation(torch.autograd.Function):
    """The sum of absolute differences, one candidate at a time: nothing of size C x K x sites is ever stored."""

    @staticmethod
    def forward(ctx: Any, fixed: Tensor, moving: Tensor, reach: int) -> Tensor:
        ctx.save_for_backward(fixed, moving)
        ctx.reach = reach
        cost = fixed.new_zeros((2 * reach + 1) ** 3, *fixed.shape[1:])
        for out, (inside, there) in zip(cost, shifts(fixed.shape[1:], reach), strict=True):
            out[inside] = (fixed[:, *inside] - moving[:, *there]).abs_().sum(dim=0)
        return cost

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        fixed, moving = ctx.saved_tensors
        to_fixed, to_moving = torch.zeros_like(fixed), torch.zeros_like(moving)
        for gradient, (inside, there) in zip(gradients[0], shifts(fixed.shape[1:], ctx.reach), strict=True):
            sign = (fixed[:, *inside] - moving[:, *there]).sign_().mul_(gradient[inside])
            to_fixed[:, *inside] += sign
            to_moving[:, *there] -= sign
        return to_fixed, to_moving, None
