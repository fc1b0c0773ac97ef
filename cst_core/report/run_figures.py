"""The figures of a run that a report shows: what was gained, stage by stage, class by class and pair by pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from markupsafe import Markup

from cst_core.report.charts import Series, counts, dumbbells, histogram, line_chart, nice_ticks
from cst_core.report.run_log import RunLog

BINS = 24
CHANCE = 0.05  # a gain that is less probable than this by chance counts


class Measure(NamedTuple):
    """What pairs are judged by."""

    key: str
    name: str
    unit: str
    digits: int
    more_is_better: bool

    def gain(self, before: float, after: float) -> float:
        """Positive where ``after`` is the better."""
        return after - before if self.more_is_better else before - after


MEASURES = (Measure("dice", "Dice", "", 3, True), Measure("tre_mm", "Landmark error (TRE)", " mm", 2, False))
COLUMNS = (
    ("tre_mm", "TRE mm", 2),
    ("dice", "Dice", 3),
    ("hd95_mm", "HD95 mm", 2),
    ("sdlogj_l2r", "SDlogJ (L2R)", 3),
    ("sdlogj", "SDlogJ", 3),
    ("folding_percent", "folding %", 3),
    ("seconds", "seconds", 2),
)


def measure_of(log: RunLog) -> Measure | None:
    """Dice where there are labels, else landmark errors; None where nothing was evaluated."""
    for measure in MEASURES:
        if any(event["mean"].get(measure.key) is not None for event in log.evaluations.values()):
            return measure
    return None


def verdict(log: RunLog, measure: Measure | None) -> tuple[str, str]:
    """``good`` or ``check``, and a sentence on what training gained over the first features."""
    if measure is None:
        return "check", "No stage was evaluated on pairs with labels or landmarks: nothing here says how good it is."
    stages = [s for s in log.stages if log.evaluations[s]["mean"].get(measure.key) is not None]
    last = stages[-1]
    if stages[0] != 0 or last == 0:
        return "check", "The first features and a trained stage are not both evaluated yet: the gain is unknown."
    before, after = (log.evaluations[s]["mean"][measure.key] for s in (0, last))
    better, of = _wins(log, measure, last)
    gain = measure.gain(before, after)
    said = (
        f"{measure.name} {before:.{measure.digits}f}{measure.unit} with {log.first}, "
        f"{after:.{measure.digits}f}{measure.unit} after {log.name(last)}; better in {better} of {of} test pairs."
    )
    if gain > 0 and sign_test(better, of) < CHANCE:
        return "good", f"Training gained on its own first labels: {said}"
    if gain > 0:
        return "check", f"Training gained a little, but on these pairs that may be chance: {said}"
    return "check", f"Training did not gain on {log.first}: {said}"


def sign_test(better: int, of: int) -> float:
    """How probable so many better pairs, or more, are if each is a coin's throw."""
    return sum(math.comb(of, k) for k in range(better, of + 1)) / 2**of


def _wins(log: RunLog, measure: Measure, last: int) -> tuple[int, int]:
    first = {pair["id"]: pair[measure.key] for pair in log.evaluations[0]["pairs"]}
    both = [
        measure.gain(first[pair["id"]], pair[measure.key])
        for pair in log.evaluations[last]["pairs"]
        if first.get(pair["id"]) is not None and pair[measure.key] is not None
    ]
    return sum(gain > 0 for gain in both), len(both)


def stage_chart(log: RunLog, measure: Measure) -> Markup:
    """The paper's Fig. 1: the measure on the test pairs after every stage, the first features as stage 0."""
    found = [(float(s), log.evaluations[s]["mean"].get(measure.key)) for s in log.stages]
    points = [(s, float(value)) for s, value in found if value is not None]
    names = [(s, log.first.partition(" ")[0] if s == 0 else f"{s:g}") for s, _ in points]
    unit = f", {measure.unit.strip()}" if measure.unit else ""
    return line_chart(
        f"{measure.name} of the test pairs after each stage",
        [Series("mean", points)],
        f"{measure.name}{unit}",
        "stage",
        names,
    )


def stage_rows(log: RunLog) -> tuple[list[str], list[list[Any]]]:
    """Headings and one row a stage, the state before registration first."""
    if not log.evaluations:
        return [], []
    means = [log.evaluations[s]["mean"] for s in log.stages]
    columns = [column for column in COLUMNS if any(mean.get(column[0]) is not None for mean in means)]
    initial = log.evaluations[log.stages[-1]].get("initial", {})
    rows: list[list[Any]] = [["before registration", *((initial.get(key), d) for key, _, d in columns)]]
    for stage, mean in zip(log.stages, means, strict=True):
        rows.append([log.name(stage), *((mean.get(key), digits) for key, _, digits in columns)])
    return [heading for _, heading, _ in columns], rows


def label_rows(log: RunLog) -> list[tuple[str, list[float | None]]]:
    """Dice of every class: before registration, then every evaluated stage; empty without labels."""
    labelled = [log.evaluations[s] for s in log.stages if log.evaluations[s]["mean"].get("dice_per_label")]
    if not labelled:
        return []
    parts = [labelled[-1].get("initial", {}).get("dice_per_label") or {}]
    parts += [log.evaluations[s]["mean"].get("dice_per_label") or {} for s in log.stages]
    names = sorted({name for part in parts for name in part}, key=lambda name: -(parts[-1].get(name) or 0.0))
    return [(name, [part.get(name) for part in parts]) for name in names]


def label_chart(rows: Sequence[tuple[str, Sequence[float | None]]]) -> Markup:
    """Every class from before (or the first features, where that is not logged) to the last stage."""
    top = max((value for _, values in rows for value in values if value is not None), default=1.0)
    ends = [(f"{name}", next((v for v in values if v is not None), None), values[-1]) for name, values in rows]
    return dumbbells("Dice of every class, first and last", ends, "Dice", min(1.0, 1.05 * top))


def loss_chart(log: RunLog) -> Markup:
    """Training loss over all stages."""
    if not log.losses:
        return Markup("")
    last = log.losses[-1][0]
    stages = range(1, 2 + int((last - 1) // max(1, log.steps_a_stage)))
    ends = [(min(float(s * log.steps_a_stage), last), f"stage {s}") for s in stages]
    return line_chart(
        "Training loss",
        [Series("loss", log.losses, colour=2, marks=len(log.losses) < 60)],
        "loss, mm" if log.loss_unit else "loss",
        f"end of each stage ({log.steps_a_stage} steps)",
        ends if len(ends) < 9 else (),
        from_zero=True,
    )


def difficulty_charts(log: RunLog) -> list[tuple[int, int, float, Markup]]:
    """(stage, pairs, median in mm, histogram) with the same axes for all stages."""
    values = [value for found in log.difficulty.values() for value in found]
    if not values:
        return []
    top = nice_ticks(0.0, max(values))[-1]
    edges = [top * i / BINS for i in range(BINS + 1)]
    most = max(max(counts(found, edges)) for found in log.difficulty.values() if found)
    return [
        (
            stage,
            len(found),
            median(found),
            histogram(f"Difficulty of the training pairs in stage {stage}", found, edges, most, "difficulty, mm"),
        )
        for stage, found in log.difficulty.items()
        if found
    ]


def pair_rows(log: RunLog, measure: Measure) -> list[Mapping[str, Any]]:
    """Test pairs, the best first; ``mark`` names the best, the median and the worst one."""
    last = log.evaluations[log.stages[-1]]
    stages = {s: {pair["id"]: pair for pair in log.evaluations[s]["pairs"]} for s in log.stages}
    pairs = [pair for pair in last["pairs"] if pair.get(measure.key) is not None]
    pairs.sort(key=lambda pair: pair[measure.key], reverse=measure.more_is_better)
    marks = {len(pairs) // 2: "median", len(pairs) - 1: "worst", 0: "best"}
    return [
        {
            "id": pair["id"],
            "mark": marks.get(place, ""),
            "initial": pair.get(f"{measure.key}_initial"),
            "stages": [stages[s].get(pair["id"], {}).get(measure.key) for s in log.stages],
            "others": [pair.get(key) for key in ("hd95_mm", "folding_percent", "seconds")],
        }
        for place, pair in enumerate(pairs)
    ]
