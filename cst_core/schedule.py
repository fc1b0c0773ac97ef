"""Learning rates within a stage; every stage starts again from the top (Sec. 2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence


def cosine(step: int, steps: int, start: float, end: float) -> float:
    """Half a cosine from ``start`` at step 0 to ``end`` at step ``steps`` (images, Sec. 3)."""
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * step / steps))


def step_decay(step: int, steps: int, start: float, drops: Sequence[float], factor: float = 0.1) -> float:
    """``start`` times ``factor`` for each of ``drops`` (fractions of the stage, in [0, 1]) that has passed.

    Points: x0.1 at epochs 40 and 52 of 60 (Sec. 3).
    """
    return start * factor ** sum(step >= round(drop * steps) for drop in drops)
