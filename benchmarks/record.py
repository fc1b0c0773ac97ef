"""How a figure is measured, and what is written beside it."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from cst_core.environment import versions


def fastest(part: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of several runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        part()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def peak_mb(part: Callable[[], object]) -> float:
    """Growth of the process's resident memory at its highest while ``part`` runs, MB (10^6 bytes); NaN off Linux."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return float("nan")

    def highest() -> float:
        return (
            next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
            * 1.024e-3
        )

    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back first
    reset.write_text("5")  # the mark falls to what is resident now; getrusage's never falls
    before = highest()
    part()
    return highest() - before


def circumstances(threads: int) -> dict[str, Any]:
    """Where and with what a figure was measured."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    cpu = {"name": name, "cores": os.cpu_count(), "threads": threads}
    return {"commit": commit.stdout.strip(), "cpu": cpu, "versions": versions() | {"numba": numba.__version__}}


def write(result: dict[str, Any], path: Path | None) -> None:
    """One JSON file, if asked for."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
