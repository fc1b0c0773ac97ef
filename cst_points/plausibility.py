"""Clouds and landmarks that cannot be millimetres of one patient are refused, with what they likely are."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from cst_core.errors import DataError

SMALLEST_MM, LARGEST_MM, LARGEST_RATIO = 2.0, 5000.0, 20.0
"""Extents outside these are in another unit than mm; a cloud in [-1, 1] has an extent of at most 2."""
FEWEST = 5
"""Points of a cloud: four fix a spline's affine part."""
LANDMARK_REACH_MM = 50.0
"""Landmarks farther than this outside their cloud's bounding box belong to other axes or another case."""


def check_units(fixed_path: Path, fixed: Float[Tensor, "N 3"], moving_path: Path, moving: Float[Tensor, "M 3"]) -> None:
    """Raise `DataError`, naming its file, if a cloud of a pair is likely in another unit than mm."""
    extents = [(fixed_path, _extent(fixed)), (moving_path, _extent(moving))]  # which may be one file
    for path, extent in extents:
        rule = f"{path}: a cloud in mm extends over {SMALLEST_MM:g} to {LARGEST_MM:g} mm, found {extent:.4g}"
        if extent <= SMALLEST_MM:
            raise DataError(f"{rule}; these are likely metres or [-1, 1] coordinates, multiply them to mm")
        if extent > LARGEST_MM:
            raise DataError(f"{rule}; these are likely micrometres, divide them by 1000")
    (small, low), (large, high) = sorted(extents, key=lambda item: item[1])
    if high > LARGEST_RATIO * low:
        raise DataError(
            f"{small}: the clouds of a pair must extend alike, found {low:.4g} against {high:.4g} in {large.name}; "
            f"likely one is not in mm but in metres, centimetres or micrometres, convert it"
        )


def check_landmarks(path: Path, part: str, cloud: Float[Tensor, "N 3"], points: Float[Tensor, "L 3"]) -> None:
    """Raise `DataError`, naming ``path``, if a landmark of ``part`` (fixed or moving) is far from its cloud."""
    outside = torch.maximum(cloud.amin(0) - points, points - cloud.amax(0)).amax(1)
    worst = int(outside.argmax())
    if outside[worst] > LANDMARK_REACH_MM:
        raise DataError(
            f"{path}: {part} landmarks may lie {LANDMARK_REACH_MM:g} mm outside the {part} cloud, found landmark "
            f"{worst + 1} {float(outside[worst]):.4g} mm outside; check its unit, axes and case"
        )


def _extent(points: Tensor) -> float:
    """The longest side of the bounding box, mm."""
    return float((points.amax(0) - points.amin(0)).max())
