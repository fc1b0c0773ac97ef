"""A pair of volumes and the truth about it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Integer
from torch import Tensor

from cst_core.plugin import EvalCase
from cst_image.pair import ImagePair


@dataclass(frozen=True)
class ImageCase(EvalCase[ImagePair]):
    """Label maps on the pair's grid, for evaluation alone; 0 is background."""

    fixed_labels: Integer[Tensor, "X Y Z"] | None = None
    moving_labels: Integer[Tensor, "X Y Z"] | None = None
