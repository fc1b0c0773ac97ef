"""What a registration did, measured on the fixed scan's own voxels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from cst_core.formats.landmark_files import landmark_figures
from cst_core.metrics import JacobianFigures, determinant_figures, dice, landmark_tre
from cst_core.transform import Transform, WorldField, is_inside, to_indices
from cst_image.overlap import mean
from cst_image.registration.file_pair import FilePair, ScanFile
from cst_image.registration.pull import Lookup, onto, pull
from cst_image.registration.similarity import correlation


class Measured(NamedTuple):
    """What was warped, and the figures of register.json."""

    warped: Float[Tensor, "X Y Z"]
    """The moving scan on the fixed grid; where it has no data, its lowest value."""
    warped_labels: Integer[Tensor, "X Y Z"] | None
    moved: Float[Tensor, "L 3"] | None
    """Where the fixed landmarks go, RAS mm."""
    errors: Float[Tensor, "L"] | None
    """mm."""
    initial: dict[str, Any]
    final: dict[str, Any]
    jacobian: JacobianFigures
    landmark_figures: dict[str, Any] | None


def measure(
    pair: FilePair,
    exported: WorldField,
    whole: Transform,
    determinants: Float[Tensor, "X Y Z"],
    label_interpolation: Lookup = "nearest",
) -> Measured:
    """Warp image, labels and landmarks, and compare with the truth where there is any.

    Args:
        pair: as read.
        exported: the whole transform on the fixed grid; what is measured is what others will read.
        whole: the same, for landmarks beyond the grid.
        determinants: of ``exported``.
        label_interpolation: how the moving labels are warped.
    """
    fixed, moving = pair.fixed, pair.moving
    grid, scan = exported.grid, moving.header.grid
    fill = float(moving.volume.min())
    before = _correlation(fixed, *onto(moving.volume, scan, grid, fill=fill))
    warped, known = pull(moving.volume, scan, exported, fill=fill)
    after = _correlation(fixed, warped, known)
    warped_labels = None
    overlaps: list[Mapping[int, float] | None] = [None, None]
    if moving.labels is not None:
        warped_labels, _ = pull(moving.labels, scan, exported, label_interpolation)
        if fixed.labels is not None:
            unmoved, _ = onto(moving.labels, scan, grid, label_interpolation)
            overlaps = _overlaps(fixed.labels, moving.labels, unmoved, warped_labels)
    moved = errors = initial_errors = figures = None
    if pair.landmarks is not None:
        moved = _mapped(pair.landmarks.fixed, exported, whole)
        at, to = pair.landmarks
        errors, initial_errors = landmark_tre(moved - at, at, to), landmark_tre(torch.zeros_like(at), at, to)
        figures = landmark_figures(initial_errors, errors)
    return Measured(
        warped,
        warped_labels,
        moved,
        errors,
        _figures(overlaps[0], initial_errors, before),
        _figures(overlaps[1], errors, after),
        determinant_figures(determinants, fixed.mask),
        figures,
    )


def _figures(overlap: Mapping[int, float] | None, errors: Tensor | None, ncc: float | None) -> dict[str, Any]:
    return {
        "dice": None if overlap is None else mean(overlap),
        "dice_per_label": None if overlap is None else {str(label): value for label, value in overlap.items()},
        "tre_mm": None if errors is None else float(errors.mean()),
        "ncc": ncc,
    }


def _overlaps(fixed: Tensor, moving: Tensor, before: Tensor, after: Tensor) -> list[Mapping[int, float] | None]:
    """Dice of the labels that both scans have; one that is nowhere on the fixed grid is not absent but missed."""
    labels = sorted((set(fixed.unique().tolist()) & set(moving.unique().tolist())) - {0})
    return [{k: found.get(k, 0.0) for k in labels} for found in (dice(fixed, before), dice(fixed, after))]


def _mapped(points: Tensor, exported: WorldField, whole: Transform) -> Tensor:
    inside = is_inside(to_indices(exported.grid, points), exported.grid.shape)
    return torch.where(inside[:, None], exported.map(points), whole.map(points))


def _correlation(fixed: ScanFile, warped: Tensor, known: Bool[Tensor, "X Y Z"]) -> float | None:
    return correlation(fixed.volume, warped, known if fixed.mask is None else known & fixed.mask)
