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
_STEP = 3.0  # first factor between strengths while the target is not enclosed yet; each further one is its square


class Matched(NamedTuple):
    """What was found."""

    strength: float
    """The one tried that came nearest; the knob's default where the target is out of reach and none comes nearer by
    more than the tolerance."""
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

    here, excess, step = knob.default, gap(knob.default), _STEP
    rough, smooth = (here, None) if excess > 0 else (None, here)
    while not done():
        if rough is None or smooth is None:
            factor = step if smooth is None else 1.0 / step
            following, step = min(max(here * factor, knob.low), knob.high), step * step
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
    reached = abs(nearest - target) <= TOLERANCE * target
    if not reached and abs(tried[0][1] - nearest) <= TOLERANCE * target:
        strength = knob.default
    return Matched(strength, reached, tried)
