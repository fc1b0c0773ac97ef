"""The same network, solver, schedule and augmentation, taught by one supervision after the other.

    python -m benchmarks.supervisions --backend image --data FOLDER --fold 1 --preset small
        --supervision self mind ncc --seeds 0 1 2 --also "adam=false:h alone" --target-sdlogj self
        --runs runs/supervisions-hippocampus --json benchmarks/results/comparison_hippocampus.json
    python -m benchmarks.supervisions --backend points --data FOLDER --fold 1 2 3 4 5
        --supervision self correspondences chamfer synthetic-rigid synthetic-field --seeds 0 1 2
        --runs runs/supervisions-lungs --json benchmarks/results/comparison_lungs.json

Every training is one call of ``cst train --supervision NAME`` in a folder of its own under --runs, beside a ``.txt``
that holds the command and its output; call again to go on. A row holds the test pairs of all folds after the last
stage, as the runs' logs have them; stage 0 makes the row "random features". --also adds rows under other settings at
test time (LABEL says which), --target-sdlogj rows of the setting "matched", whose regularisation ``cst tune`` chose for
each run. --measure takes seconds and peak memory from ``cst evaluate`` alone instead of the log, for when the machine
was busy while training. Rows that FILE has are not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch

from benchmarks.comparison_rows import figures, line, put_row, rows_of
from benchmarks.record import circumstances
from benchmarks.supervisions.runs import (
    CommandError,
    Job,
    config_of,
    evaluations,
    scores_of,
    train,
    training_seconds,
)
from benchmarks.supervisions.scores import curve, evaluated, pooled, tune
from benchmarks.supervisions.untrained import untrained, untrained_matched
from cst_core.errors import CstError

RANDOM = "random features"
SAW = {"landmarks": "landmarks", "correspondences": "correspondences"}
"""By supervision; the others see nothing but the scans."""


class Also(NamedTuple):
    """Other settings at test time."""

    settings: Sequence[str]
    label: str


def main() -> None:
    """Train and score what FILE lacks, print a line a row; exit code 1 if a command failed."""
    options = arguments()
    torch.set_num_threads(options.threads)  # of what is registered here; cst's processes have theirs
    failed = 0
    for seed in options.seeds:
        for supervision in options.supervision:
            try:
                make_rows(options, supervision, seed)
            except CommandError as error:
                failed += 1
                print(f"{supervision}, seed {seed}: {error}", flush=True)
    if options.target_sdlogj is not None:
        target = target_of(options)
        for seed in options.seeds:
            failed += not make_random_matched(options, seed, target)
            for supervision in options.supervision:
                failed += not make_matched(options, supervision, seed, target)
    sys.exit(1 if failed else 0)


def arguments() -> argparse.Namespace:
    """What was asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--data", required=True, help="folder, or phantom")
    parser.add_argument("--name", help="what the file calls the data; default: the folder's name")
    parser.add_argument("--fold", type=int, nargs="+", default=[None])
    parser.add_argument("--preset")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--supervision", nargs="+", default=["self"])
    parser.add_argument("--method", help="the rows' method, where --set makes a variant; one supervision only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--also", type=also, action="append", default=[], metavar="K=V[,K=V]:LABEL")
    parser.add_argument("--target-sdlogj", metavar="X|self", help="self: that of the rows self, default, in FILE")
    parser.add_argument("--tune-pairs", type=int, help="pairs on which cst tune searches; default: all")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    if options.method and len(options.supervision) > 1:
        parser.error("--method: needs a single --supervision")
    return options


def also(text: str) -> Also:
    """``adam=false,warps=1:h alone`` in its parts."""
    settings, _, label = text.partition(":")
    return Also(settings.split(","), label or settings)


def jobs_of(options: argparse.Namespace, supervision: str, seed: int) -> list[Job]:
    """One training a fold."""
    name = (options.method or supervision).replace(" ", "")
    made = []
    for fold in options.fold:
        folder = options.runs / f"{name}{'' if fold is None else f'-fold{fold}'}-seed{seed}"
        made.append(
            Job(options.backend, options.data, fold, options.preset, supervision, seed, tuple(options.set), folder)
        )
    return made


def make_rows(options: argparse.Namespace, supervision: str, seed: int) -> None:
    """The rows of one supervision and seed at default regularisation, and of random features.

    Raises:
        CommandError: a training or an evaluation failed.
    """
    method = options.method or supervision
    wanted = [method, *(f"{method}, {one.label}" for one in options.also)]
    wanted += [] if options.method else [RANDOM, *(f"{RANDOM}, {one.label}" for one in options.also)]
    if all((name, "default", seed) in rows_of(options.json) for name in wanted):
        print(f"{method}, seed {seed}: is in {options.json}", flush=True)
        return
    jobs = jobs_of(options, supervision, seed)
    for job in jobs:
        if done := train(job, options.threads):
            print(f"{job.folder}: trained in {done.seconds:.0f} s, {done.peak_mb:.0f} MB", flush=True)
    logs = [evaluations(job.folder) for job in jobs]
    stages = curve(logs)
    last = [log[max(log)]["pairs"] for log in logs]
    about = {"stages": stages, "training_seconds": [training_seconds(job.folder) for job in jobs]}
    if options.measure:
        measured, peak = evaluated(jobs, (), options.threads)
        about["peak_mb"] = peak
        last = [measured]
    put(options, jobs, method, pooled(last), seed, about)
    for one in options.also:
        pairs, peak = evaluated(jobs, one.settings, options.threads)
        put(options, jobs, f"{method}, {one.label}", pairs, seed, {"peak_mb": peak}, one.settings)
    if not options.method and (RANDOM, "default", seed) not in rows_of(options.json):
        first = untrained(jobs, ()) if options.measure else pooled([log[0]["pairs"] for log in logs])
        put(options, jobs, RANDOM, first, seed, {})
    for one in () if options.method else options.also:
        name = f"{RANDOM}, {one.label}"
        if (name, "default", seed) not in rows_of(options.json):
            put(options, jobs, name, untrained(jobs, one.settings), seed, {}, one.settings)


def make_matched(options: argparse.Namespace, supervision: str, seed: int, target: float) -> bool:
    """The row of one supervision and seed at the target's SDlogJ; whether it is there."""
    method = options.method or supervision
    if (method, "matched", seed) in rows_of(options.json):
        print(f"{method}, matched, seed {seed}: is in {options.json}", flush=True)
        return True
    jobs = jobs_of(options, supervision, seed)
    found, settings = [], []
    try:
        for job in jobs:
            tuned = tune(job, target, options.tune_pairs, options.threads)
            settings.append(tuned["setting"])
            some = options.tune_pairs is not None
            found.append(evaluated([job], [tuned["setting"]], options.threads)[0] if some else tuned["pairs"])
    except CommandError as error:
        print(f"{method}, matched, seed {seed}: {error}", flush=True)
        return False
    put(options, jobs, method, pooled(found), seed, {"setting": "matched", "target_sdlogj": target}, settings)
    return True


def make_random_matched(options: argparse.Namespace, seed: int, target: float) -> bool:
    """The row of random features at the target's SDlogJ; whether it is there."""
    if options.method or (RANDOM, "matched", seed) in rows_of(options.json):
        return True
    jobs = jobs_of(options, options.supervision[0], seed)
    try:
        pairs, settings = untrained_matched(jobs, target)
    except CstError as error:
        print(f"{RANDOM}, matched, seed {seed}: {error}", flush=True)
        return False
    put(options, jobs, RANDOM, pairs, seed, {"setting": "matched", "target_sdlogj": target}, settings)
    return True


def target_of(options: argparse.Namespace) -> float:
    """A number, or the mean SDlogJ of self-training's rows."""
    if options.target_sdlogj != "self":
        return float(options.target_sdlogj)
    rows = [row for key, row in rows_of(options.json).items() if key[:2] == ("self", "default")]
    if not rows:
        sys.exit(f"--target-sdlogj self: {options.json} has no row of self-training; run that supervision first")
    return fmean(row["mean"]["sdlogj_l2r"] for row in rows)


def put(
    options: argparse.Namespace,
    jobs: Sequence[Job],
    method: str,
    pairs: Sequence[Mapping[str, Any]],
    seed: int,
    more: Mapping[str, Any],
    settings: Sequence[str] = (),
) -> None:
    """One row into FILE, and on the screen."""
    about = circumstances(options.threads)
    supervision = jobs[0].supervision
    row = {
        "method": method,
        "kind": "supervision",
        "saw": "nothing" if method.startswith(RANDOM) else SAW.get(supervision, "nothing"),
        "setting": "default",
        "seed": seed,
        "settings": {
            "supervision": supervision,
            "folds": options.fold,
            "at_test": list(settings),
            "runs": [job.folder.name for job in jobs],
            "config": config_of(jobs[0].folder),
        },
        "version": None,
        **figures(scores_of(pairs)),
        "threads": options.threads,
        "peak_mb": None,
        "commit": about["commit"],
        **more,
    }
    name = options.name or Path(options.data).name
    file = {"data": name, "target_sdlogj": more.get("target_sdlogj"), **about}
    put_row(options.json, row, file)
    print(line(row), flush=True)


if __name__ == "__main__":
    main()
