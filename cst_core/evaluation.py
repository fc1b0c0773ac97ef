"""Scoring a network on pairs whose truth is known, and what is reported of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from statistics import fmean, stdev
from typing import Any

from rich.table import Table
from torch import nn

from cst_core.backend import Backend
from cst_core.first_features import logged_name
from cst_core.plugin import BackendPlugin, EvalCase, PairScore

FIGURES = ("tre_mm", "dice", "hd95_mm", "sdlogj_l2r", "sdlogj", "folding_percent", "seconds")
"""What is averaged over pairs."""
_COLUMNS = (
    ("TRE mm", "tre_mm", "tre_mm_initial", 2),
    ("Dice", "dice", "dice_initial", 3),
    ("HD95 mm", "hd95_mm", None, 2),
    ("SDlogJ (L2R)", "sdlogj_l2r", None, 3),
    ("SDlogJ", "sdlogj", None, 3),
    ("folding %", "folding_percent", None, 3),
    ("seconds", "seconds", None, 2),
)


def evaluate(
    plugin: BackendPlugin[Any], backend: Backend[Any], network: nn.Module, cases: Sequence[EvalCase[Any]]
) -> list[PairScore]:
    """Register every case in evaluation mode and measure it; one score a case, in order."""
    network.eval()
    return [plugin.score(backend, network, case) for case in cases]


def has_truth(case: EvalCase[Any]) -> bool:
    """Whether a case carries anything to measure against, whatever a backend's own kind of case calls it."""
    return any(getattr(case, item.name) is not None for item in fields(case) if item.name not in ("id", "pair"))


def summary(scores: Sequence[PairScore]) -> dict[str, Any]:
    """``initial``, ``pairs``, ``mean`` and ``sd`` (over pairs), as ``cst evaluate --json`` and the run's log have them.

    Figures that no pair has are None; a mean over pairs of which one is NaN is NaN, so that a failure is seen. A label
    counts in the pairs that have it.
    """
    before, after = (_per_label(scores, name) for name in ("dice_per_label_initial", "dice_per_label"))
    return {
        "initial": {
            "tre_mm": _mean(_values(scores, "tre_mm_initial")),
            "dice": _mean(_values(scores, "dice_initial")),
            "dice_per_label": _of_each(before, _mean),
        },
        "pairs": [asdict(score) for score in scores],
        "mean": {name: _mean(_values(scores, name)) for name in FIGURES} | {"dice_per_label": _of_each(after, _mean)},
        "sd": {name: _sd(_values(scores, name)) for name in FIGURES} | {"dice_per_label": _of_each(after, _sd)},
    }


def table(scores: Sequence[PairScore], title: str) -> Table:
    """One row a pair and a mean row; the initial error stands beside the final one, figures nobody has are left out."""
    means = summary(scores)
    result = Table(title=title, title_justify="left")
    result.add_column("pair")
    columns = [column for column in _COLUMNS if means["mean"][column[1]] is not None]
    for heading, _, initial, _ in columns:
        if initial is not None:
            result.add_column(f"{heading} initial", justify="right")
        result.add_column(heading, justify="right")
    rows = [(score.id, asdict(score)) for score in scores]
    mean = means["mean"] | {"tre_mm_initial": means["initial"]["tre_mm"], "dice_initial": means["initial"]["dice"]}
    for place, (name, values) in enumerate([*rows, ("mean", mean)]):
        if place == len(rows):
            result.add_section()
        cells = [
            number(values[key], digits)
            for _, final, initial, digits in columns
            for key in (initial, final)
            if key is not None
        ]
        result.add_row(name, *cells)
    return result


def label_table(scores: Sequence[PairScore]) -> Table | None:
    """Dice of every label, over the pairs that have it; None where no pair has labels."""
    figures = summary(scores)
    mean, sd, initial = (figures[part]["dice_per_label"] for part in ("mean", "sd", "initial"))
    if not mean:
        return None
    result = Table(title="Dice per label", title_justify="left")
    result.add_column("label")
    for heading in ("pairs", *(["initial"] if initial else []), "mean", "sd"):
        result.add_column(heading, justify="right")
    for label, values in _per_label(scores, "dice_per_label").items():
        before = [number(initial.get(label), 3)] if initial else []
        result.add_row(label, str(len(values)), *before, number(mean[label], 3), number(sd[label], 3))
    return result


def stage_table(evaluations: Mapping[int, Mapping[str, Any]]) -> Table:
    """One row a stage of a run's log: before registration, the first features (stage 0), then every stage."""
    last = evaluations[max(evaluations)]
    columns = [column for column in _COLUMNS if last["mean"].get(column[1]) is not None]
    result = Table(title="Test pairs, mean", title_justify="left")
    result.add_column("stage")
    for heading, *_ in columns:
        result.add_column(heading, justify="right")
    result.add_row("initial", *(number(last["initial"].get(final), digits) for _, final, _, digits in columns))
    for stage in sorted(evaluations):
        mean = evaluations[stage]["mean"]
        cells = (number(mean.get(final), digits) for _, final, _, digits in columns)
        result.add_row(str(stage) if stage else logged_name(evaluations), *cells)
    return result


def number(value: float | None, digits: int) -> str:
    """A figure for people; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def _values(scores: Sequence[PairScore], name: str) -> list[Any]:
    return [value for score in scores if (value := getattr(score, name)) is not None]


def _per_label(scores: Sequence[PairScore], name: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for values in _values(scores, name):
        for label, value in values.items():
            found.setdefault(label, []).append(value)
    return found


def _of_each(
    labels: Mapping[str, Sequence[float]], figure: Callable[[Sequence[float]], float | None]
) -> dict[str, float | None] | None:
    return {label: figure(values) for label, values in labels.items()} or None


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _sd(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    return stdev(values) if all(map(math.isfinite, values)) else math.nan
