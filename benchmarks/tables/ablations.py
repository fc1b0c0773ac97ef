"""Table 1: what each part is worth, in training and at test time, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.tables.markdown import NONE, fixed, significant, table

WAYS = {"whole": "whole registration", "h alone": "h's field alone"}


def training_section(file: str, result: Mapping[str, Any]) -> str:
    """The upper half, of what ``benchmarks/ablation_training.py`` wrote, or ``benchmarks/beyond.py``."""
    rows = []
    for variant, ways in result["over_seeds"].items():
        cells = []
        for way in WAYS:
            found = ways.get(way)
            spread = f" ± {fixed(found['sd'], 3)}" if found and found["sd"] is not None else ""
            cells += [fixed(found["dice"], 3) + spread, fixed(found["sdlogj_l2r"], 3)] if found else [NONE, NONE]
        seeds = sorted({row["seed"] for row in result["rows"] if row["variant"] == variant})
        rows.append([_variant(variant), ", ".join(map(str, seeds)), *cells])
    heads = [
        "one stage of training",
        "seeds",
        *(f"{text}: {figure}" for text in WAYS.values() for figure in ("Dice", "SDlogJ")),
    ]
    train = result["config"]["train"]
    about = (
        f"{result['n_pairs']} pairs, one stage of {train['iterations']} steps, for each seed from the same first "
        "labels; mean ± standard deviation over seeds."
    )
    return f"{_from(file, result)} {about}\n\n{table(heads, rows)}"


def test_time_section(file: str, result: Mapping[str, Any]) -> str:
    """The lower half, of what ``benchmarks/ablation.py`` wrote."""
    rows = [
        [
            f"`{row['model']}`",
            row["steps"],
            f"{fixed(row['dice'], 3)} ± {fixed(row['sd'], 3)}",
            fixed(row["hd95_mm"], 2),
            fixed(row["sdlogj_l2r"], 3),
            fixed(row["folding_percent"], 2),
            significant(row["seconds"]),
        ]
        for row in result["rows"]
    ]
    heads = ["model", "steps at test time", "Dice", "HD95 mm", "SDlogJ", "folding %", "s"]
    counts = sorted({row["n_pairs"] for row in result["rows"]})
    about = f"{' or '.join(map(str, counts))} pairs; mean ± standard deviation over pairs."
    return f"{_from(file, result)} {about}\n\n{table(heads, rows, left=2)}"


def _variant(name: str) -> str:
    return {"random": "random features, untrained", "all": "all three asymmetries"}.get(name, name)


def _from(file: str, result: Mapping[str, Any]) -> str:
    cpu = result["cpu"]
    return (
        f"From `{file}`, commit {result['commit']}; {cpu['name']}, {cpu['cores']} cores, {cpu['threads']} threads. "
        "SDlogJ by Learn2Reg's definition."
    )
