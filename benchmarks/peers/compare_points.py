"""Other registrations of clouds, and our own solver without learning, on pairs with landmarks.

python -m benchmarks.peers.compare_points --data FOLDER|phantom --tools cpd icp lbp-fpfh ...
    --json benchmarks/results/comparison_lungs.json [--pairs N] [--threads 1]

Names: those of `benchmarks.peers.point_tools` (made by `benchmarks.peers.install`) and of
`benchmarks.peers.point_methods.CLASSICAL`. Nothing here depends on a fold: all pairs with landmarks are registered. The
file is written after every pair, and pairs that it has are not registered again (`--again` does). A pair that fails is
counted with no displacement, said, and tried again by the next call. Every field goes to the landmarks through the same
spline (lambda 0.1).
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks.comparison_rows import figures, line, put_row, rows_of
from benchmarks.peers.methods import FailedError
from benchmarks.peers.point_methods import CLASSICAL, FoundPoints, NotInstalledError, PointMethod, method_of
from benchmarks.peers.point_tools import POINT_TOOLS
from benchmarks.record import circumstances
from cst_core.plugin import EvalCase, PairScore
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.plugin import PLUGIN, score_field


def main() -> None:
    """Register what is missing, print a line a row."""
    options = arguments()
    torch.set_num_threads(options.threads)
    config = PointsConfig()
    cases = PLUGIN.read_data(options.data, None, config, "cpu").test[: options.pairs]
    about = {"data": Path(options.data).name, "target_sdlogj": None, **circumstances(options.threads)}
    for name in options.tools:
        try:
            method = method_of(name, config, options.threads)
        except NotInstalledError as error:
            print(error, flush=True)
            continue
        row = None if options.again else succeeded(rows_of(options.json).get((name, "default", None)))
        for case in cases:
            if row is None or case.id not in {pair["id"] for pair in row["pairs"]}:
                row = with_pair(row, method, case, config, options.threads)
                # where nothing could be registered the initial error would pass for a result
                if len(row["failures"]) < len(row["pairs"]):
                    put_row(options.json, row, about)
        if row is not None and len(row["failures"]) < len(row["pairs"]):
            print(line(row), flush=True)
        else:
            print(f"{name}: no pair could be registered, no row", flush=True)


def arguments() -> argparse.Namespace:
    """What was asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--tools", nargs="+", choices=[*POINT_TOOLS, *CLASSICAL], required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--again", action="store_true", help="replace rows that the file has")
    return parser.parse_args()


def succeeded(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """Without the pairs that failed: those are tried again."""
    if row is None or not row["failures"]:
        return row
    failed = {failure["id"] for failure in row["failures"]}
    kept = {name: [one for one in row[name] if one["id"] not in failed] for name in ("pairs", "runs")}
    return {**row, **kept, "failures": []}


def with_pair(
    row: dict[str, Any] | None, method: PointMethod, case: EvalCase[CloudPair], config: PointsConfig, threads: int
) -> dict[str, Any]:
    """The row with one pair more."""
    row = row or {"pairs": [], "failures": [], "runs": []}
    failures = list(row["failures"])
    try:
        found = method.register(case.pair)
    except FailedError as error:
        print(f"{case.id}: {error}", flush=True)
        failures.append({"id": case.id, "why": str(error)})
        still = FoundPoints(torch.zeros_like(case.pair.fixed.T), False, 0.0, 0.0, None, None, None, {})
        found = still._replace(settings=row.get("settings", {}), version=row.get("version"))
    score = score_field(case, found.field, found.seconds, config.model_copy(update={"smooth": found.smooth}))
    run = {"id": case.id, "cpu_seconds": found.cpu_seconds, "process_seconds": found.process_seconds}
    runs = [*row["runs"], {**run, "peak_mb": found.peak_mb, "settings": found.settings}]
    peaks = [one["peak_mb"] for one in runs if one["peak_mb"] is not None]
    return {
        "method": method.name,
        "kind": method.kind,
        "saw": "nothing",
        "setting": "default",
        "seed": None,
        "settings": found.settings,
        "version": found.version,
        **figures([*(PairScore(**pair) for pair in row["pairs"]), score]),
        "failures": failures,
        "runs": runs,
        "cpu_seconds": fmean(one["cpu_seconds"] for one in runs),
        "threads": threads,
        "peak_mb": max(peaks, default=None),
        "commit": commit(),
    }


def commit() -> str:
    """Of this working tree."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
