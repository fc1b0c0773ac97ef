"""A pair of volumes and the truth about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Integer
from torch import Tensor

from cst_core.plugin import EvalCase
from cst_image.pair import ImagePair


@dataclass(frozen=True)
class ImageCase(EvalCase[ImagePair]):
    """Label maps on the pair's grid, for evaluation alone; 0 is background."""

    fixed_labels: Integer[Tensor, "X Y Z"] | None = None
    moving_labels: Integer[Tensor, "X Y Z"] | None = None
    label_names: Mapping[int, str] | None = None
    """By value, where the data set names them; None without label maps."""
    label_interpolation: Literal["nearest", "label"] = "nearest"
    """Of the moving one, when it is warped; as `cst_image.config.ImageConfig.label_interpolation`."""
