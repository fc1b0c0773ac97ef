"""Whether every tool's field is converted rightly: by a known displacement, and by the tool's own warped scan.

python -m benchmarks.peers.check_tools [TOOL...] [--deeds FOLDER]

The moving scan is a texture on a grid of unequal sizes and spacings, the fixed one the same texture displaced by a
known field whose translation differs in every axis, so that a wrong axis or sign shows. Exit code 1 if a tool fails.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.peers.methods import FailedError
from benchmarks.peers.tool_method import ToolMethod, read_field
from benchmarks.peers.tools import TOOLS
from cst_core.field import Grid, positions, warp
from cst_image.lattice import box_means
from cst_image.pair import ImagePair

SHAPE = (56, 48, 64)
SPACING = (1.0, 1.25, 0.8)
"""mm."""
SHIFT = (2.0, -3.0, 1.5)
"""mm."""
MARGIN = 8
"""Voxels at every side that are not judged: what they show may lie outside the other scan."""
WARP_TOLERANCE = 0.01
"""Mean absolute difference of the two warped scans, of the range of intensities."""
FIELD_TOLERANCE = 0.5
"""Mean length of the error, mm; the field itself is some 4 mm long."""


class Check(NamedTuple):
    """Of one tool."""

    field_error: float
    """Mean length, mm."""
    warp_difference: float
    """Mean absolute difference of the two warped scans, of the range of intensities."""
    before: float
    """The same of the scans as they lie."""

    @property
    def passed(self) -> bool:
        return self.field_error < FIELD_TOLERANCE and self.warp_difference < WARP_TOLERANCE


def main() -> None:
    """Print a line a tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tools", nargs="*", default=[name for name in TOOLS if name != "deeds"])
    parser.add_argument("--deeds", type=Path)
    options = parser.parse_args()
    failed = False
    for name in options.tools:
        method = ToolMethod(name, "small", 1, {"binaries": str(options.deeds)} if name == "deeds" else None)
        try:
            found = check(method)
        except FailedError as error:
            print(f"{name:12s} {error}", flush=True)
            failed = True
            continue
        failed |= not found.passed
        print(
            f"{name:12s} {'ok' if found.passed else 'FAILED':6s} field off by {found.field_error:.3f} mm of "
            f"{float(known_field().norm(dim=0).mean()):.2f}; our warp and its own differ by "
            f"{100 * found.warp_difference:.3f} % of the range (unregistered scans: {100 * found.before:.1f} %)",
            flush=True,
        )
    sys.exit(failed)


def check(method: ToolMethod) -> Check:
    """Register the known pair; raises `FailedError`."""
    pair, field = known_pair(), known_field()
    with tempfile.TemporaryDirectory() as folder:
        job = method.job(pair, Path(folder), None, own_warp=True)
        method.run(job)
        found = read_field(Path(folder) / "field.npy", pair.grid).vectors
        own = torch.from_numpy(np.load(Path(folder) / "warped.npy"))
    inside = (..., *(slice(MARGIN, -MARGIN),) * 3)
    moving = pair.moving[0] + job.offset
    ours = warp(moving, found, pair.grid.spacing)
    return Check(
        float((found - field)[inside].norm(dim=0).mean()),
        float((ours - own)[inside].abs().mean()),
        float((pair.fixed - pair.moving)[inside].abs().mean()),
    )


def known_pair() -> ImagePair:
    """Intensities over a range of 1, as working volumes have."""
    grid = Grid.of(SHAPE, SPACING)
    noise = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(3))
    texture = box_means(noise, 3) - 0.5
    texture += 0.5 * box_means(noise, 40)
    low, high = texture.min(), texture.max()
    moving = (texture - low) / (high - low) - 0.4
    return ImagePair(warp(moving, known_field(), grid.spacing), moving, grid)


def known_field() -> Float[Tensor, "3 X Y Z"]:
    """`SHIFT` and a wave of 1 mm along every axis."""
    places = positions(SHAPE, SPACING)
    waves = torch.stack([torch.sin(2 * math.pi * places[(axis + 1) % 3] / 48) for axis in range(3)])
    return torch.tensor(SHIFT)[:, None, None, None] + waves


if __name__ == "__main__":
    main()
