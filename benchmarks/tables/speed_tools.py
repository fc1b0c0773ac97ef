"""Whole registrations beside other tools, on the same pairs and threads, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.peers.timing_rows import OURS, ratio
from benchmarks.tables.comparison import NAMES
from benchmarks.tables.markdown import fixed, significant, table

Row = Mapping[str, Any]
SOLVER = "lbp-nothing"
_HEADS = ("method", "threads", "pairs", "s", "processor, s", "MB", "times ours", "processor, times ours")


def timing_images_section(file: str, result: Mapping[str, Any], comparison: Mapping[str, Any]) -> str:
    """Of what ``benchmarks/peers/time_images.py`` wrote, with the Dice of the comparison, if it is there."""
    known = comparison.get("rows", [])
    body = timing_table(with_threads(result), "Dice", lambda row: fixed(quality(row, known, "dice"), 3))
    return f"{_about(file, result)} Dice: of all test pairs, from the comparison.\n\n{body}"


def timing_points_section(
    file: str, comparison: Mapping[str, Any], timing: Mapping[str, Any], copd: Mapping[str, Any]
) -> str:
    """Of what ``benchmarks/peers/time_points.py`` wrote; without it, the comparison's processor seconds."""
    known = comparison["rows"]
    if not timing:
        return _processor_table(file, known)

    def error(row: Row) -> str:
        model = str(row["settings"].get("model", ""))
        ours = copd.get("mean", {}).get("tre_mm") if model.startswith(copd.get("model", "-")) else None
        return fixed(ours if row["method"] == OURS else quality(row, known, "tre_mm"), 2)

    body = timing_table(with_threads(timing), "TRE mm", error)
    return f"{_about('timing_lungs.json', timing)} TRE: of all ten pairs, from `{file}` and `copd.json`.\n\n{body}"


def with_threads(result: Mapping[str, Any]) -> list[Row]:
    """Rows that say their threads; those of older files have the file's."""
    return [{"threads": result["cpu"]["threads"]} | row for row in result["rows"]]


def timing_table(rows: Sequence[Row], head: str, judged: Callable[[Row], str]) -> str:
    """By threads, the fastest first."""
    ours = {row["threads"]: row for row in rows if row["method"] == OURS}
    cells = [
        [
            NAMES.get(row["method"], row["method"]),
            str(row["threads"]),
            str(row["n_pairs"]),
            significant(row["seconds"]),
            significant(row["cpu_seconds"]),
            significant(row["peak_mb"], 3),
            significant(row.get("times_ours", ratio(row, ours.get(row["threads"]), "seconds"))),
            significant(row.get("times_ours_processor", ratio(row, ours.get(row["threads"]), "cpu_seconds"))),
            judged(row),
        ]
        for row in sorted(rows, key=lambda row: (-row["threads"], row["seconds"]))
    ]
    return table([*_HEADS, head], cells)


def quality(row: Row, known: Sequence[Row], figure: str) -> float | None:
    """Of the comparison's rows of the same model, or else of the same method; the mean over their seeds."""
    default = [one for one in known if one["setting"] == "default"]
    model = row["settings"].get("model")
    same = [one for one in default if model is not None and one["settings"].get("model") == model]
    same = same or [one for one in default if one["method"] == row["method"]]
    values = [one["mean"][figure] for one in same if one["mean"].get(figure) is not None]
    return fmean(values) if values else None


def _processor_table(file: str, known: Sequence[Row]) -> str:
    rows = [row for row in known if row["setting"] == "default" and row.get("cpu_seconds") is not None]
    ours = next((row for row in rows if row["method"] == SOLVER), None)
    cells = [
        [
            row["method"],
            str(row["threads"]),
            significant(row["cpu_seconds"]),
            significant(row["peak_mb"], 3),
            significant(ratio(row, ours, "cpu_seconds")),
            fixed(row["mean"]["tre_mm"], 2),
        ]
        for row in sorted(rows, key=lambda row: row["cpu_seconds"])
    ]
    heads = ("method", "threads", "processor, s", "MB", f"times {SOLVER}", "TRE mm")
    about = (
        f"From `{file}`: processor seconds of runs on a machine that did other work too; `{SOLVER}` is our solver "
        "without any features, `icp` and `fgr` are rigid. Side by side, ours included, they are not measured yet: "
        "`python -m benchmarks.peers.time_points --data FOLDER --model copd-fold1 --tools cpd --json "
        "benchmarks/results/timing_lungs.json` does it."
    )
    return f"{about}\n\n{table(heads, cells)}"


def _about(file: str, result: Mapping[str, Any]) -> str:
    cpu = result["cpu"]
    commits = dict.fromkeys(row.get("commit", result["commit"]) for row in result["rows"])
    return (
        f"From `{file}`, commit {', '.join(commits)}; {cpu['name']}, {cpu['cores']} cores, cst "
        f"{result['versions']['cst']}, torch {result['versions']['torch']}. Every registration is a process of its "
        "own, all methods in turn pair by pair. Seconds are from memory to memory, without start and files, means over "
        "pairs; MB: the largest of the process, libraries included. Settings and versions are in the file."
    )
