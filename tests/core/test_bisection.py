from __future__ import annotations

import math

import numpy as np
import pytest

from cst_core.bisection import Trial, UnreachableError, broken_order, find_weight


def falling(weight: float) -> float:
    """1 / (1 + w): the value v is had at w = 1 / v - 1."""
    return 1.0 / (1.0 + weight)


def rising(weight: float) -> float:
    return math.log10(weight) + 6.0


@pytest.mark.parametrize("start", [1e-3, 0.65, 1.0, 250.0])
@pytest.mark.parametrize("target", [0.02, 0.5, 0.77, 0.98])
def test_falling(start: float, target: float):
    found = find_weight(falling, target, start, tolerance=1e-3)
    assert found.best.value == pytest.approx(target, rel=1e-3)
    assert found.best == found.trials[-1]
    assert found.broken is None
    assert found.best.value == falling(found.best.weight)


def test_rising_to_a_known_weight():
    found = find_weight(rising, rising(37.0), 1.0, tolerance=1e-5)
    assert found.best.weight == pytest.approx(37.0, rel=1e-3)
    assert found.broken is None


def test_a_start_that_serves_is_the_only_trial():
    found = find_weight(falling, 0.5, 1.01)
    assert found.trials == (Trial(1.01, falling(1.01)),)


def test_bisection_halves_the_logarithm():
    weights = [trial.weight for trial in find_weight(rising, rising(3.0), 1.0, tolerance=1e-9, decades=1).trials[:4]]
    assert weights == [1.0, 10.0, 3.162, 1.778]


def test_weights_can_be_typed():
    for trial in find_weight(falling, 0.123, 0.65, tolerance=1e-3).trials:
        assert float(f"{trial.weight:g}") == trial.weight


@pytest.mark.parametrize(("target", "low", "high"), [(2.0, "1e-05", "10"), (1e-7, "1", "100000")])
def test_unreachable_names_what_was_had(target: float, low: str, high: str):
    with pytest.raises(UnreachableError, match=r"cannot be reached.*choose a target within") as said:
        find_weight(falling, target, 1.0)
    assert f"weights from {low} to {high} gave from" in str(said.value)
    assert len(str(said.value).splitlines()) == 1


def test_it_does_not_go_the_wrong_way():
    tried = []
    with pytest.raises(UnreachableError):
        find_weight(lambda w: tried.append(w) or falling(w), 2.0, 1.0)
    assert tried == [1.0, 10.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5]


def test_flat():
    tried = []
    with pytest.raises(UnreachableError, match=r"all gave 0\.3; what the weight acts on is switched off"):
        find_weight(lambda w: tried.append(w) or 0.3, 0.2, 1.0, decades=2)
    assert sorted(tried) == [0.01, 0.1, 1.0, 10.0, 100.0]  # on both sides


def test_flat_at_first():
    found = find_weight(lambda w: max(1.0, w / 1000.0), 5.0, 1.0, tolerance=1e-3)
    assert found.best.weight == pytest.approx(5000.0, rel=1e-3)


def test_not_monotone_is_said_and_a_weight_is_found():
    def bumpy(weight: float) -> float:
        return float(np.interp(math.log10(weight), [0, 1, 2, 3], [1.0, 1.5, 1.2, 3.0]))

    found = find_weight(bumpy, 2.0, 1.0, tolerance=1e-3)
    assert math.log10(found.best.weight) == pytest.approx(2 + 0.8 / 1.8, abs=1e-3)
    assert found.broken == "weight 10 gave 1.5 and 100 gave 1.2, against the trend from 1 to 3"


def test_the_bottom_of_a_valley_is_not_found_but_hinted_at():
    tried = []
    with pytest.raises(UnreachableError, match=r"cannot be reached.*not monotone \(weight 1 .*weights between may"):
        find_weight(lambda w: tried.append(w) or 0.1 + math.log10(w / 3.0) ** 2, 0.2, 0.1)
    assert len(tried) == 11  # both ways


def test_a_jump():
    with pytest.raises(UnreachableError, match=r"jump from 1 \(weight 4\.\d+\) to 0\.1"):
        find_weight(lambda w: 1.0 if w < 5.0 else 0.1, 0.5, 1.0)


def test_no_number():
    with pytest.raises(UnreachableError, match="weight 10: gave nan"):
        find_weight(lambda w: 1.0 if w < 5.0 else math.nan, 0.5, 1.0)


@pytest.mark.parametrize(("target", "start", "tolerance"), [(0.0, 1.0, 0.1), (1.0, 0.0, 0.1), (1.0, 1.0, math.nan)])
def test_arguments(target: float, start: float, tolerance: float):
    with pytest.raises(ValueError, match="must be positive and finite"):
        find_weight(falling, target, start, tolerance)


def test_order():
    assert broken_order([Trial(3, 0.3), Trial(1, 0.5), Trial(2, 0.4)]) is None
    assert broken_order([Trial(1, 0.5), Trial(2, 0.5), Trial(3, 0.5)]) is None
    assert broken_order([Trial(1, 0.500), Trial(2, 0.501), Trial(3, 0.3)]) is None  # noise
    said = broken_order([Trial(1, 0.5), Trial(2, 0.6), Trial(3, 0.3)])
    assert said == "weight 1 gave 0.5 and 2 gave 0.6, against the trend from 0.5 to 0.3"
