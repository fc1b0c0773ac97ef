"""h: coupled convex optimisation (Heinrich et al., MICCAI 2014; Sec. 3): soft matching and smoothing in turn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from cst_image.lattice import box_means, double, lattice_shape


def coupled_convex(
    cost: Float[Tensor, "K x y z"],
    candidates: Float[Tensor, "K 3"],
    sharpness: float = 20.0,
    coupling: Sequence[float] = (0.003, 0.03, 0.3),
) -> Float[Tensor, "3 x y z"]:
    """The field that trades matching cost for smoothness, in the units of ``candidates``; differentiable in ``cost``.

    A soft-argmin over the candidates d, then for every weight c of ``coupling``: add c |d - u|^2 to the cost, take the
    soft-argmin again and the 3-box mean of what it gives. |u|^2 is the same for all d: the softmax does not see it.
    """
    flat = (-sharpness * cost).flatten(1)
    lengths = candidates.square().sum(dim=1, keepdim=True)
    u = candidates.T @ flat.softmax(dim=0)
    for weight in coupling:
        pull = torch.addmm(lengths.expand(-1, flat.shape[1]), candidates, u, alpha=-2.0)
        u = candidates.T @ (flat - sharpness * weight * pull).softmax(dim=0)
        u = box_means(u.reshape(3, *cost.shape[1:])).flatten(1)
    return u.reshape(3, *cost.shape[1:])


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
