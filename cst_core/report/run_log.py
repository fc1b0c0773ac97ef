"""What a run's log tells, stage by stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cst_core.eventlog import is_evaluation
from cst_core.first_features import logged_name


@dataclass(frozen=True)
class RunLog:
    """Events by kind; where a resumed run logged one again, the later one counts."""

    evaluations: Mapping[int, Mapping[str, Any]]
    """By stage, 0 being the first features; as `cst_core.evaluation.summary` has them."""
    losses: Sequence[tuple[float, float]]
    """(step, counted over all stages, and loss in `loss_unit`)."""
    loss_unit: str
    """``mm``; nothing where g was taught by a measure without unit."""
    steps_a_stage: int
    difficulty: Mapping[int, Sequence[float]]
    """mm, one a training pair, by stage."""
    rates: Sequence[tuple[float, float]]
    """(step, learning rate)."""
    damaged: int
    """Lines that could not be read."""

    @property
    def stages(self) -> list[int]:
        """Evaluated stages, in order."""
        return sorted(self.evaluations)

    @property
    def first(self) -> str:
        """What stage 0 is called."""
        return logged_name(self.evaluations)

    def name(self, stage: int) -> str:
        """A stage, as people call it."""
        return f"stage {stage}" if stage else self.first


def read_log(path: Path) -> RunLog:
    """Read ``log.jsonl``; a missing file is an empty log, a line that cannot be read is counted and left out."""
    evaluations, steps, labels = dict[int, Any](), dict[tuple[int, int], _Step](), dict[tuple[int, int], float | None]()
    damaged, unit = 0, "mm"
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            event = json.loads(line)
            kind, stage = str(event["kind"]), int(event["stage"])
            if kind == "evaluation" and is_evaluation(event):
                evaluations[stage] = event
            elif kind == "step":
                steps[stage, int(event["done"])] = _step(event)
                unit = str(event.get("unit", "mm"))
            elif kind == "label":
                labels[stage, int(event["done"])] = _number(event["value"])
            elif kind not in ("evaluation", "stage"):
                damaged += 1
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            damaged += 1
    total = max((step.total for step in steps.values()), default=0)
    ordered = [(float((stage - 1) * total + done), step) for (stage, done), step in sorted(steps.items())]
    stages = sorted({stage for stage, _ in labels})
    return RunLog(
        evaluations=dict(sorted(evaluations.items())),
        losses=[(at, step.loss) for at, step in ordered if step.loss is not None],
        loss_unit=unit,
        steps_a_stage=total,
        difficulty={s: [v for (stage, _), v in labels.items() if stage == s and v is not None] for s in stages},
        rates=[(at, step.rate) for at, step in ordered],
        damaged=damaged,
    )


class _Step(NamedTuple):
    total: int
    loss: float | None
    rate: float


def _step(event: Mapping[str, Any]) -> _Step:
    return _Step(int(event["total"]), _number(event["value"]), float(event.get("learning_rate", 0.0)))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
