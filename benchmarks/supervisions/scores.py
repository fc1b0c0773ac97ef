"""What runs of several folds are worth together: their logs, ``cst evaluate`` and ``cst tune``, pooled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.comparison_rows import figures
from benchmarks.supervisions.runs import Job, beside, run, scores_of

CURVE = ("dice", "tre_mm", "sdlogj_l2r")


def evaluated(jobs: Sequence[Job], settings: Sequence[str], threads: int) -> tuple[list[Mapping[str, Any]], float]:
    """The test pairs of all folds under ``settings``, by ``cst evaluate``, and the largest memory of its processes."""
    pairs: list[Mapping[str, Any]] = []
    peak = 0.0
    words = [word for setting in settings for word in ("--set", setting)]
    for job in jobs:
        out = beside(job, ".json")
        command = ["evaluate", "--backend", job.backend, "--model", str(job.folder), *words, "--json", str(out)]
        peak = max(peak, run(command, threads, beside(job, ".evaluate.txt")).peak_mb)
        pairs += json.loads(out.read_text())["pairs"]
    return pairs, peak


def tune(job: Job, target: float, pairs: int | None, threads: int) -> dict[str, Any]:
    """What ``cst tune`` found for one run."""
    out = beside(job, ".tuned.json")
    some = [] if pairs is None else ["--pairs", str(pairs)]
    command = ["tune", "--backend", job.backend, "--model", str(job.folder), "--target-sdlogj", f"{target:.6g}"]
    run([*command, *some, "--json", str(out)], threads, beside(job, ".tune.txt"))
    return json.loads(out.read_text())


def curve(logs: Sequence[Mapping[int, Mapping[str, Any]]]) -> dict[str, dict[str, float]]:
    """Mean figures by stage over the test pairs of all folds."""
    stages = sorted(set.intersection(*(set(log) for log in logs)))
    made = {}
    for stage in stages:
        mean = figures(scores_of(pooled([log[stage]["pairs"] for log in logs])))["mean"]
        made[str(stage)] = {name: mean[name] for name in CURVE if mean[name] is not None}
    return made


def pooled(folds: Sequence[Sequence[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """The pairs of all folds in one list."""
    return [pair for pairs in folds for pair in pairs]
