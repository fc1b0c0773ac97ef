"""Rows of seconds and memory, by method and threads: what is measured again replaces what was there, the rest stays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from benchmarks.record import circumstances, write

OURS = "self"
Row = dict[str, Any]


class Timed(Protocol):
    """What a method says of one pair; seconds, and MB (10^6 bytes)."""

    @property
    def seconds(self) -> float: ...
    @property
    def cpu_seconds(self) -> float: ...
    @property
    def process_seconds(self) -> float | None: ...
    @property
    def peak_mb(self) -> float | None: ...
    @property
    def version(self) -> str | None: ...
    @property
    def settings(self) -> dict[str, Any]: ...


def timing_rows(found: Mapping[str, Sequence[Timed]], threads: int) -> list[Row]:
    """A row a method that registered anything, fastest first; ratios are to our row of the same call."""
    about = circumstances(threads)
    rows = [row_of(name, made, threads) | {"commit": about["commit"]} for name, made in found.items() if made]
    ours = next((row for row in rows if row["method"] == OURS), None)
    for row in rows:
        row["times_ours"] = ratio(row, ours, "seconds")
        row["times_ours_processor"] = ratio(row, ours, "cpu_seconds")
    return sorted(rows, key=lambda row: row["seconds"])


def tell(found: Mapping[str, Sequence[Timed]], threads: int, data: str, file: Path | None) -> None:
    """Print a line a method, slowest last; with ``file`` put the rows there, under the name of the folder ``data``."""
    rows = timing_rows(found, threads)
    for row in rows:
        print(line(row), flush=True)
    if file:
        put_rows(file, Path(data).name, rows, threads)


def ratio(row: Mapping[str, Any], ours: Mapping[str, Any] | None, key: str) -> float | None:
    """Of two rows' seconds; None where ours are not there or too short for the clock."""
    return row[key] / ours[key] if ours is not None and ours[key] else None


def row_of(name: str, found: Sequence[Timed], threads: int) -> Row:
    """Means over pairs, and the largest memory."""
    return {
        "method": name,
        "threads": threads,
        "n_pairs": len(found),
        "seconds": fmean(one.seconds for one in found),
        "cpu_seconds": fmean(one.cpu_seconds for one in found),
        "process_seconds": fmean(one.process_seconds or one.seconds for one in found),
        "peak_mb": max(one.peak_mb or 0.0 for one in found),
        "version": found[-1].version,
        "settings": found[-1].settings,
    }


def line(row: Mapping[str, Any]) -> str:
    """A row on the screen."""
    return (
        f"{row['method']:12s} {row['seconds']:8.2f} s  processor {row['cpu_seconds']:8.2f} s  "
        f"whole process {row['process_seconds']:8.2f} s  {row['peak_mb']:6.0f} MB  "
        f"({row['n_pairs']} pairs, {row['threads']} threads)"
    )


def put_rows(file: Path, data: str, rows: Iterable[Row], threads: int) -> None:
    """Into the file, in the place of those of the same method and threads."""
    kept = {(row["method"], row["threads"]): row for row in rows_in(file)}
    kept |= {(row["method"], row["threads"]): row for row in rows}
    write({"data": data, "rows": list(kept.values())} | circumstances(threads), file)


def rows_in(file: Path) -> list[Row]:
    """None where there is no file. A row that does not say its threads and commit has those of its file."""
    if not file.exists():
        return []
    result = json.loads(file.read_text())
    about = {"threads": result["cpu"]["threads"], "commit": result["commit"]}
    return [about | row for row in result["rows"]]
