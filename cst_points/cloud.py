"""The data that this backend registers: two keypoint clouds of one patient."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class CloudPair:
    """Two clouds of keypoints in mm, in the same axes (x, y, z); nothing else.

    N and M may differ, and differ from pair to pair.
    """

    fixed: Float[Tensor, "N 3"]
    """Exhale, in lungs (Sec. 3)."""
    moving: Float[Tensor, "M 3"]
    """Inhale, in lungs."""
    origin: Float[Tensor, "3"]
    """The centre of the crop, mm."""
    half_extent: Float[Tensor, "3"]
    """Half the crop's size per axis, mm: divides coordinates into [-1, 1] before the network (Sec. 3)."""

    def normalised(self) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "M 3"]]:
        """Fixed and moving in units of the half-extent, relative to the origin."""
        return (self.fixed - self.origin) / self.half_extent, (self.moving - self.origin) / self.half_extent

    def to(self, device: str) -> CloudPair:
        """The same pair on another device."""
        return CloudPair(
            self.fixed.to(device), self.moving.to(device), self.origin.to(device), self.half_extent.to(device)
        )

    def swapped(self) -> CloudPair:
        """Moving and fixed exchanged."""
        return CloudPair(self.moving, self.fixed, self.origin, self.half_extent)
