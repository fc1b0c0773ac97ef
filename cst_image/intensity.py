"""Intensities of a scan, mapped to the range that the network and the features are made for."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cst_core.errors import DataError
from cst_image.config import ImageConfig

LOW, HIGH = -0.4, 0.6
"""Where the two percentiles of a scan go: the range that the default window gives to CT."""
_LEAST = 0.02  # of the mapped range, 10 HU of the default window: below it there is nothing to see


def map_intensities(
    volume: Float[Tensor, "X Y Z"],
    config: ImageConfig,
    mask: Bool[Tensor, "X Y Z"] | None = None,
    name: str = "volume",
) -> Float[Tensor, "X Y Z"]:
    """Intensities as the method sees them, float32.

    ``ct``: HU clamped to ``config.window`` and divided by its width; HU / 500 in [-0.4, 0.6] by default (Sec. 3).
    ``mr``: the two ``config.percentiles`` of the voxels with data go to -0.4 and 0.6, and what is beyond is clamped.

    Args:
        volume: as the scanner gives it; HU for ``ct``.
        config: `intensity` and what it needs.
        mask: where there is data; None: everywhere.
        name: of the scan, for errors.

    Raises:
        DataError: nothing is left to see: all voxels are (nearly) the same after the mapping.
    """
    low, high = limits(volume, config, mask)
    clamped = volume.float().clamp(low, high)
    if config.intensity == "ct":
        mapped, rule = clamped / (high - low), f"the window of {low:g} to {high:g} HU"
        remedy = "pass --set intensity=mr if this is no CT in HU"
    else:
        mapped = (clamped - low) / max(high - low, torch.finfo(torch.float32).tiny) * (HIGH - LOW) + LOW
        rule = f"the percentiles {config.percentiles[0]:g} and {config.percentiles[1]:g}"
        remedy = "check the file, or widen --set percentiles="
    inside = mapped if mask is None else mapped[mask]
    if inside.numel() == 0 or float(inside.max() - inside.min()) < _LEAST:
        found = f"values of {float(volume.min()):g} to {float(volume.max()):g}"
        raise DataError(f"{name}: intensities must differ within {rule}, found {found}; {remedy}")
    return mapped


def limits(
    volume: Float[Tensor, "X Y Z"], config: ImageConfig, mask: Bool[Tensor, "X Y Z"] | None = None
) -> tuple[float, float]:
    """The intensities between which a scan is not clamped: the window, or its own percentiles where it has data."""
    if config.intensity == "ct":
        return config.window
    values = (volume if mask is None else volume[mask]).cpu().numpy()
    if not values.size:
        return 0.0, 0.0
    low, high = np.percentile(values, config.percentiles)
    return float(low), float(high)


def lowest(config: ImageConfig) -> float:
    """What the darkest voxels are mapped to: air in CT."""
    low, high = config.window
    return low / (high - low) if config.intensity == "ct" else LOW
