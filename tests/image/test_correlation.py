"""The matching cost: the naive loop's, its gradient, and nothing that padding could invent."""

import itertools

import pytest
import torch
from torch import Tensor

from cst_image.correlation import candidate_displacements, matching_cost
from cst_image.coupled_convex import coupled_convex
from cst_image.lattice import box_means

SHAPE = (4, 5, 3)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inside(site: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return all(0 <= i < n for i, n in zip(site, shape, strict=True))


def naive(
    fixed: Tensor, moving: Tensor, reach: int, fixed_mask: Tensor | None = None, moving_mask: Tensor | None = None
) -> Tensor:
    """One site and one candidate at a time."""
    shape = tuple(fixed.shape[1:])
    steps = list(itertools.product(range(-reach, reach + 1), repeat=3))
    cost = fixed.new_zeros(len(steps), *shape)
    for site in itertools.product(*map(range, shape)):
        seen: dict[int, Tensor] = {}
        for k, step in enumerate(steps):
            there = tuple(i + d for i, d in zip(site, step, strict=True))
            if inside(there, shape) and (moving_mask is None or moving_mask[there]):
                seen[k] = (fixed[:, *site] - moving[:, *there]).abs().sum()
        neutral = sum(seen.values(), fixed.new_zeros(())) / max(1, len(seen))
        for k in range(len(steps)):
            counts = fixed_mask is None or bool(fixed_mask[site])
            cost[(k, *site)] = seen.get(k, neutral) if counts else 0.0
    return box_means(cost)  # its own test holds it against the textbook


def mask(seed: int) -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed)) < 0.6


@pytest.mark.parametrize("reach", [1, 2])
@pytest.mark.parametrize("masks", [(None, None), (mask(0), None), (None, mask(1)), (mask(0), mask(1))])
def test_equals_the_naive_loop(reach, masks):
    fixed, moving = random(1, 6, *SHAPE), random(2, 6, *SHAPE)
    expected = naive(fixed, moving, reach, *masks)
    assert torch.allclose(matching_cost(fixed, moving, reach, *masks), expected, rtol=0, atol=1e-12)
    single = matching_cost(fixed.float(), moving.float(), reach, *masks)
    assert torch.allclose(single.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 2, 3), (2, 2, 2), (1, 1, 1)])
def test_lattices_smaller_than_the_reach(shape):
    fixed, moving = random(1, 2, *shape), random(2, 2, *shape)
    assert torch.allclose(matching_cost(fixed, moving, 4), naive(fixed, moving, 4), rtol=0, atol=1e-12)


@pytest.mark.parametrize("masks", [(None, None), (mask(0), mask(1))])
def test_gradcheck(masks):
    fixed, moving = random(3, 1, 2, 3, 1).requires_grad_(), random(4, 1, 2, 3, 1).requires_grad_()
    masks = [part if part is None else part[:2, :3, :1] for part in masks]
    assert torch.autograd.gradcheck(lambda f, m: matching_cost(f, m, 1, *masks), (fixed, moving), fast_mode=True)


def test_gradient_of_the_naive_loop():
    leaves = [(random(3, 2, *SHAPE).requires_grad_(), random(4, 2, *SHAPE).requires_grad_()) for _ in range(2)]
    weight = random(5, 27, *SHAPE)
    for run, (fixed, moving) in zip((matching_cost, naive), leaves, strict=True):
        (run(fixed, moving, 1, mask(0), mask(1)) * weight).sum().backward()
    for ours, theirs in zip(*leaves, strict=True):
        assert theirs.grad.abs().max() > 0.1
        assert torch.allclose(ours.grad, theirs.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("reach", [1, 2])
def test_candidates_come_in_the_order_of_costs(reach):
    candidates = candidate_displacements(reach, like=random(0, 1))
    assert candidates.shape == ((2 * reach + 1) ** 3, 3)
    assert candidates.dtype == torch.float64
    assert candidates.tolist() == [list(d) for d in itertools.product(range(-reach, reach + 1), repeat=3)]
    fixed = random(6, 3, 9, 9, 9)
    for step in ((1, 0, 0), (0, -1, 0), (0, 0, 1), (1, -1, 0)):
        moving = fixed.roll(step, (1, 2, 3))  # moving(x + step) = fixed(x)
        best = matching_cost(fixed, moving, reach)[:, 4, 4, 4].argmin()
        assert candidates[best].tolist() == list(step)


def test_a_constant_background_beyond_the_border_attracts_nothing():
    """An object touches the border; what is not there must not look like the background that it stands in."""
    fixed, moving = torch.zeros(1, 8, 8, 8), torch.zeros(1, 8, 8, 8)
    fixed[:, :3] = 1.0  # touches the face x = 0
    moving[:, :3] = 1.0
    fixed[:, 0] = 0.0  # of a colour that only lies outside
    cost = matching_cost(fixed, moving, 2)
    candidates = candidate_displacements(2, like=fixed)
    outwards = candidates[:, 0] == -2
    first = torch.stack([cost[k, 0, 4, 4] for k in outwards.nonzero().flatten()])
    assert torch.allclose(first, first.mean().expand_as(first), atol=1e-6)
    assert float(first.min()) >= float(cost[:, 0, 4, 4].min()) + 0.1
    # a volume without anything: no candidate is better than another, border or not
    flat = matching_cost(torch.full((2, 5, 5, 5), 3.0), torch.full((2, 5, 5, 5), 3.0), 2)
    assert torch.equal(flat, torch.zeros_like(flat))
    unlike = matching_cost(torch.full((2, 5, 5, 5), 3.0), torch.full((2, 5, 5, 5), 1.0), 2)
    assert torch.allclose(unlike, torch.full_like(unlike, 4.0))  # zero padding would prefer to stay, or to leave
    assert coupled_convex(unlike, candidate_displacements(2, like=unlike)).abs().max() < 1e-5


def test_masked_moving_sites_attract_nothing():
    fixed = torch.zeros(1, 9, 9, 9)
    moving = torch.full((1, 9, 9, 9), 1.0)
    moving[:, 6:] = 0.0  # padding, that looks just as the fixed one
    seen = torch.ones(9, 9, 9, dtype=torch.bool)
    seen[6:] = False
    candidates = candidate_displacements(2, like=fixed)
    lured = coupled_convex(matching_cost(fixed, moving, 2), candidates)
    calm = coupled_convex(matching_cost(fixed, moving, 2, None, seen), candidates)
    assert float(lured[0, 4, 4, 4]) > 0.5
    assert calm.abs().max() < 1e-5


def test_what_lies_outside_the_fixed_mask_does_not_count():
    moving = random(7, 4, 9, 9, 9).float()
    fixed = moving.roll(-1, 1)  # u = +1 along x
    spoiled, seen = fixed.clone(), torch.ones(9, 9, 9, dtype=torch.bool)
    seen[3:6, 3:6, 3:6] = False
    spoiled[:, ~seen] = moving.roll(1, 1)[:, ~seen]  # says -1
    candidates = candidate_displacements(2, like=fixed)
    other = spoiled.clone()
    other[:, ~seen] = 100.0
    one, two = (matching_cost(values, moving, 2, seen) for values in (spoiled, other))
    assert torch.equal(one, two)
    assert float(coupled_convex(one, candidates)[0, 4, 4, 3]) > 0.9
    trusting = coupled_convex(matching_cost(spoiled, moving, 2), candidates)
    assert float(trusting[0, 4, 4, 4]) < float(coupled_convex(one, candidates)[0, 4, 4, 4]) - 0.3
