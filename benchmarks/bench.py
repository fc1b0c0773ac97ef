"""The comparison, at two sizes: what ``make bench`` and ``make bench-full DATA=FOLDER`` call.

    python -m benchmarks.bench small [--out runs/bench]
    python -m benchmarks.bench full --data FOLDER [--out runs/bench-full] [--studies lungs ...] [--seeds 0 ...]
        [--rivals mind ...] [--tools greedy ...] [--results FOLDER]

``small``: both phantoms, one stage of quick settings, self-training and two rivals; the rows stay in --out, the tables
are printed. ``full``: the data sets that FOLDER holds, three seeds, every supervision that the backends offer, the
other tools whose environments there are, at their defaults and at self-training's SDlogJ, and the shipped weights;
rows go to benchmarks/results, or to --results, where everything is made anew; runs to --out. Every command is printed
before it runs; all of them keep what is done, so the same call goes on after a kill. Exit code 1 where one failed.
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
_ONE_STAGE = ("--set", "stages=1")
_SHORT = ("--set", "max_train_pairs=50", "--set", "iterations=150")
_H_ALONE = ("--also", "adam=false:h alone")
_PUBLISHED = ("--also", "weight=10,rounds=4,second_warp=false,smooth=false:published solver")


class Study(NamedTuple):
    """One data set and how it is compared on."""

    name: str
    """Of ``comparison_NAME.json``."""
    backend: str
    folder: str
    """Within the data folder; or ``phantom``."""
    folds: Sequence[str]
    options: Sequence[str]
    """Preset and settings of ``benchmarks.supervisions``."""
    rivals: Sequence[str] | None
    """None: all that the backend offers."""
    peers: Sequence[str] | None
    """The module that registers by other tools, and its options; None: they have no part in this."""
    tools: Sequence[str] | None
    """None: the classical ones, and the others whose environments there are."""
    shipped: tuple[str, str] | None
    """The weights, as `benchmarks.model_row` takes them, and what their rows are called."""
    target: str | None = SELF
    """SDlogJ at which all are compared once more; ``self``: that of self-training; None: they are not."""


SMALL = (
    Study(
        name="phantom_points",
        backend="points",
        folder="phantom",
        folds=("3",),
        options=("--preset", "quick", *_ONE_STAGE),
        rivals=("chamfer", "synthetic-rigid"),
        peers=None,
        tools=(),
        shipped=None,
    ),
    Study(
        name="phantom_image",
        backend="image",
        folder="phantom",
        folds=(),
        options=("--preset", "quick", *_ONE_STAGE, "--set", "iterations=60", *_H_ALONE),
        rivals=("mind", "ncc"),
        peers=(_IMAGES, "--preset", "quick"),
        tools=("convex-mind-adam",),
        shipped=None,
    ),
)
# One stage each: only self-training has a second one. The lungs without the pairs that have no landmarks: supervisions
# with a truth could not use them.
FULL = (
    Study(
        name="lungs",
        backend="points",
        folder="LungKeypoints",
        folds=("1", "2", "3", "4", "5"),
        options=("--preset", "best", "--set", "epochs=8", "--set", "extra_pairs=false", *_PUBLISHED),
        rivals=None,
        peers=(_POINTS,),
        tools=None,
        shipped=("copd-fold{fold}", "best"),
        target=None,  # what registers clouds has one SDlogJ as it is
    ),
    Study(
        name="hippocampus",
        backend="image",
        folder="HippocampusMR",
        folds=("1",),
        options=("--preset", "small", *_ONE_STAGE, *_H_ALONE),
        rivals=None,
        peers=(_IMAGES, "--preset", "small"),
        tools=None,
        shipped=("hippocampus", "self (three stages)"),
        target="0.094",  # self-training's own, .115, is beyond what other tools can be made to do
    ),
    Study(
        name="abdomen",
        backend="image",
        folder="AbdomenCTCT",
        folds=(),
        options=("--preset", "coarse", *_ONE_STAGE, *_SHORT, *_H_ALONE),
        rivals=None,
        peers=(_IMAGES, "--preset", "coarse"),
        tools=None,
        shipped=("abdomen", "best"),
        target="0.114",  # for the same reason; .14 of itself
    ),
)


def main() -> None:
    """Run what is missing; print the tables in the end."""
    options = arguments()
    small = options.size == "small"
    out = options.out or Path("runs", "bench" if small else "bench-full")
    results = options.results or (out if small else RESULTS)
    failed, files = [], []
    for study in SMALL if small else FULL:
        if options.studies and study.name not in options.studies:
            continue
        study = study._replace(rivals=options.rivals or study.rivals, tools=options.tools or study.tools)
        data = "phantom" if small else str(options.data / study.folder)
        if not small and not Path(data).is_dir():
            print(f"{study.name}: there is no {data}; left out", flush=True)
            continue
        file = results / f"comparison_{study.name}.json"
        seeds = options.seeds or (_SEEDS[:1] if small else _SEEDS)
        for command in commands_of(study, data, file, out / study.name, options.threads, seeds):
            print(f"\n$ python {shlex.join(command)}", flush=True)
            if subprocess.run([sys.executable, *command], check=False).returncode:
                failed.append(shlex.join(command))
        files += [file] if file.exists() else []
    finish(files, published=results == RESULTS)
    for command in failed:
        print(f"failed, at least in part: python {command}", flush=True)
    sys.exit(1 if failed else 0)


def arguments() -> argparse.Namespace:
    """What was asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=("small", "full"))
    parser.add_argument("--data", type=Path, help="folder of the data sets; of full alone")
    parser.add_argument("--studies", nargs="+", choices=[study.name for study in (*SMALL, *FULL)])
    parser.add_argument("--seeds", nargs="+", help="default: 0; of full 0 1 2")
    parser.add_argument("--rivals", nargs="+", metavar="NAME", help="supervisions beside self-training; default: all")
    parser.add_argument("--tools", nargs="+", metavar="NAME", help="default: all that are there")
    parser.add_argument("--out", type=Path, help="folder of the runs")
    parser.add_argument("--results", type=Path, help="folder of the rows; default: --out, of full benchmarks/results")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    there = options.data is not None and any((options.data / study.folder).is_dir() for study in FULL)
    if options.size == "full" and not there:
        parser.error(f"--data {options.data}: must be a folder with any of {', '.join(s.folder for s in FULL)}")
    return options


def commands_of(
    study: Study, data: str, file: Path, runs: Path, threads: int, seeds: Sequence[str]
) -> Iterator[list[str]]:
    """The commands of one study in order, without the word python."""
    known = [name for name in offered(plugins.load(study.backend)) if name != SELF]
    rivals = known if study.rivals is None else [name for name in study.rivals if name in known]
    for name in sorted(set(study.rivals or ()) - set(known)):
        print(f"{study.name}: the backend {study.backend} offers no supervision {name}; left out", flush=True)
    shared = ["--data", data, "--threads", str(threads), "--json", str(file)]
    folds = ["--fold", *study.folds] if study.folds else []
    yield [
        *("-m", "benchmarks.supervisions", "--backend", study.backend, "--name", study.name, *shared),
        *(*folds, *study.options, "--supervision", SELF, *rivals, "--seeds", *seeds),
        *(("--target-sdlogj", study.target) if study.target else ()),
        *("--measure", "--runs", str(runs)),
    ]
    # the file has a target once self-training is in it
    target = json.loads(file.read_text()).get("target_sdlogj") if file.exists() else None
    matched = [] if target is None else ["--target-sdlogj", f"{target:.6g}"]
    if study.shipped is not None:
        model, method = study.shipped
        row = ["-m", "benchmarks.model_row", "--backend", study.backend, "--model", model, "--method", method]
        yield [*row, *shared, *folds]
        if matched:
            yield [*row, *shared, *folds, *matched]
    if study.peers is not None:
        tools = tools_there(study) if study.tools is None else study.tools
        images = study.peers[0] == _IMAGES
        more = [*folds, "--remember", str(runs / "remembered")] if images else []
        peers = ["-m", *study.peers, *shared, *more, "--tools", *tools]
        yield peers
        if images and matched:  # what compares clouds has no matched rows
            yield [*peers, "--matched", *matched]


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


def finish(files: Sequence[Path], published: bool) -> None:
    """The tables: in the documentation, or on the screen where the rows are not those that it shows."""
    if files:
        shown = [] if published else ["--show", *map(str, files)]
        subprocess.run([sys.executable, "-m", "benchmarks.tables", *shown], check=True)
    if files and published:
        subprocess.run([sys.executable, "-m", "benchmarks.tables.figure_stages"], check=True)


if __name__ == "__main__":
    main()
