"""The data that this backend registers: two volumes on one grid."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from cst_core.field import Grid


@dataclass(frozen=True, eq=False)
class ImagePair:
    """Two volumes of intensities, mapped to about [-0.4, 0.6], on one working grid; nothing else."""

    fixed: Float[Tensor, "1 X Y Z"]
    moving: Float[Tensor, "1 X Y Z"]
    grid: Grid
    """Of both; its world is the fixed scan's."""
    fixed_mask: Bool[Tensor, "1 X Y Z"] | None = None
    """Where the fixed scan has data; None: everywhere. Padding is outside, and so is what the scanner did not see."""
    moving_mask: Bool[Tensor, "1 X Y Z"] | None = None
    """The same for the moving scan."""

    def __post_init__(self) -> None:
        for name in ("fixed", "moving", "fixed_mask", "moving_mask"):
            volume = getattr(self, name)
            if volume is not None and volume.shape != (1, *self.grid.shape):
                expected, got = (1, *self.grid.shape), tuple(volume.shape)
                raise ValueError(f"{name} must have the shape (1, *grid.shape), {expected}, got {got}")

    def swapped(self) -> ImagePair:
        """Moving and fixed exchanged."""
        return ImagePair(self.moving, self.fixed, self.grid, self.moving_mask, self.fixed_mask)
