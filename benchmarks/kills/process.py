"""``cst train`` in a process that can be killed: forked from a server that has imported and never computed."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from benchmarks.kills.remains import log_lines
from cst_core.cli import main as cli
from cst_points.formats import write_cloud
from cst_points.phantom import lung_phantom

TOY = Path(__file__).parents[2] / "tests" / "toy"
SCHEDULES: Mapping[str, Sequence[str]] = {
    "toy": ("stages=2", "iterations=300"),
    "points": ("stages=2", "iterations=60", "first_towers=1", "candidates=16", "rounds=2", "features=16"),
    "image": ("stages=2", "iterations=30", "max_train_pairs=2", "max_test_pairs=1", "spacing=6.4", "adam_steps=2"),
}
"""``--set`` of each backend's preset ``quick``."""
IMPORTED = ("benchmarks.kills.process", "benchmarks.record", "cst_core.cli_train", "torch.optim.adam")
"""By the server, before it forks; and the backend's plugin."""
CLOUDS = "clouds"
CASES, POINTS = 4, 400
"""Of the lung phantom: pairs, and keypoints of a cloud. Time goes into kills, not into registrations."""
HANGS = 3600
"""Seconds after which a process says where it stands, and ends."""


def start(backend: str, run: Path) -> ForkServerProcess:
    """Begin the run, or go on with it where it had begun."""
    if (run / "manifest.json").exists():
        arguments = ["train", "--resume", "--out", str(run)]
    else:
        settings = [word for setting in SCHEDULES[backend] for word in ("--set", setting)]
        clouds = run.parent / CLOUDS
        data = str(clouds) if clouds.exists() else "phantom"
        given = ["--backend", backend, "--preset", "quick", "--data", data, "--device", "cpu", *settings]
        arguments = ["train", *given, "--out", str(run)]
    process = multiprocessing.get_context("forkserver").Process(target=quietly, args=(arguments, said(run)))
    process.start()
    return process


def quietly(arguments: list[str], path: Path) -> None:
    """``cst`` with these arguments; what it says goes to a file."""
    with path.open("w") as stream, redirect_stdout(stream), redirect_stderr(stream):
        faulthandler.dump_traceback_later(HANGS, exit=True, file=stream)
        if (threads := len(list(Path(f"/proc/{os.getppid()}/task").iterdir()))) > 1:
            raise RuntimeError(f"the server that forks has {threads} threads: what it forks may hang")
        cli(arguments)


def said(run: Path) -> Path:
    """What the run's last process has said."""
    return run.with_suffix(".txt")


def finish(process: ForkServerProcess, run: Path) -> None:
    """Wait for the end. RuntimeError if it failed."""
    process.join()
    if process.exitcode:
        raise RuntimeError(f"cst train failed with exit code {process.exitcode}:\n{said(run).read_text()[-3000:]}")


def killed(process: ForkServerProcess, run: Path, draw: random.Random, lines: int, seconds: float) -> bool:
    """Kill it at a random moment; False if it ended before. RuntimeError if it failed by itself."""
    if draw.random() < 0.2:
        process.join(draw.uniform(0, seconds))
    else:
        goal = len(log_lines(run)) + draw.randint(1, max(1, lines // 2))
        while process.is_alive() and len(log_lines(run)) < goal:
            time.sleep(0.002)
        process.join(draw.uniform(0, 0.1))
    if process.is_alive():
        process.kill()
        process.join()
        return True
    finish(process, run)
    return False


def prepare(backend: str, folder: Path) -> None:
    """One thread for all that is started from here on; imports, in the server that will fork."""
    os.environ.update({f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")})
    if backend == "toy":
        install_toy(folder / "site")
        sys.path.insert(0, str(folder / "site"))
    if backend == "points":
        write_clouds(folder / CLOUDS)
    plugin = "cst_toy" if backend == "toy" else f"cst_{backend}"
    multiprocessing.get_context("forkserver").set_forkserver_preload([*IMPORTED, f"{plugin}.plugin"])


def write_clouds(folder: Path) -> None:
    """The lung phantom, thinned."""
    folder.mkdir()
    for number, case in enumerate(lung_phantom(CASES)):
        write_cloud(folder / f"case_{number}_fixed.csv", case.pair.fixed[:POINTS])
        write_cloud(folder / f"case_{number}_moving.csv", case.pair.moving[: 2 * POINTS])


def install_toy(site: Path) -> None:
    """What ``pip install --target`` would make of it."""
    shutil.copytree(TOY / "cst_toy", site / "cst_toy", ignore=shutil.ignore_patterns("__pycache__"))
    information = site / "cst_toy-0.0.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: cst-toy\nVersion: 0.0.1\n")
    (information / "entry_points.txt").write_text("[cst.backends]\ntoy = cst_toy.plugin:PLUGIN\n")
