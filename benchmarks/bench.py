"""The comparison, at two sizes: what ``make bench`` and ``make bench-full DATA=FOLDER`` call.

    python -m benchmarks.bench small [--out runs/bench]
    python -m benchmarks.bench full --data FOLDER [--out runs/bench-full]

``small``: both phantoms, one stage of quick settings, self-training and two rivals; the rows stay in --out, the tables
are printed. ``full``: the data sets that FOLDER holds, three seeds, every supervision that the backends offer, the
other tools whose environments there are, at their defaults and at self-training's SDlogJ; rows go to
benchmarks/results, runs to --out. Every command is printed before it runs; all of them keep what is done, so the same
call goes on after a kill. Exit code 1 where a command failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers.classical import NAMES as CLASSICAL
from benchmarks.peers.point_methods import CLASSICAL as CLASSICAL_POINTS
from benchmarks.peers.point_tools import POINT_TOOLS
from benchmarks.peers.tools import ENVIRONMENTS, TOOLS
from benchmarks.tables.pages import RESULTS
from cst_core import plugins
from cst_core.choose_supervision import offered

SELF = "self"
_SEEDS = ("0", "1", "2")
_IMAGES, _POINTS = "benchmarks.peers.compare_images", "benchmarks.peers.compare_points"
_H_ALONE = ("--also", "adam=false:h alone")


class Study(NamedTuple):
    """One data set and how it is compared on."""

    name: str
    """Of ``comparison_NAME.json``."""
    backend: str
    folder: str
    """Within the data folder; or ``phantom``."""
    options: Sequence[str]
    """Fold, preset and settings of ``benchmarks.supervisions``."""
    rivals: Sequence[str] | None
    """None: all that the backend offers."""
    peers: Sequence[str] | None
    """The module that registers by other tools, and its options; None: they have no part in this."""
    tools: Sequence[str] | None
    """None: the classical ones, and the others whose environments there are."""


SMALL = (
    Study(
        name="phantom_points",
        backend="points",
        folder="phantom",
        options=("--fold", "3", "--preset", "quick", "--set", "stages=1"),
        rivals=("chamfer", "synthetic-rigid"),
        peers=None,
        tools=(),
    ),
    Study(
        name="phantom_image",
        backend="image",
        folder="phantom",
        options=("--preset", "quick", "--set", "stages=1", "--set", "iterations=60", *_H_ALONE),
        rivals=("mind", "ncc"),
        peers=(_IMAGES, "--preset", "quick"),
        tools=("convex-mind-adam",),
    ),
)
_COARSE = ("--preset", "coarse", "--set", "max_train_pairs=50", "--set", "iterations=150")
# The pairs without landmarks are left out of the lungs: supervisions with a truth could not use them.
FULL = (
    Study(
        name="lungs",
        backend="points",
        folder="LungKeypoints",
        options=("--fold", "1", "2", "3", "4", "5", "--preset", "best", "--set", "extra_pairs=false"),
        rivals=None,
        peers=(_POINTS,),
        tools=None,
    ),
    Study(
        name="hippocampus",
        backend="image",
        folder="HippocampusMR",
        options=("--fold", "1", "--preset", "small", *_H_ALONE, "--tune-pairs", "16"),
        rivals=None,
        peers=(_IMAGES, "--fold", "1", "--preset", "small"),
        tools=None,
    ),
    Study(
        name="abdomen",
        backend="image",
        folder="AbdomenCTCT",
        options=(*_COARSE, *_H_ALONE),
        rivals=None,
        peers=(_IMAGES, "--preset", "coarse"),
        tools=None,
    ),
)


def main() -> None:
    """Run what is missing; print the tables in the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=("small", "full"))
    parser.add_argument("--data", type=Path, help="folder of the data sets; of full alone")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    small = options.size == "small"
    if not small and (options.data is None or not any((options.data / study.folder).is_dir() for study in FULL)):
        parser.error(f"--data {options.data}: must be a folder with any of {', '.join(s.folder for s in FULL)}")
    out = options.out or Path("runs", "bench" if small else "bench-full")
    results = out if small else RESULTS
    failed, files = [], []
    for study in SMALL if small else FULL:
        data = "phantom" if small else str(options.data / study.folder)
        if not small and not Path(data).is_dir():
            print(f"{study.name}: there is no {data}; left out", flush=True)
            continue
        file = results / f"comparison_{study.name}.json"
        for command in commands_of(study, data, file, out / study.name, options.threads, ("0",) if small else _SEEDS):
            print(f"\n$ python {shlex.join(command)}", flush=True)
            if subprocess.run([sys.executable, *command], check=False).returncode:
                failed.append(shlex.join(command))
        files += [file] if file.exists() else []
    finish(files, small)
    for command in failed:
        print(f"failed, at least in part: python {command}", flush=True)
    sys.exit(1 if failed else 0)


def commands_of(
    study: Study, data: str, file: Path, runs: Path, threads: int, seeds: Sequence[str]
) -> Iterator[list[str]]:
    """The commands of one study in order, without the word python."""
    known = [name for name in offered(plugins.load(study.backend)) if name != SELF]
    rivals = known if study.rivals is None else [name for name in study.rivals if name in known]
    for name in sorted(set(study.rivals or ()) - set(known)):
        print(f"{study.name}: the backend {study.backend} offers no supervision {name}; left out", flush=True)
    shared = ["--data", data, "--threads", str(threads), "--json", str(file)]
    yield [
        *("-m", "benchmarks.supervisions", "--backend", study.backend, "--name", study.name, *shared),
        *(*study.options, "--supervision", SELF, *rivals, "--seeds", *seeds),
        *("--target-sdlogj", SELF, "--measure", "--runs", str(runs)),
    ]
    if study.peers is not None:
        tools = tools_there(study) if study.tools is None else study.tools
        peers = ["-m", *study.peers, *shared, "--tools", *tools]
        yield peers
        # what compares clouds has no matched rows; the file has a target once self-training is in it
        target = json.loads(file.read_text()).get("target_sdlogj") if file.exists() else None
        if study.peers[0] == _IMAGES and target is not None:
            yield [*peers, "--matched", "--target-sdlogj", f"{target:.6g}"]


def tools_there(study: Study) -> list[str]:
    """Those that need no installation, and the installed ones; says which are not."""
    points = study.backend == "points"
    needed = (
        {name: tool.environment for name, tool in POINT_TOOLS.items()} if points else {name: name for name in TOOLS}
    )
    there = [tool for tool, environment in needed.items() if (ENVIRONMENTS / environment).is_dir()]
    if missing := sorted({environment for tool, environment in needed.items() if tool not in there}):
        print(f"{study.name}: not installed: {', '.join(missing)}; python -m benchmarks.peers.install TOOL makes them")
    return [*(CLASSICAL_POINTS if points else CLASSICAL), *there]


def finish(files: Sequence[Path], small: bool) -> None:
    """The tables: of the phantoms on the screen, of real data in the documentation."""
    shown = ["--show", *map(str, files)] if small else []
    if files:
        subprocess.run([sys.executable, "-m", "benchmarks.tables", *shown], check=True)
    if files and not small:
        subprocess.run([sys.executable, "-m", "benchmarks.tables.figure_stages"], check=True)


if __name__ == "__main__":
    main()
