from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchmarks.peers.timing_rows import line, put_rows, ratio, rows_in, timing_rows


class Pair(NamedTuple):
    seconds: float
    cpu_seconds: float
    process_seconds: float | None
    peak_mb: float | None
    version: str | None
    settings: dict[str, Any]


def one(seconds: float, peak_mb: float | None = 10.0) -> Pair:
    return Pair(seconds, 2 * seconds, None, peak_mb, "1", {})


def test_means_the_largest_memory_and_ratios_to_ours():
    found = {"slow": [one(4.0), one(8.0, peak_mb=30.0)], "self": [one(2.0, peak_mb=None)], "failed": []}
    ours, slow = timing_rows(found, 1)
    assert (slow["method"], slow["threads"], slow["n_pairs"]) == ("slow", 1, 2)
    assert (slow["seconds"], slow["process_seconds"], slow["peak_mb"]) == (6.0, 6.0, 30.0)
    assert slow["times_ours"] == slow["times_ours_processor"] == pytest.approx(3.0)
    assert (ours["times_ours"], ours["peak_mb"]) == (1.0, 0.0)
    assert "slow" in line(slow)
    assert "2 pairs, 1 threads" in line(slow)


def test_without_ours_there_is_no_ratio():
    assert timing_rows({"slow": [one(4.0)]}, 1)[0]["times_ours"] is None
    assert ratio({"cpu_seconds": 1.0}, {"cpu_seconds": 0.0}, "cpu_seconds") is None


def test_other_threads_and_methods_stay(tmp_path: Path):
    file = tmp_path / "timing.json"
    assert rows_in(file) == []
    old = {
        "rows": [{"method": "a", "seconds": 1.0}, {"method": "b", "seconds": 2.0}],
        "commit": "old",
        "cpu": {"threads": 2},
    }
    file.write_text(json.dumps(old))
    put_rows(file, "D", timing_rows({"a": [one(5.0)], "self": [one(1.0)]}, 1), 1)
    put_rows(file, "D", timing_rows({"a": [one(6.0)], "self": [one(2.0)]}, 2), 2)
    found = {(row["method"], row["threads"]): row for row in rows_in(file)}
    assert {key: row["seconds"] for key, row in found.items()} == {
        ("a", 2): 6.0,
        ("b", 2): 2.0,
        ("a", 1): 5.0,
        ("self", 1): 1.0,
        ("self", 2): 2.0,
    }
    assert found["b", 2]["commit"] == "old"
    assert found["a", 1]["times_ours"] == 5.0
