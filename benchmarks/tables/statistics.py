"""The numbers of a comparison: means, spread over pairs and over seeds, and the test against self-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from cst_core.comparison import compare
from cst_core.errors import DataError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """One figure of one method."""

    mean: float
    """Over pairs, each the mean over its seeds."""
    over_pairs: float | None
    """Standard deviation of the pairs' means over seeds; None for one pair."""
    over_seeds: float | None
    """Standard deviation of the seeds' means over pairs; None for one seed."""


@dataclass(frozen=True)
class Entry:
    """All rows of one method and setting: one a seed."""

    method: str
    setting: str
    rows: Sequence[Row]
    pairs: Mapping[str, Mapping[str, float]] = field(repr=False)
    """By id: every figure that all seeds have of the pair, as their mean."""

    @property
    def seeds(self) -> list[int]:
        """Of the rows that have one."""
        return sorted(row["seed"] for row in self.rows if row["seed"] is not None)

    @property
    def saw(self) -> str:
        """What training or registration was given besides the scans."""
        return self.rows[0]["saw"]

    @property
    def kind(self) -> str:
        """tool, supervision or classical."""
        return self.rows[0]["kind"]

    def figure(self, name: str) -> Figure | None:
        """None where a pair lacks it in a seed: a mean over fewer pairs would not be comparable."""
        values = [pair[name] for pair in self.pairs.values() if name in pair]
        if not values or len(values) < len(self.pairs):
            return None
        means = [fmean(pair[name] for pair in row["pairs"]) for row in self.rows]
        return Figure(fmean(values), _sd(values), _sd(means))

    def largest(self, name: str) -> float | None:
        """Of a number that a row has, such as its peak memory."""
        return max((row[name] for row in self.rows if row.get(name) is not None), default=None)


def entries(rows: Sequence[Row]) -> dict[tuple[str, str], Entry]:
    """By method and setting, in the order of the rows."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["method"], row["setting"]), []).append(row)
    return {key: Entry(*key, found, _pair_means(found)) for key, found in grouped.items()}


def p_value(entry: Entry, reference: Entry | None, figure: str) -> float | None:
    """Of Wilcoxon's signed-rank test on the pairs' means over seeds, two-sided; None where there is no common pair."""
    if reference is None or entry is reference:
        return None
    try:
        change = compare(_as_result(entry), _as_result(reference)).figures.get(figure)
    except DataError:
        return None
    return None if change is None else change.p


def initial(every: Mapping[tuple[str, str], Entry], figure: str) -> Figure | None:
    """``figure`` before registration, from the first entry that knows it; seeds have nothing to do with it."""
    for entry in every.values():
        values = [pair[f"{figure}_initial"] for pair in entry.pairs.values() if f"{figure}_initial" in pair]
        if values:
            return Figure(fmean(values), _sd(values), None)
    return None


def _pair_means(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    seeds = [{pair["id"]: pair for pair in row["pairs"]} for row in rows]
    made: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for seed in seeds for name in seed):
        found = [seed.get(name, {}) for seed in seeds]
        keys = [key for key, value in found[0].items() if isinstance(value, int | float)]
        made[name] = {
            key: fmean(pair[key] for pair in found)
            for key in keys
            if all(isinstance(pair.get(key), int | float) for pair in found)
        }
    return made


def _as_result(entry: Entry) -> dict[str, Any]:
    pairs = [{"id": name, **values} for name, values in entry.pairs.items()]
    return {"model": entry.method, "fingerprint": "", "pairs": pairs}


def _sd(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None
