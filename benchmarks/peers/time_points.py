"""Seconds and memory of the tools for clouds and of ours, in turn pair by pair, as `time_images` has them of scans.

python -m benchmarks.peers.time_points --data FOLDER|phantom --model copd-fold1
    --tools cpd [icp ...] [--pairs 3] [--threads 2] --json benchmarks/results/timing_lungs.json

Every registration is a process of its own, ours as well (`adapters/cst_self_points.py`). Pairs are those with
landmarks; ours may have been trained on them, which changes no seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.peers.methods import FailedError
from benchmarks.peers.own_points import OwnPointMethod
from benchmarks.peers.point_methods import FoundPoints, PointToolMethod
from benchmarks.peers.point_tools import POINT_TOOLS
from benchmarks.peers.timing_rows import tell
from cst_points.config import PointsConfig
from cst_points.plugin import PLUGIN


def main() -> None:
    """Print a line a method, slowest last; write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", required=True, help="ours: shipped name, run folder or file")
    parser.add_argument("--tools", nargs="*", choices=list(POINT_TOOLS), default=["cpd"])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cases = PLUGIN.read_data(options.data, None, PointsConfig(), "cpu").test[: options.pairs]
    methods: list[PointToolMethod] = [OwnPointMethod(options.model, options.threads)]
    methods += [PointToolMethod(name, options.threads) for name in options.tools]
    found: dict[str, list[FoundPoints]] = {method.name: [] for method in methods}
    for case in cases:
        for method in methods:
            try:
                found[method.name].append(method.register(case.pair))
            except FailedError as error:
                print(f"{case.id}: {error}", flush=True)
    tell(found, options.threads, options.data, options.json)


if __name__ == "__main__":
    main()
