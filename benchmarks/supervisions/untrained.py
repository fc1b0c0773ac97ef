"""Random features: the network that made a run's first labels, on the run's test pairs, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any, NamedTuple

from torch import nn

from benchmarks.supervisions.runs import Job
from cst_core import plugins
from cst_core.bisection import find_weight
from cst_core.cli_options import TrainOptions, resolve_options
from cst_core.cli_tune import regularisation_of
from cst_core.config import overridden
from cst_core.evaluation import evaluate
from cst_core.plugin import BackendPlugin, EvalCase

Pairs = list[Mapping[str, Any]]


class _Start(NamedTuple):
    plugin: BackendPlugin[Any]
    config: Any
    network: nn.Module
    cases: Sequence[EvalCase[Any]]

    def pairs(self, settings: Sequence[str]) -> Pairs:
        backend = self.plugin.backend(overridden(self.plugin.name, self.config, settings), "cpu")
        return [asdict(score) for score in evaluate(self.plugin, backend, self.network, self.cases)]


def untrained(jobs: Sequence[Job], settings: Sequence[str]) -> Pairs:
    """The test pairs of all folds, under ``settings``."""
    return [pair for job in jobs for pair in _start(job).pairs(settings)]


def untrained_matched(jobs: Sequence[Job], target: float) -> tuple[Pairs, list[str]]:
    """The same at a mean SDlogJ of ``target`` in every fold; and the settings that were found.

    Raises:
        UnreachableError: no regularisation gives the target.
    """
    pairs: Pairs = []
    settings = []
    for job in jobs:
        start = _start(job)
        key = regularisation_of(start.plugin)
        found: list[Pairs] = []

        def measure(weight: float, start: _Start = start, key: str = key, found: list[Pairs] = found) -> float:
            found.append(start.pairs([f"{key}={weight!r}"]))
            return fmean(pair["sdlogj_l2r"] for pair in found[-1])

        best = find_weight(measure, target, float(getattr(start.config, key))).best
        settings.append(f"{key}={best.weight:g}")
        pairs += found[-1]
    return pairs, settings


def _start(job: Job) -> _Start:
    plugin = plugins.load(job.backend)
    options = TrainOptions(job.backend, job.data, job.fold, None, None, job.folder / "config.toml", (), "cpu", False)
    config = resolve_options(plugin, options).backend
    network = plugin.untrained(plugin.backend(config, "cpu"), job.seed)
    return _Start(plugin, config, network, plugin.read_data(job.data, job.fold, config, "cpu").test)
