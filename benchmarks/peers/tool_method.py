"""A tool as a method: the pair's volumes as files, the adapter under the tool's own interpreter, the field back."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from benchmarks.peers.adapters.job import Job, read_answer, write_job
from benchmarks.peers.methods import FailedError, Found
from benchmarks.peers.tools import ENVIRONMENTS, FOLDER, TOOLS
from cst_core.field import DisplacementField, Grid
from cst_core.formats.nifti import placed, save_nifti
from cst_image.pair import ImagePair

LIMIT = 3600.0
"""Seconds after which a pair counts as failed."""
_THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"),
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


class ToolMethod:
    """`benchmarks.peers.methods.Method`: one process a pair."""

    kind = "tool"

    def __init__(self, name: str, preset: str, threads: int, options: Mapping[str, Any] | None = None) -> None:
        """``options`` over those of the table."""
        tool, self.settings = TOOLS[name], TOOLS[name].settings(preset)
        self.name, self.knob, self.threads = name, tool.knob, threads
        self.requirements = tool.requirements
        self.options = {**self.settings.options, **(options or {})}
        self.adapter = FOLDER / "adapters" / f"{tool.adapter}.py"
        self.python = str(ENVIRONMENTS / tool.environment / "bin" / "python")

    def identity(self) -> dict[str, Any]:
        """Settings, threads, and the adapter as it is written."""
        told = {"name": self.name, "options": self.options, "masks": self.settings.masks, "threads": self.threads}
        return told | {"adapter": self.adapter.read_text(), "requirements": self.requirements}

    def register(self, pair: ImagePair, strength: float | None) -> Found:
        """In a folder of its own that is removed afterwards; raises `FailedError`."""
        with tempfile.TemporaryDirectory(prefix=f"peer-{self.name}-") as folder:
            job = self.job(pair, Path(folder), strength)
            seconds = self.run(job)
            answer = read_answer(Path(folder))
            field = read_field(Path(folder) / "field.npy", pair.grid)
        settings = {"source": self.settings.source, "masks": self.settings.masks, **answer.settings}
        settings = {name: _without(value, folder) for name, value in settings.items()}
        return Found(field, answer.seconds, answer.cpu_seconds, seconds, answer.peak_mb, answer.version, settings)

    def job(self, pair: ImagePair, folder: Path, strength: float | None, own_warp: bool = False) -> Job:
        """Write the files of a job."""
        offset = -min(float(pair.fixed.min()), float(pair.moving.min()))
        files = export(pair, folder, offset)
        told = files if self.settings.masks else {name: files[name] for name in ("fixed", "moving")}
        return Job(
            **told,
            folder=str(folder),
            offset=offset,
            threads=self.threads,
            strength=strength,
            options=self.options,
            own_warp=own_warp,
        )

    def environment(self) -> dict[str, str]:
        """Of the tool's process."""
        return environment_of(self.threads)

    def run(self, job: Job) -> float:
        """As `run_adapter`."""
        return run_adapter(self.name, [self.python, str(self.adapter)], self.environment(), job)


def environment_of(threads: int) -> dict[str, str]:
    """Of a tool's process: its threads, and no path of ours."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return kept | dict.fromkeys(_THREADS, str(threads))


def run_adapter(name: str, command: Sequence[str], environment: Mapping[str, str], job: Job) -> float:
    """Seconds of the whole process; its answer lies in the job's folder. Raises `FailedError`."""
    file = Path(job.folder) / "job.json"
    write_job(job, file)
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [*command, str(file)],
            env=environment,
            cwd=job.folder,  # where some leave files of their own
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FailedError(f"{name}: not done after {LIMIT:.0f} s") from error
    except OSError as error:
        raise FailedError(f"{name}: has no environment, run python -m benchmarks.peers.install {name}") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["nothing said"]
        raise FailedError(f"{name}: exit code {done.returncode}: {lines[-1]}")
    return time.perf_counter() - start


def export(pair: ImagePair, folder: Path, offset: float) -> dict[str, str]:
    """``fixed`` and ``moving`` as NIfTI files, ``fixed_mask`` and ``moving_mask`` where a scan has one; their paths.

    The affine is the diagonal of the spacing, whatever the pair's world is. Outside its mask a scan has the value of
    the nearest voxel inside: padding would be an edge. ``offset`` is added to both, so that they begin at 0: what lies
    beyond the volume is 0 to some tools, and an edge if air is not.
    """
    grid = Grid.of(pair.grid.shape, pair.grid.spacing)
    files: dict[str, str] = {}
    for name, volume, mask in (
        ("fixed", pair.fixed, pair.fixed_mask),
        ("moving", pair.moving, pair.moving_mask),
    ):
        values = {name: (filled(volume, mask) + offset).numpy()}
        if mask is not None:
            values[f"{name}_mask"] = mask[0].cpu().numpy().astype(np.uint8)
        for stem, array in values.items():
            path = folder / f"{stem}.nii.gz"
            save_nifti(path, placed(array, grid))
            files[stem] = str(path)
    return files


def filled(volume: Float[Tensor, "1 X Y Z"], mask: Bool[Tensor, "1 X Y Z"] | None) -> Float[Tensor, "X Y Z"]:
    """Outside the mask the value of the nearest voxel inside."""
    values = volume[0].cpu()
    if mask is None or not mask.any():
        return values
    nearest = ndimage.distance_transform_edt(~mask[0].cpu().numpy(), return_distances=False, return_indices=True)
    return values[tuple(torch.from_numpy(np.asarray(nearest)).long())]


def read_field(path: Path, grid: Grid) -> DisplacementField:
    """What an adapter wrote, on the pair's own grid. Raises `FailedError` where it is no field on it."""
    vectors = torch.from_numpy(np.load(path))
    if vectors.shape != (3, *grid.shape):
        raise FailedError(f"{path.name}: must have the shape {(3, *grid.shape)}, has {tuple(vectors.shape)}")
    if not vectors.isfinite().all():
        raise FailedError(f"{path.name}: has values that are not finite")
    return DisplacementField(vectors, grid)


def _without(value: Any, folder: str) -> Any:
    """A setting without the name of a folder that is gone."""
    return value.replace(folder, "FOLDER") if isinstance(value, str) else value
