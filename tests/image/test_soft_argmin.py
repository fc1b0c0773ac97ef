from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cst_image.correlation import candidate_displacements
from cst_image.coupled_convex import coupled_convex, soft_argmin
from cst_image.soft_argmin import compiled_soft_argmin


def drawn(*shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def expected(logits: Tensor, candidates: Tensor, pull: float, u: Tensor) -> Tensor:
    """As it is written, in double precision."""
    logits, candidates, u = logits.double(), candidates.double(), u.double()
    distances = (candidates[:, :, None] - u).square().sum(dim=1)
    weights = (logits - pull * distances).exp()
    return (candidates.T @ weights) / weights.sum(dim=0)


@pytest.mark.parametrize("pull", [0.0, 0.06, 6.0])
@pytest.mark.parametrize(("reach", "sites"), [(1, 1), (1, 127), (2, 128), (3, 129), (2, 1000)])
def test_as_it_is_written(reach: int, sites: int, pull: float):
    candidates = candidate_displacements(reach, like=torch.zeros(1))
    logits, u = drawn(len(candidates), sites, scale=8.0), drawn(3, sites)
    found = compiled_soft_argmin(logits, candidates, pull, u)
    torch.testing.assert_close(found.double(), expected(logits, candidates, pull, u), rtol=0, atol=1e-5)


def test_candidates_of_any_number_and_length():
    candidates, logits, u = drawn(5, 3, scale=4.0), drawn(5, 300), drawn(3, 300)
    found = compiled_soft_argmin(logits, candidates, 0.5, u)
    torch.testing.assert_close(found.double(), expected(logits, candidates, 0.5, u), rtol=0, atol=1e-5)


@pytest.mark.parametrize("level", [-1e4, 0.0, 1e4])
def test_logits_far_from_zero_and_far_apart(level: float):
    """Neither overflows nor is 0 / 0; what is a thousand less counts nothing."""
    candidates = candidate_displacements(1, like=torch.zeros(1))
    logits = torch.full((27, 130), level - 1000.0)
    logits[22], logits[4] = level, level
    found = compiled_soft_argmin(logits, candidates, 0.0, torch.zeros(3, 130))
    torch.testing.assert_close(found, candidates[[22, 4]].mean(dim=0)[:, None].expand(3, 130))


def test_the_form_with_gradients_gives_the_same_field():
    cost = drawn(125, 7, 6, 9).abs()
    candidates = candidate_displacements(2, like=cost)
    compiled = coupled_convex(cost, candidates)
    by_torch = coupled_convex(cost.clone().requires_grad_(), candidates)
    assert by_torch.requires_grad
    assert not compiled.requires_grad
    torch.testing.assert_close(compiled, by_torch.detach(), rtol=0, atol=1e-5)


def test_arrays_that_are_not_contiguous():
    logits, u = drawn(300, 27).T, drawn(300, 3).T
    candidates = candidate_displacements(1, like=u)
    found = soft_argmin(logits, candidates, 1.0, u)
    torch.testing.assert_close(found.double(), expected(logits, candidates, 1.0, u), rtol=0, atol=1e-5)
