"""Training that is killed at random moments and resumed each time ends with the weights of training that was not.

    python -m benchmarks.kills --backend toy|points|image [--kills 50] [--seed 0] [--json benchmarks/results/kills.json]

``cst train`` runs in a process of its own, which is forked from this one so that it begins at once. It is killed
(SIGKILL) at a random moment and resumed with ``--resume``, as often as is asked for; where a run ends before its kills
are used up, another one begins. Moments are drawn by progress (so many more lines in the log, and up to a tenth of a
second), one in five by time, from the start of the process on. The weights of all stages are compared, bit by bit, with
those of a run that nobody killed. The toy is the backend of ``tests/toy``; the others train on their phantoms, with the
smallest schedules that have two stages.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import circumstances, write
from cst_core.cli import main as cli
from cst_core.plugins import load

TOY = Path(__file__).parents[1] / "tests" / "toy"
SCHEDULES: Mapping[str, Sequence[str]] = {
    "toy": ("stages=2", "iterations=300"),
    "points": ("stages=2", "epochs=3", "first_towers=1", "candidates=32"),
    "image": ("stages=2", "iterations=30", "max_train_pairs=3", "max_test_pairs=1"),
}
"""``--set`` of each backend's preset ``quick``."""


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
    sys.exit(0 if row["same"] else 1)


def kill_often(backend: str, kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Figures of one backend: how many kills, where they fell, whether all weights are the same."""
    prepare(backend, folder)
    draw, began = random.Random(seed), time.monotonic()
    finish(start(backend, folder / "whole"))
    whole, seconds = weights(folder / "whole"), time.monotonic() - began
    lines = len(log_lines(folder / "whole"))
    where, runs, same, done = Counter[str](), 0, True, 0
    while done < kills:
        run, runs = folder / f"run-{runs}", runs + 1
        while done < kills and killed(start(backend, run), run, draw, lines, seconds):
            done += 1
            where[place(run)] += 1
        finish(start(backend, run))
        same &= weights(run) == whole
        shutil.rmtree(run)
    return {
        "kills": done,
        "runs": runs,
        "same": same,
        "killed": dict(sorted(where.items())),
        "seconds_unkilled": round(seconds, 1),
        "seconds": round(time.monotonic() - began, 1),
        "set": list(SCHEDULES[backend]),
        "sha256": whole,
    }


def start(backend: str, run: Path) -> ForkProcess:
    """Begin the run, or go on with it where it had begun."""
    if (run / "manifest.json").exists():
        arguments = ["train", "--resume", "--out", str(run)]
    else:
        settings = [word for setting in SCHEDULES[backend] for word in ("--set", setting)]
        given = ["--backend", backend, "--preset", "quick", "--data", "phantom", "--device", "cpu", *settings]
        arguments = ["train", *given, "--out", str(run)]
    process = multiprocessing.get_context("fork").Process(target=quietly, args=(arguments, run.with_suffix(".txt")))
    process.start()
    return process


def quietly(arguments: list[str], said: Path) -> None:
    """``cst`` with these arguments; what it says goes to a file."""
    with said.open("w") as stream, redirect_stdout(stream), redirect_stderr(stream):
        cli(arguments)


def finish(process: ForkProcess) -> None:
    """Wait for the end. RuntimeError if it failed."""
    process.join()
    if process.exitcode:
        raise RuntimeError(f"cst train failed with exit code {process.exitcode}")


def killed(process: ForkProcess, run: Path, draw: random.Random, lines: int, seconds: float) -> bool:
    """Kill it at a random moment; False if it ended before. RuntimeError if it failed by itself."""
    if draw.random() < 0.2:
        process.join(draw.uniform(0, seconds))
    else:
        goal = len(log_lines(run)) + draw.randint(1, lines)
        while process.is_alive() and len(log_lines(run)) < goal:
            time.sleep(0.002)
        process.join(draw.uniform(0, 0.1))
    if process.is_alive():
        process.kill()
        process.join()
        return True
    finish(process)
    return False


def prepare(backend: str, folder: Path) -> None:
    """Import what training needs, before the first fork."""
    torch.set_num_threads(1)
    if backend == "toy":
        install_toy(folder / "site")
        sys.path.insert(0, str(folder / "site"))
    load(backend)
    import_module("cst_core.cli_train")


def install_toy(site: Path) -> None:
    """What ``pip install --target`` would make of it."""
    shutil.copytree(TOY / "cst_toy", site / "cst_toy", ignore=shutil.ignore_patterns("__pycache__"))
    information = site / "cst_toy-0.0.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: cst-toy\nVersion: 0.0.1\n")
    (information / "entry_points.txt").write_text("[cst.backends]\ntoy = cst_toy.plugin:PLUGIN\n")


def weights(run: Path) -> dict[str, str]:
    """SHA-256 of the tensors in all weights files; these also hold figures, of which seconds differ."""
    found = dict[str, str]()
    for file in sorted(run.glob("stage-*.safetensors")):
        data = file.read_bytes()
        header = 8 + int.from_bytes(data[:8], "little")
        found[file.name] = hashlib.sha256(data[header:]).hexdigest()
    return found


def log_lines(run: Path) -> list[bytes]:
    """Of ``log.jsonl``."""
    try:
        return (run / "log.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []


def place(run: Path) -> str:
    """Where a run stood when it was killed, by the last whole line of its log."""
    for line in reversed(log_lines(run)):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        return f"stage {event['stage']}, after a {event['kind']}"
    return "begun" if (run / "manifest.json").exists() else "before it began"


def shown(backend: str, row: Mapping[str, Any]) -> str:
    """For people."""
    lines = [f"  {count:3d} {where}" for where, count in row["killed"].items()]
    end = "the same weights as without a kill" if row["same"] else "OTHER WEIGHTS than without a kill"
    return "\n".join([f"{backend}: {row['kills']} kills in {row['runs']} runs, {row['seconds']} s: {end}", *lines])


if __name__ == "__main__":
    main()
