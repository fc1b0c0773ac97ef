"""The strength at which a method's fields are as regular as asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.peers.tools import Knob

TOLERANCE = 0.05
"""Relative, of the target."""
MOST = 12
"""Evaluations."""
_STEP = 3.0  # factor between strengths while the target is not enclosed yet


class Matched(NamedTuple):
    """What was found."""

    strength: float
    """The one tried that came nearest."""
    reached: bool
    """Whether it is within the tolerance."""
    tried: list[tuple[float, float]]
    """Strengths and the figures they gave, in order."""


def match(figure: Callable[[float], float], target: float, knob: Knob) -> Matched:
    """Bisect the logarithm of the strength; ``figure`` falls where the strength grows (SDlogJ of smoother fields).

    From the knob's default outwards until the target is enclosed or the knob's end is reached.
    """
    tried: list[tuple[float, float]] = []

    def gap(strength: float) -> float:
        tried.append((strength, figure(strength)))
        return tried[-1][1] - target

    def done() -> bool:
        return abs(tried[-1][1] - target) <= TOLERANCE * target or len(tried) >= MOST

    here, excess = knob.default, gap(knob.default)
    rough, smooth = (here, None) if excess > 0 else (None, here)
    while not done():
        if rough is None or smooth is None:
            factor = _STEP if smooth is None else 1.0 / _STEP
            following = min(max(here * factor, knob.low), knob.high)
            if following == here:
                break
            here = following
        else:
            here = math.sqrt(rough * smooth)
        if gap(here) > 0:
            rough = here
        else:
            smooth = here
    strength, nearest = min(tried, key=lambda pair: abs(pair[1] - target))
    return Matched(strength, abs(nearest - target) <= TOLERANCE * target, tried)
