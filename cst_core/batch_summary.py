"""What became of all pairs of a batch, read from the folders that its processes left: a row a pair, and means."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cst_core.errors import DataError, shortened
from cst_core.files import replace_atomically
from cst_core.formats.pair_list import Listed
from cst_core.register import read_result

SUMMARY = "summary.csv"
FAILED = ".failed.txt"
_BEFORE_AND_AFTER = ("dice", "tre_mm", "ncc")
FIGURES = (*(f"{name}{when}" for name in _BEFORE_AND_AFTER for when in ("_initial", "")), "displacement_mm",
           "folding_percent", "sdlogj_l2r", "sdlogj", "seconds")  # fmt: skip
"""Columns of numbers; empty where a pair has none."""


class BatchSummary(NamedTuple):
    """Of all pairs of a list."""

    complete: int
    failed: Sequence[str]
    """Their ids."""
    mean: Mapping[str, float]
    """Of every one of `FIGURES` that a pair has."""
    verdicts: Mapping[str, int]
    """How many pairs are to be trusted, by the words of `cst_core.verdict`."""


def failure_file(out: Path) -> Path:
    """Where it is said why the pair whose results belong into ``out`` has failed; gone once it has not."""
    return out.with_name(out.name + FAILED)


def note_failure(out: Path, error: str | None) -> None:
    """Keep the one line that says why a pair failed; None: it did not."""
    path = failure_file(out)
    if error is None:
        path.unlink(missing_ok=True)
        return
    with replace_atomically(path) as partial:
        partial.write_text(error + "\n", encoding="utf-8")


def finished(pairs: Iterable[Listed], out: Path) -> int:
    """How many pairs have a result or have failed; the folder is listed once, and no file opened."""
    names = set(os.listdir(out))
    return sum(id in names or id + FAILED in names for id, _ in pairs)


def summarise(pairs: Iterable[Listed], out: Path) -> BatchSummary:
    """Write ``summary.csv``, a row a pair in the order of the list, and add it up; one result a time is in memory."""
    complete, failed, verdicts = 0, list[str](), Counter[str]()
    sums, counts = dict.fromkeys(FIGURES, 0.0), dict.fromkeys(FIGURES, 0)
    with (
        replace_atomically(out / SUMMARY) as partial,
        partial.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, ("id", "state", *FIGURES, "confidence", "error"))
        writer.writeheader()
        for id, _ in pairs:
            row = _row(out / id)
            writer.writerow({"id": id, **row})
            if row["state"] == "failed":
                failed.append(id)
                continue
            complete += 1
            verdicts.update([row["confidence"]] if row["confidence"] else [])
            for name in FIGURES:
                if isinstance(row[name], int | float):
                    sums[name] += row[name]
                    counts[name] += 1
    return BatchSummary(
        complete, failed, {name: sums[name] / counts[name] for name in FIGURES if counts[name]}, verdicts
    )


def _row(folder: Path) -> dict[str, Any]:
    noted = failure_file(folder)
    if noted.exists():
        return {"state": "failed", "error": noted.read_text(encoding="utf-8", errors="replace").strip()}
    try:
        result = read_result(folder)
    except DataError as error:
        return {"state": "failed", "error": shortened(error, 300)}
    before, after = (result.get(key) or {} for key in ("initial", "final"))
    row: dict[str, Any] = {"state": "complete", "confidence": (result.get("confidence") or {}).get("verdict")}
    for name in _BEFORE_AND_AFTER:
        row |= {f"{name}_initial": before.get(name), name: after.get(name)}
    row |= {name: result.get(name) for name in ("folding_percent", "sdlogj_l2r", "sdlogj")}
    row["displacement_mm"] = (result.get("displacement_mm") or {}).get("mean")
    row["seconds"] = (result.get("seconds") or {}).get("total")
    return row
