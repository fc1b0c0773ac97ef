"""deedsBCV by its binaries, linearBCV first: written from its documented files, not run where the results were made."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from job import Job, Registered, serve
from scipy.ndimage import map_coordinates


def load(job: Job) -> Path:
    """The folder of the binaries; these read the files themselves, so their reading is part of the seconds."""
    return Path(job.options["binaries"])


def register(job: Job, binaries: Path) -> Registered:
    """``strength``: deeds's ``-a``, 1.6 by default."""
    scans, stem = ["-F", job.fixed, "-M", job.moving], f"{job.folder}/deeds"
    grid = [word for flag in ("G", "L", "Q") if flag in job.options for word in (f"-{flag}", job.options[flag])]
    commands = [[str(binaries / "linearBCV"), *scans, "-O", stem]]
    smooth = [] if job.strength is None else ["-a", str(job.strength)]
    commands.append([str(binaries / "deedsBCV"), *scans, "-O", stem, "-A", f"{stem}_matrix.txt", *grid, *smooth])
    for command in commands:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=job.folder)
    image: Any = nib.load(job.moving)  # pyright: ignore[reportPrivateImportUsage]
    moving = np.asarray(image.dataobj, dtype=np.float32)
    values = np.fromfile(f"{stem}_displacements.dat", dtype=np.float32)
    voxels = decoded(values, np.loadtxt(f"{stem}_matrix.txt"), moving.shape)
    spacing = np.asarray(image.header.get_zooms()[:3])
    there = voxels + np.indices(moving.shape)
    settings = {"commands": [" ".join(command) for command in commands]}
    warp = lambda: map_coordinates(moving, there, order=1, mode="nearest")  # noqa: E731
    return Registered(voxels * spacing[:, None, None, None], settings, warp)


def decoded(values: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The total displacement (3, X, Y, Z), voxels, from what deedsBCV and linearBCV write.

    ``values``: three control lattices one after another, first axis fastest, for the second, first and third axis; site
    s of a lattice of size n lies at voxel s * N / n, and lattices are interpolated linearly. ``matrix``: 4x4, acts on
    rows (i, j, k, 1) from the right: voxel to voxel, without the displacement, which is added.
    """
    step = round((np.prod(shape) / (values.size / 3)) ** (1 / 3))
    small = tuple(n // step for n in shape)
    second, first, third = (part.reshape(small, order="F") for part in values.reshape(3, -1))
    sites = np.indices(shape).astype(np.float64)
    places = [axis * (m / n) for axis, m, n in zip(sites, small, shape, strict=True)]
    free = [map_coordinates(part, places, order=1, mode="nearest") for part in (first, second, third)]
    rows = np.concatenate([sites.reshape(3, -1), np.ones((1, sites[0].size))]).T
    linear = (rows @ matrix)[:, :3].T.reshape(sites.shape)
    return linear + np.stack(free) - sites


if __name__ == "__main__":
    serve(None, load, register)
