"""How clouds are made of lung CTs. Nothing heavy is imported here: the command line's help reads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Triple = tuple[float, float, float]

FEWEST_KEYPOINTS = 32
"""Fewer keypoints than this cannot carry a registration."""


class Frame(StrEnum):
    """Axes of the written clouds, and what divides them into [-1, 1]."""

    RELEASE = "release"
    """Superior, posterior, left, and the extent that [-1, 1] has in the public keypoint release."""
    RAS = "ras"
    """Right, anterior, superior, and the half-extent of the crop."""

    @property
    def axes(self) -> tuple[str, str, str]:
        """Where x, y and z run to."""
        return ("right", "anterior", "superior") if self is Frame.RAS else ("superior", "posterior", "left")


@dataclass(frozen=True)
class LungOptions:
    """How clouds are made; spacings and sizes along right, anterior, superior."""

    fixed_spacing: Triple = (1.75, 1.25, 1.75)
    """mm, Sec. 3."""
    moving_spacing: Triple = (1.75, 1.00, 1.25)
    """mm, Sec. 3."""
    crop: tuple[int, int, int] = (192, 192, 208)
    """Voxels of ``fixed_spacing``, Sec. 3; half of it is the half-extent that divides coordinates."""
    fixed_limit: int = 2048
    """Keypoints at most, the strongest; Sec. 3 has one to two thousand."""
    moving_limit: int = 4096
    """Keypoints at most, the strongest; Sec. 3 has two to four thousand."""
    threshold: float = 1e-4
    """The weakest keypoint as a fraction of the strongest."""
    frame: Frame = Frame.RELEASE
    """As the public keypoint release, which networks trained on it expect."""
