"""A folder in which something goes wrong, and `cst` as a user calls it there: by short names, as a process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from benchmarks.kills.process import install_toy
from benchmarks.kills.remains import leftovers, log_lines, unsound, weights
from cst_core.plugins import load

SOURCES = Path(__file__).parents[2]
TOY = ("--backend", "toy", "--set", "stages=2", "--set", "iterations=150")
"""The training that is disturbed."""
SAME = "ends with the weights of an undisturbed run"
_PATIENCE_S = 300


class NotTriedError(Exception):
    """What this machine cannot do; says why."""


class Said(NamedTuple):
    """What a command did."""

    command: str
    code: int
    """Negative: the signal that ended it."""
    out: Sequence[str]
    """Lines."""
    err: Sequence[str]


class Outcome(NamedTuple):
    """What came of a fault."""

    said: Said
    after: Mapping[str, bool]
    """Sentences on what the remedy did and on what stayed whole, and whether they are true."""
    left: Sequence[str] = ()
    """What is half-written."""


class Fault(NamedTuple):
    """Something that goes wrong, and what is promised of it."""

    name: str
    what: str
    """For people, a short sentence."""
    code: int
    """Exit code."""
    words: Sequence[str]
    """What is said must hold each of them: file, rule, value, remedy."""
    provoke: Callable[[Scene], Outcome]


class Workshop:
    """What several faults share: the toy backend, an undisturbed training, one that was killed in its second stage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)  # one fault runs as another user
        install_toy(folder / "site")
        sys.path.insert(0, str(folder / "site"))

    def scene(self, name: str) -> Scene:
        """A new one."""
        (self.folder / name).mkdir()
        return Scene(self.folder / name, self)

    @cached_property
    def whole(self) -> dict[str, str]:
        """Checksums of the weights of an undisturbed run."""
        scene = self.scene("undisturbed")
        said = scene.cst("train", *TOY, "--out", "RUN")
        if said.code:
            raise RuntimeError(f"an undisturbed run failed: {said.err}")
        return weights(scene.folder / "RUN")

    @cached_property
    def stopped(self) -> Path:
        """Killed in its second stage, between two snapshots, where labels and checkpoints of it are there."""
        scene = self.scene("stopped")
        process = scene.start("train", *TOY, "--out", "RUN")
        scene.wait_for_step(process, 2, 60)
        process.kill()
        process.communicate()
        return scene.folder / "RUN"


class Scene:
    """One fault's folder; commands run in it, so that paths in them and in what they say are short."""

    def __init__(self, folder: Path, workshop: Workshop) -> None:
        self.folder = folder
        self.workshop = workshop
        self.run = folder / "RUN"

    def stopped_run(self) -> Path:
        """A copy, as ``RUN``, of the run that was killed in its second stage."""
        shutil.copytree(self.workshop.stopped, self.run)
        return self.run

    def cst(self, *arguments: str, before: Sequence[str] = (), launcher: Sequence[str] = ()) -> Said:
        """Run it to its end; ``before`` stands before Python, as ``launcher`` between Python and cst."""
        process = self.start(*arguments, before=before, launcher=launcher)
        return self.heard(process, *arguments)

    def start(self, *arguments: str, before: Sequence[str] = (), launcher: Sequence[str] = ()) -> subprocess.Popen[str]:
        """As `cst`, without waiting; `heard` waits."""
        threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
        path = os.pathsep.join([str(self.workshop.folder / "site"), str(SOURCES)])
        kept = {key: value for key, value in os.environ.items() if key != "CST_DATA"}
        return subprocess.Popen(
            [*before, sys.executable, *launcher, "-m", "cst_core.cli", *arguments],
            cwd=self.folder,
            env={**kept, **threads, "PYTHONPATH": path, "COLUMNS": "100"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def heard(self, process: subprocess.Popen[str], *arguments: str) -> Said:
        """What a process that was begun with these arguments has said in the end."""
        out, err = (self.short(text).splitlines() for text in process.communicate(timeout=_PATIENCE_S))
        return Said(f"cst {' '.join(arguments)}", process.returncode, out, err)

    def short(self, text: str) -> str:
        """Without the names of folders of this machine."""
        return text.replace(f"{self.folder}/", "").replace(str(self.folder), ".").replace(f"{SOURCES}/", "")

    def wait_for_step(self, process: subprocess.Popen[str], stage: int, step: int) -> None:
        """RuntimeError if the run ended before."""
        deadline = time.monotonic() + _PATIENCE_S
        while process.poll() is None and time.monotonic() < deadline:
            lines = [line for line in log_lines(self.run) if line.endswith(b"}")]
            told = json.loads(lines[-1]) if lines else {}
            if told.get("kind") == "step" and (told["stage"], told["done"]) >= (stage, step):
                return
            time.sleep(0.002)
        process.kill()
        raise RuntimeError(f"it never came to step {step} of stage {stage}: {process.communicate()}")

    def interrupted(self, number: signal.Signals, *arguments: str) -> Said:
        """Send a signal in the second stage of a training."""
        process = self.start(*arguments)
        self.wait_for_step(process, 2, 40)
        process.send_signal(number)
        return self.heard(process, *arguments)

    def resumed(self) -> dict[str, bool]:
        """Whether ``cst train --resume`` ends as nothing had happened."""
        said = self.cst("train", "--resume", "--out", "RUN")
        return {f"`cst train --resume --out RUN` {SAME}": said.code == 0 and self.same()}

    def same(self) -> bool:
        """Whether the run's weights are those of an undisturbed one."""
        return weights(self.run) == self.workshop.whole

    def half_written(self) -> list[str]:
        """Files of the run that are not whole, or are left of a write."""
        return [*unsound(self.run, load("toy")), *leftovers(self.run)]

    def strangers(self, *expected: str) -> list[str]:
        """What lies in the folder beside what is expected there."""
        return [f"{path.name}: is left" for path in self.folder.iterdir() if path.name not in expected]


def damage_by_cut(path: Path) -> None:
    """Only its first half is left."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_by_bit(path: Path) -> None:
    """One bit, in the last tenth, where the data of all these formats is."""
    data = bytearray(path.read_bytes())
    data[len(data) * 9 // 10] ^= 0x10
    path.write_bytes(data)
