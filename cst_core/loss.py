"""The training loss."""

from __future__ import annotations

from collections.abc import Sequence

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


def batch_loss(predicted: Sequence[Tensor], labels: Sequence[Tensor], margin: int = 0) -> Tensor:
    """Eq. 2 over a batch of pairs that may differ in size: every pair counts the same. Scalar, mm.

    ``margin``: sites at every side of a field on a grid that do not count, there being nothing beyond to match.
    """
    errors = [
        mean_euclidean_error(_inner(p, margin), _inner(y, margin)) for p, y in zip(predicted, labels, strict=True)
    ]
    return torch.stack(errors).mean()


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
