"""What a tool is asked, and what it answers: the files between `compare_images` and an adapter.

An adapter is a script of this folder that runs under its tool's own interpreter: nothing here imports cst, and only
numpy is needed. The scans are NIfTI files whose affine is the diagonal of their spacing, so that the axes of the array
are those of the world, to right, anterior and superior.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Job:
    """One pair to register."""

    fixed: str
    """NIfTI file, as `moving`, both on one grid; or a cloud, see `load_clouds`."""
    moving: str
    folder: str
    """Where the answer is written, and whatever the tool writes."""
    threads: int
    fixed_mask: str | None = None
    """Where the scan has data; None: everywhere, or the tool is not told."""
    moving_mask: str | None = None
    strength: float | None = None
    """Of the tool's own regularisation parameter; None: its default."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the tool."""
    offset: float = 0.0
    """What was added to the intensities of the working volumes, so that they begin at 0."""
    own_warp: bool = False
    """Whether the tool shall warp the moving scan itself, linearly, too."""


class Registered(NamedTuple):
    """What a tool found."""

    field: np.ndarray
    """(3, X, Y, Z), mm along the array axes: fixed x lies at moving x + u(x), affine part included."""
    settings: dict[str, Any]
    """What was passed to the tool."""
    warp: Callable[[], np.ndarray]
    """The moving scan as the tool itself warps it, (X, Y, Z); called only if the job asks for it."""


class Answer(NamedTuple):
    """What comes back besides the field."""

    seconds: float
    """From arrays in memory to the field in memory."""
    cpu_seconds: float
    """The same, of processor time over all threads: what other work on the machine disturbs least."""
    peak_mb: float
    """The process's largest resident memory, or that of a process it started, MB (10^6 bytes)."""
    version: str | None
    settings: dict[str, Any]


def serve(package: str | None, load: Callable[[Job], Loaded], register: Callable[[Job, Loaded], Registered]) -> None:
    """The main function of every adapter: register the job named on the command line, write field.npy and answer.json.

    ``package``: the distribution whose version is told.
    """
    job = read_job(Path(sys.argv[1]))
    loaded = load(job)
    start, busy = time.perf_counter(), sum(os.times()[:4])
    found = register(job, loaded)
    vectors = np.ascontiguousarray(found.field, dtype=np.float32)
    seconds, busy = time.perf_counter() - start, sum(os.times()[:4]) - busy
    folder = Path(job.folder)
    np.save(folder / "field.npy", vectors)
    if job.own_warp:
        np.save(folder / "warped.npy", np.asarray(found.warp(), dtype=np.float32))
    answer = Answer(seconds, busy, peak_mb(), version(package) if package else None, found.settings)
    (folder / "answer.json").write_text(json.dumps(answer._asdict()))


def peak_mb() -> float:
    """The largest resident memory so far, of this process or one that it started, MB.

    Not this process's ru_maxrss where that can be helped: it begins with what the caller held, that of torch and cst.
    """
    status = Path("/proc/self/status")
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if status.exists():
        highest = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return max(highest, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1.024e-3


def write_job(job: Job, path: Path) -> None:
    """As JSON."""
    path.write_text(json.dumps(asdict(job)))


def read_job(path: Path) -> Job:
    """What `write_job` wrote."""
    return Job(**json.loads(path.read_text()))


def read_answer(folder: Path) -> Answer:
    """What `serve` wrote besides the field."""
    return Answer(**json.loads((folder / "answer.json").read_text()))


def from_lps(vectors: np.ndarray) -> np.ndarray:
    """(3, X, Y, Z) in ITK's world, to left, posterior and superior, along the array axes of a job's files."""
    return vectors * np.array([-1.0, -1.0, 1.0], dtype=vectors.dtype)[:, None, None, None]


def itk_vectors(array: np.ndarray) -> np.ndarray:
    """(Z, Y, X, 3), as ITK's Python views have a vector image, as (3, X, Y, Z)."""
    return array.transpose(3, 2, 1, 0)


def load_clouds(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Fixed (N, 3) and moving (M, 3), mm, where a job's files are clouds (.npy); its field is then (3, N)."""
    return np.load(job.fixed), np.load(job.moving)


def still() -> np.ndarray:
    """Clouds have no scan to warp."""
    raise NotImplementedError("own_warp is for scans")
