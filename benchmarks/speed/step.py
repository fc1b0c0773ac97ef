"""One step of a registration: its seconds beside a textbook's, and beside what the machine cannot do it without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from benchmarks.record import fastest

Row = dict[str, float | None]
_HEADS = f"{'':38}{'s':>9}{'textbook':>10}{'ratio':>8}{'GFLOP':>9}{'MB':>8}{'floor':>8}{'of pair':>9}{'deviation':>11}"
_FORMS = (
    *(("s", "9.4f"), ("textbook", "10.3f"), ("ratio", "8.1f"), ("GFLOP", "9.3f"), ("MB", "8.1f")),
    *(("share of floor", "8.0%"), ("share of pair", "9.1%"), ("deviation", "11.1e")),
)


def itself(result: Tensor) -> Tensor:
    """What most steps are compared by."""
    return result


class Step(NamedTuple):
    """One step, and what it cannot do without."""

    name: str
    ours: Callable[[], Tensor]
    textbook: Callable[[], Tensor] | None
    operations: float
    """Of float32, a multiply-add being two."""
    numbers: float
    """float32 values read or written at least."""
    times: int = 0
    """In the registration of one pair."""
    compared: Callable[[Tensor], Tensor] = itself
    """What of the result has to agree with the textbook's."""


def measured(steps: Sequence[Step], machine: dict[str, float], repeats: int, whole: float) -> dict[str, Row]:
    """A row a step, printed as it is made. ``whole``: seconds of one pair."""
    print(_HEADS)
    rows: dict[str, Row] = {}
    for step in steps:
        rows[step.name] = row = measure(step, machine, repeats, whole)
        print(f"{step.name:38}{''.join(_cell(row[key], form) for key, form in _FORMS)}", flush=True)
    return rows


def measure(step: Step, machine: dict[str, float], repeats: int, whole: float) -> Row:
    """Seconds, the fastest of ``repeats`` (of two for the textbook's), and the share of the floor that they reach."""
    found = step.compared(step.ours()).clone()  # compiles; the Adam update goes on in place
    seconds = fastest(step.ours, repeats)
    floor = max(step.operations / machine["GFLOP/s"], 4.0 * step.numbers / machine["GB/s"]) / 1e9
    row: Row = {
        "s": seconds,
        "GFLOP": step.operations / 1e9,
        "MB": 4.0 * step.numbers / 1e6,
        "share of floor": floor / seconds,
        "share of pair": step.times * seconds / whole if step.times else None,
        "textbook": None,
        "ratio": None,
        "deviation": None,
        "largest deviation": None,
        "largest value": None,
    }
    if step.textbook is not None:
        expected = step.compared(step.textbook())
        plain = fastest(step.textbook, 2)
        difference = found - expected
        row |= {"textbook": plain, "ratio": plain / seconds, "deviation": float(difference.norm() / expected.norm())}
        row |= {"largest deviation": float(difference.abs().max()), "largest value": float(expected.abs().max())}
    return row


def _cell(value: Any, form: str) -> str:
    """A figure of the table; a dash where there is none."""
    return format("-", f">{form.split('.')[0].rstrip('%ef')}") if value is None else format(value, form)
