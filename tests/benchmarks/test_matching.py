"""Bisection against figures whose inverse is known."""

import math

import pytest

from benchmarks.peers.matching import MOST, TOLERANCE, match
from benchmarks.peers.tools import Knob

KNOB = Knob("k", 1.0, 0.01, 100.0)


@pytest.mark.parametrize("at", [0.013, 0.3, 1.0, 7.0, 90.0])
def test_the_strength_is_found(at: float) -> None:
    found = match(lambda strength: 1.0 / (1.0 + strength), 1.0 / (1.0 + at), KNOB)
    assert found.reached
    assert abs(1.0 / (1.0 + found.strength) * (1.0 + at) - 1.0) <= TOLERANCE
    assert len(found.tried) <= MOST
    assert len({strength for strength, _ in found.tried}) == len(found.tried)


@pytest.mark.parametrize(("target", "end"), [(2.0, 0.01), (1e-9, 100.0)])
def test_what_cannot_be_reached_is_said(target: float, end: float) -> None:
    found = match(lambda strength: 1.0 / (1.0 + strength), target, KNOB)
    assert not found.reached
    assert found.strength == end


def test_where_nothing_comes_nearer_the_default_is_kept() -> None:
    """A knob that hardly turns: its end is reached after three steps."""
    found = match(lambda strength: 1.0 - 1e-3 * strength, 2.0, KNOB)
    assert not found.reached
    assert found.strength == KNOB.default
    assert [strength for strength, _ in found.tried] == pytest.approx([1.0, 1 / 3, 1 / 27, 0.01])


def test_a_method_that_fails_where_it_is_rough_is_made_smoother() -> None:
    found = match(lambda strength: math.inf if strength < 5 else 1.0 / strength, 0.1, KNOB)
    assert found.reached
    assert found.strength == pytest.approx(10.0, rel=TOLERANCE + 0.01)
