"""h: coupled convex optimisation (Heinrich et al., MICCAI 2014; Sec. 3): soft matching and smoothing in turn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from cst_image.lattice import box_means, double, is_float32_on_cpu, lattice_shape
from cst_image.soft_argmin import compiled_soft_argmin


def coupled_convex(
    cost: Float[Tensor, "K x y z"],
    candidates: Float[Tensor, "K 3"],
    sharpness: float = 20.0,
    coupling: Sequence[float] = (0.003, 0.03, 0.3),
) -> Float[Tensor, "3 x y z"]:
    """The field that trades matching cost for smoothness, in the units of ``candidates``; differentiable in ``cost``.

    A soft-argmin over the candidates d, then for every weight c of ``coupling``: add c |d - u|^2 to the cost, take the
    soft-argmin again and the 3-box mean of what it gives.
    """
    logits = (-sharpness * cost).flatten(1)
    u = soft_argmin(logits, candidates, 0.0, logits.new_zeros(3, logits.shape[1]))
    for weight in coupling:
        u = soft_argmin(logits, candidates, sharpness * weight, u)
        u = box_means(u.reshape(3, *cost.shape[1:])).flatten(1)
    return u.reshape(3, *cost.shape[1:])


def soft_argmin(
    logits: Float[Tensor, "K N"], candidates: Float[Tensor, "K 3"], pull: float, u: Float[Tensor, "3 N"]
) -> Float[Tensor, "3 N"]:
    """Every site's mean of the candidates d, weighted by exp(logit - pull |d - u|^2); differentiable.

    |u|^2 is the same for all d: the softmax does not see it. Compiled on the CPU where no gradient is wanted.
    """
    if is_float32_on_cpu(logits) and not (torch.is_grad_enabled() and logits.requires_grad):
        return compiled_soft_argmin(logits, candidates, pull, u)
    if pull:
        lengths = candidates.square().sum(dim=1, keepdim=True).expand(-1, u.shape[1])
        logits = logits - pull * torch.addmm(lengths, candidates, u, alpha=-2.0)
    return candidates.T @ logits.softmax(dim=0)


def upsampled(
    field: Float[Tensor, "3 x y z"], shape: Sequence[int], stride: int, to_stride: int, smoothing: int = 2
) -> Float[Tensor, "3 X Y Z"]:
    """A field on the lattice of ``stride`` on that of ``to_stride``, doubled and smoothed in turn (published code).

    ``shape``: of the volume, voxels. The values' unit stays as it is.
    """
    while stride > to_stride:
        stride //= 2
        field = box_means(double(field, lattice_shape(shape, stride)), smoothing)
    return field
