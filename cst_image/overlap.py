"""How much the labels of a pair overlap, before and after registration."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import NamedTuple

from jaxtyping import Integer
from torch import Tensor

from cst_core.field import DisplacementField, warp
from cst_core.label_maps import warp_labels
from cst_core.metrics import dice
from cst_core.plugin import EvalCase
from cst_image.case import ImageCase
from cst_image.pair import ImagePair


class Overlap(NamedTuple):
    """Label maps in the frame of the fixed scan, and Dice per label as a fraction."""

    fixed: Integer[Tensor, "X Y Z"]
    moving: Integer[Tensor, "X Y Z"]
    warped: Integer[Tensor, "X Y Z"]
    """The moving one, as registered."""
    before: dict[int, float]
    after: dict[int, float]
    """Of the same labels: those that both scans have."""


def overlap(case: EvalCase[ImagePair], field: DisplacementField) -> Overlap | None:
    """None without label maps. A label that one of the scans lacks is skipped, as by Learn2Reg."""
    if not isinstance(case, ImageCase) or case.fixed_labels is None or case.moving_labels is None:
        return None
    fixed, moving = case.fixed_labels, case.moving_labels
    if case.label_interpolation == "label":
        warped = warp_labels(moving, field.vectors, field.grid.spacing)
    else:
        warped = warp(moving, field.vectors, field.grid.spacing, mode="nearest")
    before, found = dice(fixed, moving), dice(fixed, warped)
    # a label that warping took out of the volume is not absent but lost
    return Overlap(fixed, moving, warped, before, {label: found.get(label, 0.0) for label in before})


def mean(values: Mapping[int, float]) -> float | None:
    """None of nothing."""
    return fmean(values.values()) if values else None


def name_of(case: EvalCase[ImagePair], label: int) -> str:
    """As the data set has it, else its number."""
    names = case.label_names if isinstance(case, ImageCase) else None
    return (names or {}).get(label, str(label))
