"""Learning rates at the steps where they are known."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cst_core.schedule import cosine, step_decay


def test_cosine_begins_at_the_start_passes_the_middle_and_nears_the_end():
    assert cosine(0, 1000, 1e-3, 1e-5) == pytest.approx(1e-3)
    assert cosine(500, 1000, 1e-3, 1e-5) == pytest.approx((1e-3 + 1e-5) / 2)
    assert cosine(1000, 1000, 1e-3, 1e-5) == pytest.approx(1e-5)


@given(st.integers(1, 2000), st.floats(1e-6, 1.0), st.floats(0.0, 1.0))
@settings(max_examples=50, deadline=None)
def test_cosine_falls_between_its_ends(steps, start, share):
    end = share * start
    rates = [cosine(step, steps, start, end) for step in range(0, steps + 1, max(1, steps // 7))]
    assert all(a >= b - 1e-12 for a, b in pairwise(rates))
    assert all(end - 1e-12 <= rate <= start + 1e-12 for rate in rates)


def test_cosine_is_the_schedule_of_torch():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=1e-5)
    for step in range(50):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(cosine(step, 50, 1e-3, 1e-5))
        optimizer.step()
        schedule.step()


def test_the_paper_drops_at_epochs_40_and_52_of_60():
    steps_per_epoch = 7
    rates = [step_decay(step, 60 * steps_per_epoch, 1e-3, (40 / 60, 52 / 60)) for step in range(60 * steps_per_epoch)]
    by_epoch = [rates[epoch * steps_per_epoch] for epoch in range(60)]
    assert by_epoch == pytest.approx([1e-3] * 40 + [1e-4] * 12 + [1e-5] * 8)
    assert rates[40 * steps_per_epoch - 1] == pytest.approx(1e-3)


def test_without_drops_the_rate_stays():
    assert step_decay(99, 100, 0.5, ()) == 0.5


def test_drops_multiply_by_the_factor_in_any_order():
    assert step_decay(8, 10, 1.0, (0.8, 0.2), factor=0.5) == 0.25
    assert step_decay(7, 10, 1.0, (0.8, 0.2), factor=0.5) == 0.5
