"""Two results of ``cst evaluate`` side by side: the same pairs, another model or other settings."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

from rich.table import Table
from scipy.stats import wilcoxon

from cst_core.errors import DataError, shortened

FIGURES = ("tre_mm", "dice", "hd95_mm", "sdlogj_l2r", "sdlogj", "folding_percent")
"""What is compared. Not seconds: they tell machines apart, not models."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_HIGHER_IS_BETTER = {"dice"}
_ENOUGH = 6
"""From so many pairs on the signed-rank test can reach 0.05: with n pairs its p is at least 2 / 2^n."""
_AGAIN = "write it with cst evaluate --json"


@dataclass(frozen=True)
class Change:
    """How one figure changed over the common pairs that have it in both results."""

    n: int
    mean_difference: float
    """This result minus the other one, in the figure's unit."""
    p: float
    """Of Wilcoxon's signed-rank test, two-sided; 1 where nothing differs."""
    better: int
    """Pairs with higher Dice, or with less of anything else."""
    worse: int


@dataclass(frozen=True)
class Comparison:
    """This result against another one."""

    other: str
    """The other result's model."""
    n_pairs: int
    """Pairs that are in both."""
    figures: Mapping[str, Change]
    notes: Sequence[str]
    """What keeps the two from being compared as they stand."""

    def as_json(self) -> dict[str, Any]:
        """What ``cst evaluate --json`` writes under ``against``."""
        return asdict(self)


def read_result(path: Path, backend: str) -> dict[str, Any]:
    """A result that ``cst evaluate --json`` wrote for ``backend``.

    Raises:
        DataError: it cannot be read, is something else, or belongs to another backend.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"--against {path}: cannot be read ({error.strerror}); {_AGAIN}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"--against {path}: is no valid JSON ({shortened(error)}); {_AGAIN}") from None
    if not _is_result(result):
        raise DataError(
            f"--against {path}: is no result of cst evaluate (it must hold backend, model, fingerprint and "
            f"pairs with id and figures); {_AGAIN}"
        )
    if result["backend"] != backend:
        raise DataError(
            f"--against {path}: is a result of the backend {shortened(repr(result['backend']))}, not {backend!r}; "
            f"compare results of one backend"
        )
    return result


def compare(
    result: Mapping[str, Any], other: Mapping[str, Any], measured_by: Mapping[str, Any] = _NOTHING
) -> Comparison:
    """Pairs are matched by their id; both as ``cst evaluate --json`` writes them (NaN or None: the pair has no figure).

    ``measured_by``: settings with their defaults; where they differ figures are not comparable (see
    `cst_core.plugin.Measured`).

    Raises:
        DataError: they have no pair in common.
    """
    ours, theirs = ({pair["id"]: pair for pair in one["pairs"]} for one in (result, other))
    common = [pair for pair in ours if pair in theirs]
    if not common:
        raise DataError(
            f"--against: no pair is in both results (here {_some(ours)}; there {_some(theirs)}); "
            "evaluate both on the same --data, --fold and --split"
        )
    changes: dict[str, Change] = {}
    for name in FIGURES:
        values = [(ours[pair].get(name), theirs[pair].get(name)) for pair in common]
        differences = [a - b for a, b in values if _is_number(a) and _is_number(b)]
        if differences:
            changes[name] = _change(differences, name in _HIGHER_IS_BETTER)
    notes = [*_measured_otherwise(result, other, measured_by), *_notes(result, other, len(common), changes)]
    return Comparison(str(other["model"]), len(common), changes, notes)


def comparison_table(comparison: Comparison) -> Table:
    """One row a figure; the notes stand below it."""
    title = f"Against {comparison.other}, {comparison.n_pairs} common pairs"
    result = Table(title=title, title_justify="left", caption="\n".join(comparison.notes), caption_justify="left")
    result.add_column("figure")
    for heading in ("pairs", "mean difference", "Wilcoxon p", "better", "worse"):
        result.add_column(heading, justify="right")
    for name, change in comparison.figures.items():
        cells = (
            str(change.n),
            f"{change.mean_difference:+.4f}",
            f"{change.p:.3g}",
            f"{change.better}",
            f"{change.worse}",
        )
        result.add_row(name, *cells)
    return result


def _change(differences: Sequence[float], higher_is_better: bool) -> Change:
    different = [value for value in differences if value]  # as the test's own rule for ties (zero_method "wilcox")
    risen = sum(value > 0 for value in different)
    better = risen if higher_is_better else len(different) - risen
    p = float(wilcoxon(different).pvalue) if different else 1.0  # pyright: ignore[reportAttributeAccessIssue]
    return Change(len(differences), fmean(differences), p, better, len(different) - better)


def _measured_otherwise(
    result: Mapping[str, Any], other: Mapping[str, Any], measured_by: Mapping[str, Any]
) -> Iterator[str]:
    for key, usual in measured_by.items():
        here, there = (one.get("set", {}).get(key, usual) for one in (result, other))
        if here != there:
            yield f"Measured in different ways: {key} is {here} here, {there} there; figures are not comparable."


def _notes(
    result: Mapping[str, Any], other: Mapping[str, Any], common: int, changes: Mapping[str, Change]
) -> list[str]:
    notes = []
    if result["fingerprint"] != other["fingerprint"]:
        notes.append("The data differ (other fingerprint): pairs of one id may not be the same scans.")
    if common < max(len(result["pairs"]), len(other["pairs"])):
        notes.append(f"{common} of {len(result['pairs'])} pairs here and {len(other['pairs'])} there are in both.")
    if fewer := [name for name, change in changes.items() if change.n < common]:
        notes.append(f"Not every common pair has {', '.join(fewer)} in both results.")
    if common < _ENOUGH:
        notes.append(f"With fewer than {_ENOUGH} pairs, p cannot fall below 0.05.")
    return notes


def _is_result(result: Any) -> bool:
    return (
        isinstance(result, dict)
        and {"backend", "model", "fingerprint", "pairs"} <= set(result)
        and isinstance(result["pairs"], list)
        and isinstance(result.get("set", {}), dict)
        and all(isinstance(pair, dict) and isinstance(pair.get("id"), str) for pair in result["pairs"])
        and all(pair.get(name) is None or _is_number(pair[name]) for pair in result["pairs"] for name in FIGURES)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _some(pairs: Mapping[str, Any]) -> str:
    names = list(pairs)
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "") if names else "none"
