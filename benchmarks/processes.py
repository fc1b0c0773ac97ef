"""Training in two processes against one: the same labels, nearly the same weights, and no less after a kill.

    python -m benchmarks.processes [--backends points image] [--json benchmarks/results/processes.json]

``cst train`` on the phantom, alone, under ``torchrun`` with two processes of one thread each on the CPU, and once more
with one of the two killed (SIGKILL) after the first snapshot, in the middle of a stage. ``labels_same``: those of the
first stage, to the bit. ``gap``: the norm of the difference of two runs' final weights over that of how far training
went from its start; biases that a normalisation cancels, whose gradients are rounding alone, are left out.
``gap_of_threads``: the same between one process of one thread and one of two, which differ in the order of sums alone.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.kills.remains import weights
from benchmarks.record import circumstances, write
from cst_core.plugins import load

SCHEDULES: Mapping[str, Sequence[str]] = {
    "points": ("stages=1", "epochs=10", "first_towers=1", "candidates=32"),
    "image": ("stages=1", "iterations=40", "max_train_pairs=3", "max_test_pairs=1", "spacing=6.4"),
}
"""``--set`` of each backend's preset ``quick``: a minute or so, and past a snapshot."""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1")

RUNS = (("one", ()), ("two", TORCHRUN), ("killed", TORCHRUN), ("threads", ()))


def main() -> None:
    """Train four times a backend, compare, print, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", choices=SCHEDULES, default=list(SCHEDULES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = {}
    for backend in options.backends:
        with tempfile.TemporaryDirectory() as folder:
            rows[backend] = compare(backend, Path(folder))
        print(backend, rows[backend], flush=True)
    write(rows | {"circumstances": circumstances(1)}, options.json)


def compare(backend: str, folder: Path) -> dict[str, Any]:
    """Figures of one backend."""
    seconds = {}
    labels = {}
    for name, launcher in RUNS:
        began = time.monotonic()
        process = start(backend, folder / name, launcher, threads=2 if name == "threads" else 1)
        labels[name] = watched(process, folder / name, kill=name == "killed")
        seconds[name] = round(time.monotonic() - began, 1)
    return {
        "labels_same": labels["one"] == labels["two"] == labels["killed"] and bool(labels["one"]),
        "labels": len(labels["one"]),
        "gap": gap(backend, folder / "one", folder / "two"),
        "gap_of_threads": gap(backend, folder / "one", folder / "threads"),
        "killed_same_as_two": weights(folder / "killed") == weights(folder / "two"),
        "seconds": seconds,
        "set": list(SCHEDULES[backend]),
    }


def start(backend: str, run: Path, launcher: Sequence[str], threads: int) -> subprocess.Popen[bytes]:
    """``cst train``, under a launcher if there is one."""
    settings = [word for setting in SCHEDULES[backend] for word in ("--set", setting)]
    arguments = ["train", "--backend", backend, "--preset", "quick", "--data", "phantom", "--device", "cpu"]
    command = [sys.executable, *launcher, "-m", "cst_core.cli", *arguments, *settings, "--out", str(run)]
    environ = {**os.environ, "OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)


def watched(process: subprocess.Popen[bytes], run: Path, kill: bool) -> dict[str, str]:
    """Wait for the end, with one worker killed once there is a snapshot; digests of the first stage's labels.

    RuntimeError: it failed, or was not killed in time.
    """
    labels = dict[str, str]()
    while process.poll() is None:
        if (run / "resume.pt").exists():
            # once: they are all there with the first snapshot, and go with the end of the stage
            labels = labels or {
                path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in run.glob("labels/*-01/*.npy")
            }
            if kill:
                os.kill(worker(process.pid, run), signal.SIGKILL)
                kill = False
        time.sleep(0.02)
    if process.returncode or kill:
        raise RuntimeError(f"cst train ended with {process.returncode}, a kill was left: {kill}")
    return labels


def worker(launcher: int, run: Path) -> int:
    """The process that does not hold the run's folder."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return next(int(pid) for pid in children if pid != (run / ".lock").read_text().strip())


def gap(backend: str, one: Path, other: Path) -> float:
    """As the module's text says."""
    plugin = load(backend)
    network = plugin.backend(plugin.config_class(**plugin.presets["quick"].backend), "cpu").new_network(1)
    names = [name for name, _ in network.named_parameters() if not name.endswith(".bias")]
    begin = network.state_dict()
    ends = [load_file(run / "stage-01.safetensors") for run in (one, other)]
    first, second, start_ = (torch.cat([state[n].reshape(-1) for n in names]) for state in (*ends, begin))
    return float((second - first).norm() / (first - start_).norm())


if __name__ == "__main__":
    main()
