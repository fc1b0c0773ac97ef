"""Training that is killed at random moments and resumed each time ends with the weights of training that was not.

    python -m benchmarks.kills --backend toy|points|image [--kills 50] [--seed 0] [--json benchmarks/results/kills.json]

``cst train`` runs in a process of its own, of one thread. So that it begins at once it is forked, from a server that
has imported and never computed: a copy of a process with threads or with a used OpenMP may hang. It is killed (SIGKILL)
at a random moment and resumed with ``--resume``, as often as is asked for; where a run ends before its kills are used
up, another one begins. Moments are drawn by progress (so many more lines in the log, and up to a tenth of a second),
one in five by time, from the start of the process on. After every kill each file of the run folder must be whole under
its name (`remains.py`); at the end the weights of all stages are compared, bit by bit, with those of a run
that nobody killed, and nothing half-written may be left. The toy is the backend of ``tests/toy``; the others train on
their phantoms (clouds are thinned), with the smallest schedules that have two stages.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.kills.process import SCHEDULES, finish, killed, prepare, start
from benchmarks.kills.remains import leftovers, log_lines, place, unsound, weights
from benchmarks.record import circumstances, write
from cst_core.plugins import load


def main() -> None:
    """Kill, resume, compare, print, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=SCHEDULES, default="toy")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, help="the backend's part of this file is replaced")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row = kill_often(options.backend, options.kills, options.seed, Path(folder))
    print(shown(options.backend, row))
    if options.json:
        before = json.loads(options.json.read_text()) if options.json.exists() else {}
        write(before | {options.backend: row | {"circumstances": circumstances(1)}}, options.json)
    sys.exit(0 if row["same"] and not row["unsound_files"] else 1)


def kill_often(backend: str, kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Figures of one backend: how many kills, where they fell, what they left, whether all weights are the same."""
    prepare(backend, folder)
    draw, began = random.Random(seed), time.monotonic()
    finish(start(backend, folder / "whole"), folder / "whole")
    expected, seconds = weights(folder / "whole"), time.monotonic() - began
    lines = len(log_lines(folder / "whole"))
    where, runs, other, broken, done = Counter[str](), 0, list[str](), list[str](), 0
    plugin = load(backend)
    while done < kills:
        run, runs = folder / f"run-{runs}", runs + 1
        while done < kills and killed(start(backend, run), run, draw, lines, seconds):
            done += 1
            where[place(run)] += 1
            broken += [f"kill {done}: {text}" for text in unsound(run, plugin)]
        finish(start(backend, run), run)
        broken += [f"end of {run.name}: {text}" for text in (*unsound(run, plugin), *leftovers(run))]
        other += [] if weights(run) == expected else [f"{run.name}, after {done} kills"]
        shutil.rmtree(run)
    return {
        "kills": done,
        "runs": runs,
        "same": not other,
        "other_weights": other,
        "unsound_files": broken,
        "killed": dict(sorted(where.items())),
        "seconds_unkilled": round(seconds, 1),
        "seconds": round(time.monotonic() - began, 1),
        "set": list(SCHEDULES[backend]),
        "sha256": expected,
    }


def shown(backend: str, row: Mapping[str, Any]) -> str:
    """For people."""
    lines = [f"  {count:3d} {where}" for where, count in row["killed"].items()]
    end = "the same weights as without a kill" if row["same"] else f"OTHER WEIGHTS: {row['other_weights']}"
    files = f"FILES THAT ARE NOT WHOLE: {row['unsound_files']}" if row["unsound_files"] else "every file whole"
    return "\n".join(
        [f"{backend}: {row['kills']} kills in {row['runs']} runs, {row['seconds']} s: {end}; {files}", *lines]
    )


if __name__ == "__main__":
    main()
