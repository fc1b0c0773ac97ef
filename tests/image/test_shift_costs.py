from __future__ import annotations

import pytest
import torch

from cst_image.correlation import candidate_displacements, matching_cost, shift_costs
from cst_image.shift_costs import compiled_shift_costs

CASES = [((3, 6, 5, 7), 1), ((16, 4, 9, 6), 2), ((1, 2, 3, 2), 3), ((2, 1, 1, 5), 2)]


def features(shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def mask_of(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(shape[1:], generator=torch.Generator().manual_seed(1)) > 0.4


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("shape", "reach"), CASES)
def test_as_torch_in_double_precision(shape: tuple[int, ...], reach: int, masked: bool):
    fixed, moving = features(shape)
    mask = mask_of(shape) if masked else None
    found = compiled_shift_costs(fixed, moving, reach, mask)
    expected = shift_costs(fixed.double(), moving.double(), reach, mask)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_one_site_by_hand():
    fixed, moving = features((4, 5, 5, 5))
    found = compiled_shift_costs(fixed, moving, 1, None)
    site = torch.tensor([2, 0, 4])
    costs, outside = {}, []
    for k, d in enumerate(candidate_displacements(1, like=fixed)):
        there = (site + d).long()
        if (there < 0).any() or (there > 4).any():
            outside.append(k)
        else:
            costs[k] = float((fixed[:, 2, 0, 4] - moving[:, *there]).abs().sum())
    assert len(outside) == 27 - 3 * 2 * 2
    for k in range(27):
        expected = costs.get(k, sum(costs.values()) / len(costs))
        assert float(found[k, 2, 0, 4]) == pytest.approx(expected, rel=1e-5)


def test_nothing_seen_costs_nothing():
    fixed, moving = features((2, 3, 3, 3))
    assert not compiled_shift_costs(fixed, moving, 1, torch.zeros(3, 3, 3, dtype=torch.bool)).any()


def test_layout_does_not_matter_and_gradients_take_the_other_way():
    fixed, moving = (f.permute(3, 0, 1, 2) for f in features((4, 5, 6, 3)))
    inference = matching_cost(fixed, moving, 1)
    trained = matching_cost(fixed.clone().requires_grad_(), moving, 1)
    assert trained.requires_grad
    torch.testing.assert_close(inference, trained.detach(), rtol=1e-5, atol=1e-5)
