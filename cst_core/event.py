"""What the training loop tells while it runs."""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """Something that a person or a log may want to know; ``total`` is how many ``done`` will reach."""

    kind: str
    """``label`` (one pair labelled), ``step`` (loss read), ``stage`` (stage done)."""
    stage: int
    done: int
    total: int
    value: float
    """Difficulty in mm, loss in the unit of the supervision (mm), or the stage's last loss."""
    learning_rate: float = 0.0
    unit: str = "mm"
    """Of a loss; nothing where the supervision's measure has none."""
