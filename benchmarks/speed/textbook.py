"""The steps of the image backend as a textbook writes them: whole tensors, autograd, library optimisers.

Same results as the backend's own steps up to rounding, which the benchmark checks; plain torch, nothing compiled.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cst_core.field import warp
from cst_image.instance import InstanceSettings

_UNIT = (1.0, 1.0, 1.0)


def warped(volume: Tensor, vectors: Tensor, spacing: Sequence[float]) -> Tensor:
    """By ``grid_sample``: so does `warp` where gradients are wanted, and elsewhere not."""
    with torch.enable_grad():
        return warp(volume, vectors.detach().requires_grad_(), spacing).detach()


def composed(first: Tensor, then: Tensor, spacing: Sequence[float]) -> Tensor:
    """One field, then the other."""
    return first + warped(then, first, spacing)


def box_means(field: Tensor, times: int) -> Tensor:
    """``avg_pool3d`` over the voxels that exist, ``times`` times; ``(C, X, Y, Z)``."""
    for _ in range(times):
        field = functional.avg_pool3d(field, 3, stride=1, padding=1, count_include_pad=False)
    return field


def matching_cost(fixed: Tensor, moving: Tensor, reach: int) -> Tensor:
    """Every shift of ``moving`` copied side by side, then one broadcast difference; ``(K, x, y, z)``."""
    width, shape = 2 * reach + 1, fixed.shape[1:]

    def shifted(volume: Tensor) -> Tensor:
        windows = functional.pad(volume, (reach,) * 6)
        for axis in (1, 2, 3):
            windows = windows.unfold(axis, width, 1)
        return windows.permute(0, 4, 5, 6, 1, 2, 3).reshape(len(volume), width**3, *shape)

    cost = (fixed[:, None] - shifted(moving)).abs().sum(dim=0)
    seen = shifted(torch.ones_like(fixed[:1]))[0]
    neutral = (cost * seen).sum(dim=0) / seen.sum(dim=0)
    return box_means(torch.where(seen > 0, cost, neutral), 1)


def coupled_convex(cost: Tensor, candidates: Tensor, sharpness: float, coupling: Sequence[float]) -> Tensor:
    """With (d - u)^2 of every candidate, site and axis written out; ``(3, x, y, z)``."""
    u = torch.einsum("ka,kxyz->axyz", candidates, (-sharpness * cost).softmax(dim=0))
    for weight in coupling:
        squares = (candidates[:, :, None, None, None] - u).square()
        probability = (-sharpness * (cost + weight * torch.einsum("kaxyz->kxyz", squares))).softmax(dim=0)
        u = box_means(torch.einsum("ka,kxyz->axyz", candidates, probability), 1)
    return u


def difference_gradient(fixed: Tensor, moving: Tensor, u: Tensor) -> Tensor:
    """Gradient in u of the mean squared difference, by autograd through the warp."""
    u = u.detach().requires_grad_()
    with torch.enable_grad():
        value = (warp(moving, u, _UNIT) - fixed).square().mean()
    return torch.autograd.grad(value, u)[0]


def roughness_gradient(field: Tensor, weight: float) -> Tensor:
    """Of the summed mean squared forward differences, by autograd."""
    field = field.detach().requires_grad_()
    with torch.enable_grad():
        rough = torch.stack([field.diff(dim=axis).square().mean() for axis in (1, 2, 3)]).sum()
    return weight * torch.autograd.grad(rough, field)[0]


def divergence_gradient(field: Tensor, weight: float) -> Tensor:
    """Of the mean squared divergence by central differences, by autograd."""
    field = field.detach().requires_grad_()
    inner = (slice(1, -1),) * 3
    with torch.enable_grad():
        parts = [torch.gradient(field[axis], dim=axis)[0][inner] for axis in range(3)]
        squared = torch.stack(parts).sum(0).square().mean()
    return weight * torch.autograd.grad(squared, field)[0]


def inverse(vectors: Tensor, spacing: Sequence[float], most: int, solved: float) -> Tensor:
    """The field v with v(y) + u(y + v(y)) = 0 by fixed-point steps of all voxels, halved where they lead no closer."""
    found, step = torch.zeros_like(vectors), torch.ones_like(vectors[0])
    missing = -vectors
    residual = missing.norm(dim=0)
    for _ in range(most):
        if not bool((residual > solved).any()):
            break
        tried = found + step * missing
        still = -tried - warped(vectors, tried, spacing)
        left = still.norm(dim=0)
        closer = (left < residual) & (residual > solved)
        found, missing = torch.where(closer, tried, found), torch.where(closer, still, missing)
        step, residual = torch.where(closer, step, 0.5 * step), torch.where(closer, left, residual)
    return found


def instance_optimisation(fixed: Tensor, moving: Tensor, start: Tensor, settings: InstanceSettings) -> Tensor:
    """The loss written out, autograd, ``torch.optim.Adam``."""
    parameter = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([parameter], lr=settings.rate)
    for _ in range(settings.steps):
        with torch.enable_grad():
            field = box_means(parameter, settings.smoothing)
            data = (warp(moving, field, _UNIT) - fixed).square().mean()
            rough = torch.stack([field.diff(dim=axis).square().mean() for axis in (1, 2, 3)]).sum()
            loss = settings.data_weight * data + settings.smoothness * rough
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return box_means(parameter.detach(), settings.smoothing)


class Adam:
    """Adam's update as its paper has it, every intermediate a tensor of its own."""

    def __init__(self, parameter: Tensor) -> None:
        self.parameter, self._step = parameter.clone(), 0
        self._first, self._second = torch.zeros_like(parameter), torch.zeros_like(parameter)

    def __call__(self, gradient: Tensor, rate: float) -> Tensor:
        """One step; the new parameter."""
        self._step += 1
        self._first = 0.9 * self._first + 0.1 * gradient
        self._second = 0.999 * self._second + 0.001 * gradient**2
        first, second = self._first / (1 - 0.9**self._step), self._second / (1 - 0.999**self._step)
        self.parameter = self.parameter - rate * first / (second.sqrt() + 1e-8)
        return self.parameter
