"""Peak memory and seconds against the number of scans and against the size of a volume, with fitted exponents.

    python -m benchmarks.scaling --json benchmarks/results/scaling.json                       # all parts
    python -m benchmarks.scaling --json benchmarks/results/scaling.json --parts side batch    # these anew

Each point is a process of its own on one thread (`benchmarks.scaling.points`); its peak memory is the kernel's, its
seconds the processor's. Data are made up, in a temporary folder: volumes of 32^3 voxels, clouds of 512 points. Of
``scans`` and ``clouds`` as many pairs are labelled, and as many steps trained, at every number of scans: what grows
with it is waste. An exponent is the slope of the least-squares line through the logarithms; that of memory is of what
the process took beyond its start.
``batch``: many registrations by `benchmarks.scaling.batch`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

from benchmarks.record import circumstances, write
from benchmarks.scaling.points import SPACING, smooth
from cst_points.cloud import CloudPair
from cst_points.formats import write_cloud

SCANS = (5, 20, 80, 400)
SIDES = (64, 96, 128, 192, 256)
LABELS = (250, 500, 1000, 2000)
PAIRS = (1000, 10_000)
VOXELS, POINTS = (32, 32, 32), 512
FITTED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "scans": ("n", ("open_s", "label_s", "step_s", "growth_mb")),
    "clouds": ("n", ("open_s", "label_s", "step_s", "growth_mb")),
    "side": ("voxels", ("pair_s", "growth_mb")),
    "batch": ("n", ("done_s", "kept_s", "done_read_bytes", "kept_read_bytes", "done_mb")),
    "store": ("n", ("put_s", "written_bytes", "growth_mb")),
}
"""By part: against what the exponents are, and of what."""


def main() -> None:
    """Measure the parts that were asked for; the file keeps the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--points", nargs="+", type=int, help="other numbers than the usual ones")
    options = parser.parse_args()
    result: dict[str, Any] = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    for part in options.parts:
        usual, folder_of = PARTS[part]
        points = [measured(part, n, folder_of) for n in options.points or usual]
        result[part] = {"points": points, "circumstances": circumstances(1)}
        if part in FITTED and len(points) > 1:
            result[part]["exponents"] = exponents(part, points)
            print(part, "exponents", {name: round(value, 2) for name, value in result[part]["exponents"].items()})
        write(result, options.json)


def measured(part: str, n: int, fill: Callable[[Path, int], None] | None) -> dict[str, Any]:
    """One point, printed."""
    with tempfile.TemporaryDirectory() as name:
        if fill is not None:
            fill(Path(name), n)
        module = "benchmarks.scaling.batch" if part == "batch" else "benchmarks.scaling.points"
        arguments = [str(n)] if part == "batch" else [part, name if fill else str(n)]
        told = in_child([sys.executable, "-m", module, *arguments])
    point = {"n": n, **told, "growth_mb": told["peak_mb"] - told["start_mb"]}
    print(part, ", ".join(f"{key} {value:.4g}" for key, value in point.items() if not isinstance(value, list)))
    return point


def in_child(command: Sequence[str]) -> dict[str, Any]:
    """What a process on one thread printed as its last line."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ | one, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: failed with exit code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def exponents(part: str, points: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of every figure of the part."""
    against, figures = FITTED[part]
    return {name: exponent([p[against] for p in points], [p[name] for p in points]) for name in figures}


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """p of the least-squares fit of log y = log c + p log x; NaN where a value is not positive."""
    if min(*x, *y) <= 0:
        return math.nan
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def fill_scans(folder: Path, n: int) -> None:
    """``n`` small volumes, each of its own."""
    affine = np.diag([*SPACING, 1.0])
    for number in range(n):
        volume = 500 + 300 * smooth(VOXELS, 1, 12, number)[0] + 100 * smooth(VOXELS, 1, 4, number)[0]
        nibabel.save(nibabel.Nifti1Image(volume.numpy().astype(np.int16), affine), folder / f"s{number:03d}.nii.gz")


def fill_clouds(folder: Path, n: int) -> None:
    """``n`` pairs of clouds in a box the size of a lung."""
    for number in range(n):
        generator = torch.Generator().manual_seed(number)
        fixed = 200.0 * torch.rand(POINTS, 3, generator=generator)
        moving = fixed + 5.0 * torch.randn(1, 3, generator=generator) + torch.randn(POINTS, 3, generator=generator)
        middle, half = torch.full((3,), 100.0), torch.full((3,), 120.0)
        pair = CloudPair(fixed, moving, middle, half)
        write_cloud(folder / f"case_{number:03d}_fixed.csv", pair.fixed)
        write_cloud(folder / f"case_{number:03d}_moving.csv", pair.moving)


PARTS: Mapping[str, tuple[Sequence[int], Callable[[Path, int], None] | None]] = {
    "scans": (SCANS, fill_scans),
    "clouds": (SCANS, fill_clouds),
    "side": (SIDES, None),
    "store": (LABELS, None),
    "batch": (PAIRS, None),
}
"""The usual points, and what fills a folder for one."""


if __name__ == "__main__":
    main()
