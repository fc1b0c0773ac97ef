"""Forward-backward consistency (Sec. 3): two fields made each other's inverse."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from cst_core.field import warp


def make_consistent(
    forward: Float[Tensor, "3 X Y Z"],
    backward: Float[Tensor, "3 X Y Z"],
    spacing: Sequence[float],
    iterations: int = 15,
) -> tuple[Float[Tensor, "3 X Y Z"], Float[Tensor, "3 X Y Z"]]:
    """u <- (u - v∘(id + u)) / 2 and v <- (v - u∘(id + v)) / 2, both from the old pair; mm in, mm out.

    At the fixed point v∘(id + u) = -u: what the two disagree on is halved at every iteration.
    """
    for _ in range(iterations):
        forward, backward = (
            0.5 * (forward - warp(backward, forward, spacing)),
            0.5 * (backward - warp(forward, backward, spacing)),
        )
    return forward, backward
