"""Settings of the image backend and its presets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cst_core.config import Settings


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] < bounds[1]:
        raise ValueError("the lower bound must come first, below the upper one")
    return bounds


Bounds = Annotated[tuple[float, float], AfterValidator(_ascending)]
Percent = Annotated[float, Field(ge=0, le=100)]
Voxels = Annotated[int, Field(ge=2)]


class ImageConfig(Settings):
    """Data, g, h, refinement and augmentation for volumes; published values in brackets, all in preset ``paper``."""

    # data
    intensity: Literal["ct", "mr"] = "ct"
    """How intensities are mapped: ``ct`` by `window`, ``mr`` by `percentiles` of each scan."""
    window: Bounds = (-200.0, 300.0)
    """HU: divided by the window's width and clamped to it, so to [-0.4, 0.6] (Sec. 3)."""
    percentiles: Annotated[tuple[Percent, Percent], AfterValidator(_ascending)] = (1.0, 99.0)
    """Of a scan's intensities: mapped to -0.4 and 0.6, clamped."""
    spacing: float | None = Field(default=None, gt=0)
    """Working resolution, mm, the same along each axis; None: that of the scans, which must then be one."""
    shape: tuple[Voxels, Voxels, Voxels] | None = None
    """Working size, voxels; scans are padded or cropped to it about their centre. None: the largest of every axis."""
    alignment: Literal["centre", "world"] = "centre"
    """How scans on different grids come onto one: centre on centre, or where their headers say."""
    memory_gb: float = Field(default=8.0, gt=0)
    """Volumes kept in memory; what exceeds it is read from its file again when needed."""
    max_train_pairs: int | None = Field(default=1000, ge=1)
    """Of more pairs of scans, as many are drawn once and for all. None: all. A stage draws 2000 (Sec. 3: of 190)."""
    max_test_pairs: int = Field(default=40, ge=1)
    """The same for test pairs that are made of test scans; pairs that the data set itself lists are all tested."""
