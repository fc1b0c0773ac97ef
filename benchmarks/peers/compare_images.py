"""Other registration tools, and the classical parts of ours, on the pairs that `cst evaluate --backend image` tests.

python -m benchmarks.peers.compare_images --data FOLDER|phantom [--fold K] --preset small --tools greedy ants ...
    --json benchmarks/results/comparison_hippocampus.json [--matched --target-sdlogj 0.096] [--pairs N] [--threads 2]
    [--split train]

Names: the tools of `benchmarks.peers.tools` (made by `benchmarks.peers.install`) and those of
`benchmarks.peers.classical`. A row that the file has is not made again (`--again` does). A pair that fails is counted
as no displacement, and said. `--matched` chooses every method's own regularisation by the SDlogJ of 8 of the pairs.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.comparison_rows import figures, line, put_row, rows_of
from benchmarks.peers.classical import NAMES, ClassicalMethod
from benchmarks.peers.matching import match
from benchmarks.peers.methods import Method
from benchmarks.peers.remembered import Scorer
from benchmarks.peers.tool_method import ToolMethod
from benchmarks.peers.tools import TOOLS
from benchmarks.record import circumstances
from cst_core.config import overridden
from cst_core.plugin import EvalCase
from cst_image.config import ImageConfig
from cst_image.pair import ImagePair
from cst_image.plugin import PLUGIN
from cst_image.presets import PRESETS

MATCHED_ON = 8
"""Pairs on which the strength is chosen; labels are not looked at."""
Cases = Sequence[EvalCase[ImagePair]]


def main() -> None:
    """Make what is missing, print a line a row."""
    options = arguments()
    torch.set_num_threads(options.threads)
    config = ImageConfig.model_validate(dict(PRESETS[options.preset].backend))
    config = ImageConfig.model_validate(overridden(PLUGIN.name, config, options.set).model_dump())
    data = PLUGIN.read_data(options.data, options.fold, config, "cpu")
    cases = data.split(options.split)[: options.pairs]
    scorer = Scorer(options.remember, data.fingerprint + config.model_dump_json())
    setting = "matched" if options.matched else "default"
    about = about_file(options)
    for name in options.tools:
        key = (name, setting, 0 if name == "adam-random" else None)
        if key in rows_of(options.json) and not options.again:
            print(f"{name} {setting}: is in {options.json}", flush=True)
            continue
        method = method_of(name, options.preset, config, options.threads, options.deeds)
        default = rows_of(options.json).get((name, "default", key[2]))
        target = options.target_sdlogj if options.matched else None
        row = row_of(method, cases, target, options.threads, scorer, default)
        if row is None:
            print(f"{name} {setting}: no pair could be registered, no row", flush=True)
            continue
        put_row(options.json, {**row, "seed": key[2]}, about)
        print(line(row), flush=True)


def arguments() -> argparse.Namespace:
    """What was asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--fold", type=int)
    parser.add_argument("--preset", choices=list(PRESETS), default=PLUGIN.default_preset)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--tools", nargs="+", choices=[*TOOLS, *NAMES], required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--matched", action="store_true")
    parser.add_argument("--target-sdlogj", type=float, default=0.096, help="default: ours on the hippocampus")
    parser.add_argument("--again", action="store_true", help="replace rows that the file has")
    parser.add_argument("--remember", type=Path, help="folder: pairs registered before a kill are read from it")
    parser.add_argument("--deeds", type=Path, help="folder of deedsBCV's binaries")
    return parser.parse_args()


def method_of(name: str, preset: str, config: ImageConfig, threads: int, deeds: Path | None = None) -> Method:
    """By its name."""
    if name in NAMES:
        return ClassicalMethod(name, config)
    return ToolMethod(name, preset, threads, {"binaries": str(deeds)} if name == "deeds" else None)


def row_of(
    method: Method,
    cases: Cases,
    target: float | None,
    threads: int,
    scorer: Scorer,
    default: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """A row of the shared form; None if no pair could be registered. ``target``: of the mean SDlogJ; None: defaults.

    ``default``: the method's row at its defaults, taken for the matched one where no strength comes nearer.
    """
    settings: dict[str, Any] = {"knob": method.knob.name}
    strength = None
    if target is not None:
        chosen = match(lambda tried: mean_sdlogj(method, some_of(cases), tried, scorer), target, method.knob)
        strength = chosen.strength
        settings |= {"strength": strength, "reached": chosen.reached, "tried": chosen.tried}
        told = "" if chosen.reached else f", target {target} not reached"
        print(f"{method.name}: {method.knob.name} {strength:.4g}, {len(chosen.tried)} tried{told}", flush=True)
        if default and not chosen.reached and strength == method.knob.default:
            return {**default, "setting": "matched", "settings": {**default["settings"], **settings}}
    outcomes = [scorer.outcome(method, case, strength) for case in cases]
    failures = [{"id": one.score.id, "why": one.failure} for one in outcomes if one.failure is not None]
    for failure in failures:
        print(f"{failure['id']}: {failure['why']}", flush=True)
    made = [one for one in outcomes if one.failure is None]
    if not made:
        return None
    return {
        "method": method.name,
        "kind": method.kind,
        "saw": "nothing",
        "setting": "default" if target is None else "matched",
        "seed": None,
        "settings": {**made[-1].settings, **settings},
        "version": made[-1].version,
        **figures([one.score for one in outcomes]),
        "failures": failures,
        "cpu_seconds": _mean([one.cpu_seconds for one in made]),
        "process_seconds": _mean([one.process_seconds for one in made]),
        "threads": threads,
        "peak_mb": max((one.peak_mb for one in made if one.peak_mb is not None), default=None),
        "commit": commit(),
    }


def some_of(cases: Cases) -> Cases:
    """`MATCHED_ON` of them, evenly spread."""
    places = sorted({round(i * (len(cases) - 1) / max(1, MATCHED_ON - 1)) for i in range(MATCHED_ON)})
    return [cases[place] for place in places]


def mean_sdlogj(method: Method, cases: Cases, strength: float, scorer: Scorer) -> float:
    """`sdlogj_l2r` over the pairs that can be registered; infinite if none can, as of a field that tears."""
    outcomes = [scorer.outcome(method, case, strength) for case in cases]
    for one in outcomes:
        if one.failure is not None:
            print(f"  {one.score.id} at {strength:.4g}: {one.failure}", flush=True)
    found = _mean([one.score.sdlogj_l2r for one in outcomes if one.failure is None])
    print(f"  {method.name}: {method.knob.name} {strength:.4g}: SDlogJ (L2R) {found}", flush=True)
    return float("inf") if found is None else found


def about_file(options: argparse.Namespace) -> dict[str, Any]:
    """What the file says beside its rows."""
    target = options.target_sdlogj if options.matched else None
    return {"data": Path(options.data).name, "target_sdlogj": target, **circumstances(options.threads)}


def commit() -> str:
    """Of this working tree."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


if __name__ == "__main__":
    main()
