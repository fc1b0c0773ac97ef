"""Faults of the machine: disks that are full or read-only, memory that runs out, a process that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch

from benchmarks.faults.disks import disk, full, read_only
from benchmarks.faults.scans import write_scan
from benchmarks.faults.scene import SAME, TOY, Fault, NotTriedError, Outcome, Said, Scene
from benchmarks.kills.remains import weights
from benchmarks.processes import worker

_NOBODY = 65534
_RESUME = ("train", "--resume", "--out", "RUN")
_REGISTER = ("register", "--backend", "image", "--model", "random", "FIXED.nii.gz", "MOVING.nii.gz", "--out", "OUT")
_LARGE = ("--backend", "toy", "--set", "stages=1", "--set", "iterations=4", "--set", "features=20000")
"""Some GB, of which most is taken in training."""
_ROOM_KB = 250_000
"""Beyond what a small training maps: enough for labels, not for a step."""


def _full_in_training(scene: Scene) -> Outcome:
    arguments = ("train", *TOY, "--out", "RUN")
    with disk(scene):
        process = scene.start(*arguments)
        scene.wait_for_step(process, 2, 40)
        with full(scene):
            said = scene.heard(process, *arguments)
        left = scene.half_written()
        return Outcome(said, {f"with room again {k}": v for k, v in scene.resumed().items()}, left)


def _before(
    disturbed: Callable[[Scene], AbstractContextManager[None]], *arguments: str, needs: Sequence[str] = ()
) -> Callable[[Scene], Outcome]:
    """A command on a disk that is full or read-only from the beginning; the same one after that."""

    def provoke(scene: Scene) -> Outcome:
        with disk(scene):
            for number, name in enumerate(needs):
                write_scan(scene.folder / name, seed=number)
            with disturbed(scene):
                said = scene.cst(*arguments)
                left = scene.strangers("OTHER", *needs)
            again = scene.cst(*arguments)
            return Outcome(said, {"after that the same command does it": again.code == 0}, left)

    return provoke


def _read_only_resume(scene: Scene) -> Outcome:
    with disk(scene):
        scene.stopped_run()
        with read_only(scene):
            said = scene.cst(*_RESUME)
        left = scene.half_written()
        return Outcome(said, {f"writable again {k}": v for k, v in scene.resumed().items()}, left)


def _no_rights(scene: Scene) -> Outcome:
    arguments = ("train", *TOY, "--out", "SHUT/RUN")
    (scene.folder / "SHUT").mkdir(mode=0o555)
    (scene.folder / "MINE").mkdir()
    user: list[str] = []
    if os.geteuid() == 0:  # whom nothing is forbidden
        if shutil.which("setpriv") is None:
            raise NotTriedError("root may write everywhere, and there is no setpriv to be somebody else")
        (scene.folder / "MINE").chmod(0o777)
        user = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    said = scene.cst(*arguments, before=user)
    elsewhere = scene.cst("train", *TOY, "--out", "MINE/RUN", before=user)
    left = scene.strangers("SHUT", "MINE")
    return Outcome(said, {"with `--out` elsewhere it ends": elsewhere.code == 0}, left)


def _memory(scene: Scene) -> Outcome:
    peak = "print(open('/proc/self/status').read().partition('VmPeak:')[2].split()[0])"
    code = f"import atexit, sys; atexit.register(lambda: {peak}); from cst_core.cli import main; main(sys.argv[1:])"
    path = os.pathsep.join([str(scene.workshop.folder / "site"), *sys.path])
    small = [sys.executable, "-c", code, "train", *TOY, "--set", "iterations=2", "--out", str(scene.folder / "SMALL")]
    environ = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    found = subprocess.run(small, env=environ, capture_output=True, text=True, check=True)
    limit = int(found.stdout.split()[-1]) + _ROOM_KB
    arguments = ("train", *_LARGE, "--out", "RUN")
    said = scene.cst(*arguments, before=["sh", "-c", f'ulimit -v {limit}; exec "$@"', "sh"])
    left = scene.half_written()
    undisturbed = scene.cst("train", *_LARGE, "--out", "OTHER")
    again = scene.cst(*_RESUME)
    same = weights(scene.run) == weights(scene.folder / "OTHER") and not (again.code or undisturbed.code)
    after = {f"without the limit `cst train --resume --out RUN` {SAME}": same}
    return Outcome(said._replace(command=f"ulimit -v {limit}; {said.command}"), after, left)


def _gpu_memory(scene: Scene) -> Outcome:
    if not torch.cuda.is_available():
        raise NotTriedError("no GPU")
    hold = (
        "import time, torch; free = torch.cuda.mem_get_info()[0]; "
        "held = torch.empty(free - 900_000_000, dtype=torch.uint8, device='cuda'); print('held', flush=True); "
        "time.sleep(3600)"
    )
    arguments = ("train", "--backend", "image", "--data", "phantom", "--set", "stages=1", "--set", "iterations=2")
    arguments = (*arguments, "--device", "cuda", "--out", "RUN")
    other = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        said = scene.cst(*arguments)
    finally:
        other.kill()
        other.communicate()
    again = scene.cst("train", "--resume", "--out", "RUN")
    return Outcome(said, {"once the other program has ended, `cst train --resume --out RUN` ends": again.code == 0})


def _worker_killed(restarts: int) -> Callable[[Scene], Outcome]:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    arguments = ("train", *TOY, "--out", "RUN", "--device", "cpu")

    def provoke(scene: Scene) -> Outcome:
        other = scene.cst(*arguments[:-3], "OTHER", *arguments[-2:], launcher=launcher)
        with_restarts = (*launcher, "--max-restarts", str(restarts))
        process = scene.start(*arguments, launcher=with_restarts)
        scene.wait_for_step(process, 2, 40)
        os.kill(worker(process.pid, scene.run), signal.SIGKILL)
        said = _of_torchrun(scene.heard(process, *arguments), with_restarts[2:])
        after = {}
        if restarts:
            after[f"it {SAME} in two processes"] = weights(scene.run) == weights(scene.folder / "OTHER")
        else:
            again = scene.cst(*_RESUME, "--device", "cpu", launcher=launcher)
            same = weights(scene.run) == weights(scene.folder / "OTHER") and not (again.code or other.code)
            after[f"`torchrun ... cst train --resume --out RUN` {SAME} in two processes"] = same
        return Outcome(said, after, scene.half_written())

    return provoke


def _of_torchrun(said: Said, options: Sequence[str]) -> Said:
    """What cst said; the launcher's own lines are many."""
    command = f"torchrun {' '.join(options)} --no-python {said.command}"
    return Said(command, said.code, said.out, [line for line in said.err if line.startswith("error: ")])


_TRAIN = ("train", *TOY, "--out", "RUN")
_FULL = ("No space left on device", "free space")
_SHUT = ("Read-only file system", "--out")
MACHINE = (
    Fault(
        "disk-full-training",
        "The disk is full in the second stage.",
        1,
        (*_FULL, "RUN"),
        _full_in_training,
    ),
    Fault("disk-full-start", "The disk is full before training begins.", 1, (*_FULL, "RUN"), _before(full, *_TRAIN)),
    Fault(
        "disk-full-register",
        "The disk is full when a registration is written.",
        1,
        (*_FULL, "OUT"),
        _before(full, *_REGISTER, needs=("FIXED.nii.gz", "MOVING.nii.gz")),
    ),
    Fault("read-only-training", "`--out` is on a read-only disk.", 1, (*_SHUT, "RUN"), _before(read_only, *_TRAIN)),
    Fault("read-only-resume", "The disk of a run is read-only.", 1, (*_SHUT, "RUN"), _read_only_resume),
    Fault(
        "read-only-register",
        "The result of a registration would be on a read-only disk.",
        1,
        (*_SHUT, "OUT"),
        _before(read_only, *_REGISTER, needs=("FIXED.nii.gz", "MOVING.nii.gz")),
    ),
    Fault(
        "no-rights",
        "`--out` is in a folder of somebody else's.",
        1,
        ("SHUT/RUN", "Permission denied", "--out"),
        _no_rights,
    ),
    Fault(
        "memory",
        "Memory runs out in training (`ulimit -v`).",
        1,
        ("the machine is out of memory", "or lower --set batch_size", "cst train --resume --out RUN"),
        _memory,
    ),
    Fault(
        "gpu-memory",
        "The memory of the GPU runs out: another program has it.",
        1,
        ("the GPU is out of memory", "pass --device cpu, or lower --set", "cst train --resume --out RUN"),
        _gpu_memory,
    ),
    Fault(
        "worker-killed",
        "One of two processes is killed; torchrun may start again.",
        0,
        ("go on with: cst train --resume",),
        _worker_killed(1),
    ),
    Fault(
        "worker-killed-for-good",
        "One of two processes is killed; torchrun may not start again.",
        1,
        ("cst train --resume --out RUN",),
        _worker_killed(0),
    ),
)
