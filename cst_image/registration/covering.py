"""The grid on which two files are registered: the model's resolution over the fixed scan's whole field of view."""

from __future__ import annotations

import math

from cst_core.field import Grid
from cst_image.config import ImageConfig
from cst_image.working_grid import centred, working_size

NEARLY_CUBIC = 1.5
"""Of the largest spacing to the smallest, up to which a scan is registered on its own voxels."""
MOST_SITES = 2_000_000
"""Of the lattice on which labels and instance optimisation live, for a model without a resolution of its own."""


def covering_grid(scan: Grid, config: ImageConfig) -> Grid:
    """A grid along the axes of ``scan`` that covers it, whatever size the model was trained on.

    Its spacing is that of the model (`ImageConfig.spacing`). A model without one registers on the scan's own voxels if
    these are nearly cubic, else on cubes of their volume; and on larger ones where these would be too many for memory.
    `ImageConfig.shape` and `alignment`, which are about data sets, do not count.
    """
    return centred(scan, working_size({"fixed": scan}, _at(_spacing(scan, config), config)))


def _at(spacing: float | None, config: ImageConfig) -> ImageConfig:
    return config.model_copy(update={"spacing": spacing, "shape": None})


def _spacing(scan: Grid, config: ImageConfig) -> float | None:
    if config.spacing is not None:
        return config.spacing
    cube = math.prod(scan.spacing) ** (1 / 3)
    allowed = MOST_SITES * config.label_stride**3
    if math.prod(scan.shape) > allowed:
        return cube * (math.prod(scan.shape) / allowed) ** (1 / 3)
    return None if max(scan.spacing) <= NEARLY_CUBIC * min(scan.spacing) else cube
