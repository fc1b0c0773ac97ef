"""Eq. 2 by hand, and its gradient."""

import math

import pytest
import torch

from cst_core.loss import difficulty, field_error, mean_euclidean_error


def test_the_loss_is_the_mean_length_of_the_difference():
    label = torch.zeros(3, 2)
    predicted = torch.tensor([[3.0, 0.0], [4.0, 0.0], [0.0, 2.0]])
    assert mean_euclidean_error(predicted, label) == pytest.approx((5.0 + 2.0) / 2)


def test_it_is_euclidean_over_components_and_a_mean_over_sites_of_any_shape():
    difference = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = sum(math.sqrt(float((site**2).sum())) for site in difference.flatten(1).T) / 120
    assert mean_euclidean_error(difference, torch.zeros_like(difference)) == pytest.approx(expected)
    assert mean_euclidean_error(difference.flatten(1), torch.zeros(3, 120).double()) == pytest.approx(expected)


def test_the_gradient_is_right_and_zero_where_the_two_agree():
    predicted = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    label = torch.zeros_like(predicted)
    assert torch.autograd.gradcheck(mean_euclidean_error, (predicted, label))
    agreeing = torch.ones(3, 4, requires_grad=True)
    mean_euclidean_error(agreeing, torch.ones(3, 4)).backward()
    assert agreeing.grad is not None
    assert torch.equal(agreeing.grad, torch.zeros(3, 4))


def test_fields_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"got \(3, 4\) and \(3, 1\)"):
        mean_euclidean_error(torch.zeros(3, 4), torch.zeros(3, 1))


def test_difficulty_is_the_mean_change_in_single_precision():
    predicted = torch.full((3, 4), 300.0, dtype=torch.float16)
    refined = torch.full((3, 4), 400.0, dtype=torch.float16)
    value = difficulty(predicted, refined)
    assert isinstance(value, float)
    assert value == pytest.approx(100.0 * math.sqrt(3.0))


def test_sites_within_the_margin_do_not_count():
    difference = torch.zeros(3, 6, 7, 8)
    difference[0] = 100.0
    difference[0, 2:-2, 2:-2, 2:-2] = 1.0
    label = torch.zeros_like(difference)
    assert field_error(difference, label, margin=2) == pytest.approx(1.0)
    assert float(field_error(difference, label, margin=1)) > 10
    leaf = difference.clone().requires_grad_()
    field_error(leaf, label, margin=2).backward()
    touched = leaf.grad[0] != 0
    assert int(touched.sum()) == 2 * 3 * 4
    assert touched[2:-2, 2:-2, 2:-2].all()


def test_without_a_margin_every_site_counts():
    difference = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(2))
    label = torch.zeros_like(difference)
    assert torch.equal(field_error(difference, label), mean_euclidean_error(difference, label))


def test_a_margin_that_leaves_nothing_is_refused():
    field = torch.zeros(3, 9, 4, 9)
    with pytest.raises(ValueError, match=r"margin must leave .*\(9, 4, 9\).*got 2 at every side"):
        field_error(field, field, margin=2)
    assert field_error(field, field, margin=1) == 0


def test_clouds_have_no_margin():
    cloud = torch.ones(3, 5)
    assert torch.equal(field_error(cloud, torch.zeros(3, 5), margin=8), field_error(cloud, torch.zeros(3, 5)))
