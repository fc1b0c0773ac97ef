"""Random smooth displacement fields."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Generator, Tensor


def draw_smooth_field(shape: Sequence[int], grain: Sequence[float], generator: Generator) -> Float[Tensor, "3 X Y Z"]:
    """White noise under a Gaussian of ``grain`` sites along each axis; every component of unit deviation everywhere.

    Also at the border, where the Gaussian is cut off. Neighbouring sites then differ by about 1 / (sqrt(2) grain).
    ``generator`` on the CPU, as the result.
    """
    field = torch.randn(3, *shape, generator=generator)
    for axis, (sites, width) in enumerate(zip(shape, grain, strict=True), start=1):
        at = torch.arange(sites)
        weights = (-0.5 * ((at[:, None] - at) / width) ** 2).exp()
        weights /= torch.linalg.vector_norm(weights, dim=1, keepdim=True)
        field = (field.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    return field
