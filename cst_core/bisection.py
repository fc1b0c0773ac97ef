"""Which positive weight gives a figure its wanted value: bracketing in decades, then bisection of the logarithm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from cst_core.errors import CstError

_STEP = 10.0  # from one bracketing trial to the next
_DIGITS = 4  # of a weight: what is tried is what can be typed
_FLAT = 1e-9  # relative; closer values are called the same
_SLACK = 0.005  # relative; a fall that small is noise, and breaks no monotone rise


class Trial(NamedTuple):
    """One weight and what it gave."""

    weight: float
    value: float


class Found(NamedTuple):
    """The weight whose value is the target's within the tolerance."""

    best: Trial
    trials: Sequence[Trial]
    """All that were made, in order; the best is the last."""
    broken: str | None
    """Where a larger weight did not move the value the way that the others did; None: every trial was in order."""


class UnreachableError(CstError):
    """No weight that was tried gives the target; the text says which range can be reached."""


def find_weight(
    measure: Callable[[float], float],
    target: float,
    start: float,
    tolerance: float = 0.02,
    decades: int = 5,
    most: int = 40,
) -> Found:
    """The weight w with ``|measure(w) - target| <= tolerance * target``, assuming that ``measure`` is monotone in w.

    Whether it rises or falls is found out. Trials begin at ``start``, go by factors of ten until two of them have the
    target between them, and then halve that interval of log w. An order that is not monotone is noted in
    `Found.broken`: the weight then is one that serves, and there may be others.

    Args:
        measure: A positive weight to a figure; deterministic.
        target: Positive, in the figure's unit.
        start: Positive, the first weight.
        tolerance: Relative, positive.
        decades: Weights from ``start / 10^decades`` to ``start * 10^decades`` are tried.
        most: Trials.

    Raises:
        ValueError: target, start or tolerance is not positive and finite.
        UnreachableError: no tried weight is on the target's other side, or the value jumps over it.
    """
    for name, value in (("target", target), ("start", start), ("tolerance", tolerance)):
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be positive and finite, got {value}")
    search = _Search(measure, target, tolerance)
    low, high = search.bracket(_rounded(start), decades)
    while not search.reached:
        middle = _rounded(math.sqrt(low.weight * high.weight))
        if middle in (low.weight, high.weight) or len(search.trials) >= most:
            raise UnreachableError(
                f"target {target:g}: lies in a jump from {low.value:.4g} (weight {low.weight:g}) to {high.value:.4g} "
                f"(weight {high.weight:g}) and no weight between gives it; choose one of the two, or --tolerance larger"
            )
        trial = search.tried(middle)
        low, high = (trial, high) if search.between(trial, high) else (low, trial)
    return Found(search.trials[-1], tuple(search.trials), broken_order(search.trials))


def broken_order(trials: Sequence[Trial]) -> str | None:
    """Which neighbouring weights go against the direction from the smallest weight to the largest; None if none do."""
    ordered = sorted(trials)
    rise = ordered[-1].value - ordered[0].value
    for before, after in pairwise(ordered):
        against = (before.value - after.value) * (1 if rise >= 0 else -1)
        if against > _SLACK * max(abs(before.value), abs(after.value)):
            return (
                f"weight {before.weight:g} gave {before.value:.4g} and {after.weight:g} gave {after.value:.4g}, "
                f"against the trend from {ordered[0].value:.4g} to {ordered[-1].value:.4g}"
            )
    return None


class _Search:
    def __init__(self, measure: Callable[[float], float], target: float, tolerance: float) -> None:
        self.measure, self.target, self.tolerance = measure, target, tolerance
        self.trials: list[Trial] = []

    @property
    def reached(self) -> bool:
        return abs(self.trials[-1].value - self.target) <= self.tolerance * self.target

    def tried(self, weight: float) -> Trial:
        value = self.measure(weight)
        if not math.isfinite(value):
            raise UnreachableError(
                f"weight {weight:g}: gave {value}, and the search needs a number; leave that pair out"
            )
        self.trials.append(Trial(weight, value))
        return self.trials[-1]

    def between(self, one: Trial, other: Trial) -> bool:
        return (one.value - self.target) * (other.value - self.target) <= 0

    def bracket(self, start: float, decades: int) -> tuple[Trial, Trial]:
        """Two neighbouring trials with the target between them, the smaller weight first; or the target is reached."""
        first = self.tried(start)
        if self.reached:
            return first, first
        above = self.tried(_rounded(start * _STEP))
        if self.reached or self.between(first, above):
            return first, above
        upwards = abs(above.value - self.target) < abs(first.value - self.target)
        ways = (1, -1) if upwards else (-1, 1)
        for way in ways:
            if way is ways[1] and not self._other_way_may_help():
                break
            last = above if way > 0 else first
            for decade in range(2 if way > 0 else 1, decades + 1):
                trial = self.tried(_rounded(start * _STEP ** (way * decade)))
                if self.reached or self.between(last, trial):
                    return min(last, trial), max(last, trial)
                last = trial
        raise self._unreachable()

    def _other_way_may_help(self) -> bool:
        """Not if the values are in order: then the other way leads further off."""
        return self._is_flat() or broken_order(self.trials) is not None

    def _is_flat(self) -> bool:
        values = [trial.value for trial in self.trials]
        return max(values) - min(values) <= _FLAT * max(abs(value) for value in values)

    def _unreachable(self) -> UnreachableError:
        ordered, values = sorted(self.trials), [trial.value for trial in self.trials]
        weights = f"weights from {ordered[0].weight:g} to {ordered[-1].weight:g}"
        if self._is_flat():
            return UnreachableError(
                f"target {self.target:g}: {weights} all gave {values[0]:.4g}; what the weight acts on is switched off"
            )
        broken = broken_order(self.trials)
        hint = f"; the order is not monotone ({broken}), so weights between may give it" if broken else ""
        return UnreachableError(
            f"target {self.target:g}: cannot be reached; {weights} gave from {min(values):.4g} to {max(values):.4g}; "
            f"choose a target within{hint}"
        )


def _rounded(weight: float) -> float:
    return float(f"{weight:.{_DIGITS}g}")
