"""What a training costs on a CPU: a label, a step, and whole trainings, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from benchmarks.tables.comparison import REFERENCE
from benchmarks.tables.markdown import NONE, significant, table

Result = Mapping[str, Any]
BATCH = 2
"""Pairs a step, as the presets have it."""
_PASS, _LABEL = "training pass of one pair", "register, whole"
_HEADS = ("what", "from", "threads", "a label, s", f"a step of {BATCH}, s", "labels and steps", "whole training, s")
_ABOUT = (
    f"A label is one registration, refined; a step is prediction, loss and gradient of {BATCH} pairs, without the "
    "optimiser where it is one pair's, doubled. Labels are made once a stage. `scaling.json` has the processor's "
    "seconds, small volumes and a narrow network; whole trainings, a mean over seeds and folds, are from begin to end, "
    "with the evaluation of their test pairs, on a machine that did other work too."
)


def training_cost_section(file: str, scaling: Result, image: Result, points: Result, *compared: Result) -> str:
    """``compared``: comparisons, whose rows say how long their trainings took."""
    rows = [*_of_volumes(image), *_of_clouds(points), *_of_scaling(file, scaling)]
    for result in compared:
        rows += _of_comparison(result)
    return f"{_ABOUT}\n\n{table(_HEADS, rows, left=2)}"


def _of_volumes(image: Result) -> Iterator[list[str]]:
    for size, found in image.items():
        if isinstance(found, dict) and "steps" in found:
            step = found.get(_PASS, {}).get("s")
            name = f"volumes of {size.replace('x', ' x ')} voxels, the paper's network"
            threads = image["circumstances"]["cpu"]["threads"]
            yield _row(name, "speed_image.json", threads, found["pair"]["s"], None if step is None else BATCH * step)


def _of_clouds(points: Result) -> Iterator[list[str]]:
    for preset in ("paper", "best"):
        if preset in points:
            seconds, threads = points[preset], points["circumstances"]["cpu"]["threads"]
            name = f"clouds of {points['fixed']} and {points['moving']} points, preset `{preset}`, one network"
            yield _row(name, "speed_points.json", threads, seconds[_LABEL], BATCH * seconds[_PASS])


def _of_scaling(file: str, scaling: Result) -> Iterator[list[str]]:
    for part, name in (("scans", "volumes of 32^3 voxels"), ("clouds", "pairs of clouds of 512 points")):
        if part in scaling:
            most, cpu = scaling[part]["points"][-1], scaling[part]["circumstances"]["cpu"]
            yield _row(name, file, cpu["threads"], most["label_s"], most["step_s"])


def _of_comparison(result: Result) -> Iterator[list[str]]:
    rows = [
        row
        for row in result.get("rows", [])
        if row["method"] == REFERENCE and row["setting"] == "default" and row.get("training_seconds")
    ]
    seconds = [one for row in rows for one in row["training_seconds"] if one is not None]
    if not seconds:
        return
    config, threads = rows[0]["settings"]["config"], {row["threads"] for row in rows}
    train, backend = config["train"], config[config["backend"]]
    labels = f"{backend['max_train_pairs']} labels, " if backend.get("max_train_pairs") else ""
    length = f"{train['iterations']} steps" if train.get("iterations") else f"{train['epochs']} epochs"
    stages = f", {train['stages']} stages" if train["stages"] > 1 else ""
    preset = f"preset `{config['preset']}`" if config.get("preset") else "default preset"
    name = f"{result['data']}, {preset}, {len(seconds)} trainings"
    source = f"comparison, {result['data']}"
    row = _row(name, source, max(threads), None, None)
    yield [*row[:5], f"{labels}{length}{stages}", significant(fmean(seconds))]


def _row(name: str, source: str, threads: int, label: float | None, step: float | None) -> list[str]:
    source = f"`{source}`" if source.endswith(".json") else source
    return [name, source, str(threads), significant(label), significant(step), NONE, NONE]
