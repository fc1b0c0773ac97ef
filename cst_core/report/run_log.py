"""What a run's log tells, stage by stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunLog:
    """Events by kind; where a resumed run logged one again, the later one counts."""

    evaluations: Mapping[int, Mapping[str, Any]]
    """By stage, 0 being random features; as `cst_core.evaluation.summary` has them."""
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


def read_log(path: Path) -> RunLog:
    """Read ``log.jsonl``; a missing file is an empty log, a half-written line is counted and left out."""
    events, damaged = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            event = json.loads(line)
            events.append((str(event["kind"]), int(event["stage"]), event))
        except (ValueError, KeyError, TypeError):
            damaged += 1
    evaluations = {stage: event for kind, stage, event in events if kind == "evaluation"}
    steps = {(stage, event["done"]): event for kind, stage, event in events if kind == "step"}
    labels = {(stage, event["done"]): event["value"] for kind, stage, event in events if kind == "label"}
    total = max((event["total"] for event in steps.values()), default=0)
    ordered = [((stage - 1) * total + done, event) for (stage, done), event in sorted(steps.items())]
    stages = sorted({stage for stage, _ in labels})
    return RunLog(
        evaluations=dict(sorted(evaluations.items())),
        losses=[(float(at), float(event["value"])) for at, event in ordered if event["value"] is not None],
        loss_unit=str(ordered[-1][1].get("unit", "mm")) if ordered else "mm",
        steps_a_stage=total,
        difficulty={s: [float(v) for (stage, _), v in labels.items() if stage == s and v is not None] for s in stages},
        rates=[(float(at), float(event.get("learning_rate", 0.0))) for at, event in ordered],
        damaged=damaged,
    )
