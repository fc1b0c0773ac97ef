"""Runs of ``cst`` as a reader would type them: one folder a run, finished ones kept, unfinished ones resumed."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from cst_core.plugin import PairScore


class CommandError(Exception):
    """A ``cst`` command that failed; the text is its last line."""


class Done(NamedTuple):
    """A command that succeeded."""

    seconds: float
    peak_mb: float
    """Largest resident memory of its process, libraries and data included; MB (10^6 bytes)."""


class Job(NamedTuple):
    """One training: what is trained on what, and where it goes."""

    backend: str
    data: str
    fold: int | None
    preset: str | None
    supervision: str
    seed: int
    settings: Sequence[str]
    folder: Path

    @property
    def command(self) -> list[str]:
        """The arguments of ``cst``."""
        fold = [] if self.fold is None else ["--fold", str(self.fold)]
        preset = [] if self.preset is None else ["--preset", self.preset]
        settings = [word for setting in self.settings for word in ("--set", setting)]
        return [
            *("train", "--backend", self.backend, "--data", self.data, *fold, *preset),
            *("--supervision", self.supervision, "--seed", str(self.seed), *settings, "--out", str(self.folder)),
        ]


def beside(job: Job, ending: str) -> Path:
    """A file next to the run's folder, which is the run's own."""
    return job.folder.parent / f"{job.folder.name}{ending}"


def train(job: Job, threads: int) -> Done | None:
    """Begin the run or go on with it; None if it is finished already.

    Raises:
        CommandError: ``cst train`` failed.
    """
    manifest = job.folder / "manifest.json"
    if not manifest.exists():
        return run(job.command, threads, beside(job, ".txt"))
    if json.loads(manifest.read_text())["status"] == "finished":
        return None
    return run(["train", "--resume", "--out", str(job.folder)], threads, beside(job, ".txt"))


def run(arguments: Sequence[str], threads: int, output: Path) -> Done:
    """One ``cst`` command in a process of its own, on so many threads; what it says goes to the end of ``output``.

    Raises:
        CommandError: it did not end with 0.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    output.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with output.open("a") as stream:
        stream.write(f"cst {shlex.join(arguments)}\n")
        stream.flush()
        actions = [(os.POSIX_SPAWN_DUP2, stream.fileno(), 1), (os.POSIX_SPAWN_DUP2, stream.fileno(), 2)]
        words = [sys.executable, "-m", "cst_core.cli", *arguments]
        child = os.posix_spawn(sys.executable, words, environment, file_actions=actions)
        _, status, usage = os.wait4(child, 0)  # the memory of this child alone
    if code := os.waitstatus_to_exitcode(status):
        last = output.read_text().strip().splitlines()[-1]
        raise CommandError(f"cst {shlex.join(arguments)} ended with {code}: {last}")
    return Done(time.perf_counter() - start, usage.ru_maxrss * 1.024e-3)


def evaluations(folder: Path) -> dict[int, dict[str, Any]]:
    """What the run's log says of its test pairs: by stage, 0 is random features; the last one of each."""
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {event["stage"]: event for event in events if event["kind"] == "evaluation"}


def training_seconds(folder: Path) -> float | None:
    """From begin to end; None where the run was resumed, as it stood still between."""
    manifest = json.loads((folder / "manifest.json").read_text())
    if manifest["resumed"] or not manifest["ended"]:
        return None
    return _seconds(manifest["ended"]) - _seconds(manifest["started"])


def config_of(folder: Path) -> dict[str, Any]:
    """The run's complete configuration."""
    return tomllib.loads((folder / "config.toml").read_text())


def scores_of(pairs: Sequence[Mapping[str, Any]]) -> list[PairScore]:
    """Pairs of a log or of a result, as `PairScore`."""
    return [PairScore(**pair) for pair in pairs]


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
