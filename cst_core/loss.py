"""The training loss."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_euclidean_error(predicted: Tensor, label: Tensor) -> Tensor:
    """Mean over sites of |u_predicted - u_label| (Eq. 2).

    Both ``(3, *sites)`` in mm; returns a scalar in mm. Where the two agree exactly the gradient is zero, not NaN.
    """
    if predicted.shape != label.shape:
        raise ValueError(
            f"predicted and label must have the same shape, got {tuple(predicted.shape)} and {tuple(label.shape)}"
        )
    return torch.linalg.vector_norm(predicted - label, dim=0).mean()


def field_error(predicted: Tensor, label: Tensor, margin: int = 0) -> Tensor:
    """Eq. 2 of one pair, mm; ``margin`` sites at every side of a field on a grid do not count, nothing being beyond."""
    return mean_euclidean_error(_inner(predicted, margin), _inner(label, margin))


def _inner(field: Tensor, margin: int) -> Tensor:
    if not margin or field.ndim < 4:
        return field
    if min(field.shape[1:]) <= 2 * margin:
        raise ValueError(
            f"margin must leave some of the field's sites {tuple(field.shape[1:])}, got {margin} at every side"
        )
    return field[(slice(None), *[slice(margin, -margin)] * (field.ndim - 1))]


def difficulty(predicted: Tensor, refined: Tensor) -> float:
    """How much refinement changed the field (Sec. 2.3.1): the mean of |u_h - u_refined| over sites, in mm."""
    return float(mean_euclidean_error(predicted.float(), refined.float()))
