"""After every stage of ``cst train``: its weights, its scores and one line about them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from torch import nn

from cst_core.choose_supervision import taught_by
from cst_core.config import Resolved
from cst_core.evaluation import evaluate, number, summary
from cst_core.event import Event
from cst_core.first_features import KEY, features_name, logged_name
from cst_core.plugin import BackendPlugin, EvalCase
from cst_core.progress import Progress, clock_time
from cst_core.runs import Run


class StageReport:
    """What `cst_core.training.self_train` calls back."""

    def __init__(
        self,
        run: Run,
        plugin: BackendPlugin[Any],
        backend: Any,
        config: Resolved,
        trained_on: str,
        cases: Sequence[EvalCase[Any]],
        progress: Progress,
    ) -> None:
        self._run, self._plugin, self._backend, self._config = run, plugin, backend, config
        self._trained_on, self._cases, self._progress = trained_on, cases, progress
        self._first: dict[str, Any] | None = run.evaluations().get(0)
        self._called = logged_name(run.evaluations())
        self._loss: str | None = None
        self._since = time.monotonic()

    def watch(self, event: Event) -> None:
        self._run.watch(event)
        self._progress.watch(event)
        if event.kind == "stage":
            self._loss = f"loss {event.value:.3f} {event.unit}".rstrip()

    def after_stage(self, stage: int, network: nn.Module) -> None:
        figures = summary(evaluate(self._plugin, self._backend, network, self._cases)) if self._cases else None
        if stage:
            mean = figures["mean"] if figures else {}
            about = {
                "trained_on": self._trained_on,
                "supervision": taught_by(self._config.train),
                "figures": {k: v for k, v in mean.items() if v is not None},
            }
            self._run.finish_stage(stage, network, self._config.backend.model_dump(mode="json"), about)
        if not stage:
            self._called = features_name(network)
        if figures:
            if not stage:
                self._first = figures = figures | {KEY: self._called}
            self._run.evaluated(stage, figures)
        self._progress.line(self._line(stage, figures))
        self._since = time.monotonic()

    def _line(self, stage: int, figures: dict[str, Any] | None) -> str:
        parts = []
        for name, key, unit, digits in (("TRE", "tre_mm", " mm", 2), ("Dice", "dice", "", 3)):
            if figures and figures["mean"][key] is not None:
                beside = f"initial {number(figures['initial'][key], digits)}"
                if stage and self._first:
                    beside += f", {self._called} {number(self._first['mean'].get(key), digits)}"
                parts.append(f"{name} {number(figures['mean'][key], digits)}{unit} ({beside})")
        if stage and self._loss is not None:
            parts.append(self._loss)
        parts.append(f"{clock_time(time.monotonic() - self._since)} min")
        return f"stage {stage}{'' if stage else f' ({self._called})'}: {', '.join(parts)}"
