"""Forward-backward consistency on fields whose answer is known."""

import pytest
import torch
from torch import Tensor

from cst_core.field import positions, warp
from cst_image.consistency import make_consistent

SHAPE, SPACING = (14, 12, 10), (1.0, 1.5, 2.0)
CORE = (slice(None), *[slice(4, -4)] * 3)


def linear(matrix: Tensor, offset: Tensor) -> Tensor:
    """x -> matrix x + offset about the middle; mm."""
    x = positions(SHAPE, SPACING, torch.float64)
    middle = x.flatten(1).mean(1)[:, None, None, None]
    return torch.einsum("ab,b...->a...", matrix, x - middle) + offset[:, None, None, None]


def constant(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None, None, None].expand(3, *SHAPE).contiguous()


def residual(forward: Tensor, backward: Tensor) -> Tensor:
    return forward + warp(backward, forward, SPACING)


def test_translations_become_the_mean_of_both():
    forward, backward = make_consistent(constant(3.0, 1.0, -2.0), constant(-1.0, 1.0, 0.0), SPACING)
    assert torch.allclose(forward, constant(2.0, 0.0, -1.0))
    assert torch.allclose(backward, -forward)


def test_what_both_disagree_on_is_halved_at_every_iteration():
    u, v = constant(3.0, 1.0, -2.0), constant(-1.0, 1.0, 0.0)
    assert torch.equal(make_consistent(u, v, SPACING, 0)[0], u)
    once, back = make_consistent(u, v, SPACING, 1)
    assert torch.allclose(once, (u - v) / 2)
    assert torch.allclose(back, (v - u) / 2)


@pytest.mark.parametrize("exchanged", [False, True])
def test_linear_fields_become_each_others_inverse(exchanged):
    generator = torch.Generator().manual_seed(0)
    fields = [
        linear(0.08 * torch.randn(3, 3, generator=generator, dtype=torch.float64), torch.tensor(shift).double())
        for shift in ([1.0, -0.5, 0.5], [-0.5, 1.0, 0.0])
    ]
    forward, backward = make_consistent(*(reversed(fields) if exchanged else fields), SPACING)
    assert residual(*fields)[CORE].abs().max() > 1
    assert residual(forward, backward)[CORE].abs().max() < 1e-3
    assert residual(backward, forward)[CORE].abs().max() < 1e-3
    assert (forward - fields[exchanged]).abs().max() > 0.2  # both have moved
    assert (backward - fields[not exchanged]).abs().max() > 0.2


def test_both_are_updated_from_the_old_pair():
    """Exchanging the two exchanges the results; in a sequential update the first one would be favoured."""
    generator = torch.Generator().manual_seed(1)
    u, v = (0.7 * torch.randn(3, *SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))
    for iterations in (1, 2, 15):
        forward, backward = make_consistent(u, v, SPACING, iterations)
        swapped = make_consistent(v, u, SPACING, iterations)
        assert torch.equal(forward, swapped[1])
        assert torch.equal(backward, swapped[0])
    once = make_consistent(u, v, SPACING, 1)
    assert torch.equal(once[0], 0.5 * (u - warp(v, u, SPACING)))
    assert torch.equal(once[1], 0.5 * (v - warp(u, v, SPACING)))
    sequential = 0.5 * (v - warp(once[0], v, SPACING))
    assert not torch.allclose(once[1], sequential, atol=0.05)


def test_a_consistent_pair_stays():
    u = constant(1.0, -1.5, 2.0)
    forward, backward = make_consistent(u, -u, SPACING)
    assert torch.equal(forward, u)
    assert torch.equal(backward, -u)
