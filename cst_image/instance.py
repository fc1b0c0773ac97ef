"""Adam instance optimisation (Sec. 3): the field of one pair, refined on its own features."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cst_image.divergence import add_divergence_gradient
from cst_image.feature_difference import FeatureDifference
from cst_image.lattice import box_means, box_means_adjoint
from cst_image.roughness import add_roughness_gradient

_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8  # Adam's own constants


class InstanceSettings(NamedTuple):
    """What is minimised, and how; the constants of Sec. 3 and the published code by default."""

    steps: int = 50
    rate: float = 1.0
    """Learning rate, voxels."""
    data_weight: float = 12.0
    smoothness: float = 0.65
    smoothing: int = 3
    """3-box means of the parameters that make the field."""
    divergence: float = 0.0
    """Weight of the mean squared divergence; not in the paper."""


def instance_optimisation(
    fixed: Float[Tensor, "C X Y Z"],
    moving: Float[Tensor, "C X Y Z"],
    start: Float[Tensor, "3 X Y Z"],
    weight: Float[Tensor, "X Y Z"],
    settings: InstanceSettings | None = None,
) -> Float[Tensor, "3 X Y Z"]:
    """The field u, in voxels, that minimises, from ``start``,

        data_weight * mean |moving(x + u(x)) - fixed(x)|^2 + smoothness * sum over axes of mean |forward difference|^2
        + divergence * mean (div u)^2

    u is the smoothed parameter, so that it is smooth whatever the gradient is. ``weight``: see `FeatureDifference`.
    """
    settings = settings or InstanceSettings()
    difference = FeatureDifference(fixed, moving, weight)
    parameter = start.clone()
    first, second = torch.zeros_like(parameter), torch.zeros_like(parameter)
    for step in range(1, settings.steps + 1):
        # 1. the field and the gradient of the loss in it
        field = box_means(parameter, settings.smoothing)
        gradient = difference(field).gradient.mul_(settings.data_weight)
        add_roughness_gradient(gradient, field, settings.smoothness)
        add_divergence_gradient(gradient, field, settings.divergence)
        # 2. in the parameter, and Adam
        gradient = box_means_adjoint(gradient, settings.smoothing)
        adam_step(parameter, gradient, first, second, step, settings.rate)
    return box_means(parameter, settings.smoothing)


def adam_step(parameter: Tensor, gradient: Tensor, first: Tensor, second: Tensor, step: int, rate: float) -> None:
    """Adam's update of ``parameter`` and its two moments, in place; ``step`` counts from 1."""
    first.lerp_(gradient, 1.0 - _FIRST)
    second.mul_(_SECOND).addcmul_(gradient, gradient, value=1.0 - _SECOND)
    spread = (second / (1.0 - _SECOND**step)).sqrt_().add_(_EPSILON)
    parameter.addcdiv_(first, spread, value=-rate / (1.0 - _FIRST**step))
