"""Seconds and memory of all tools and of ours, in turn pair by pair: what the machine does besides hits all alike.

python -m benchmarks.peers.time_images --data FOLDER|phantom [--fold K] --preset small --model hippocampus
    --tools greedy ants ... [--pairs 5] [--threads 2] --json benchmarks/results/timing_hippocampus.json

Every registration is a process of its own, ours as well (`adapters/cst_self.py`), so that memory and start count alike.
Rows of the file that are of other methods or other threads stay as they are; ours is measured anew in every call, and
ratios are to ours of the same call.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.peers.methods import FailedError, Found
from benchmarks.peers.own_method import OwnMethod
from benchmarks.peers.timing_rows import tell
from benchmarks.peers.tool_method import ToolMethod
from benchmarks.peers.tools import TOOLS
from cst_image.config import ImageConfig
from cst_image.plugin import PLUGIN
from cst_image.presets import PRESETS


def main() -> None:
    """Print a line a method, slowest last; write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--fold", type=int)
    parser.add_argument("--preset", choices=list(PRESETS), default=PLUGIN.default_preset)
    parser.add_argument("--model", required=True, help="ours: shipped name, run folder or file")
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=[name for name in TOOLS if name != "deeds"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = ImageConfig.model_validate(dict(PRESETS[options.preset].backend))
    cases = PLUGIN.read_data(options.data, options.fold, config, "cpu").test[: options.pairs]
    methods = [OwnMethod(options.model, options.threads)]
    methods += [ToolMethod(name, options.preset, options.threads) for name in options.tools]
    found: dict[str, list[Found]] = {method.name: [] for method in methods}
    for case in cases:
        for method in methods:
            try:
                found[method.name].append(method.register(case.pair, None))
            except FailedError as error:
                print(f"{case.id}: {error}", flush=True)
    tell(found, options.threads, options.data, options.json)


if __name__ == "__main__":
    main()
