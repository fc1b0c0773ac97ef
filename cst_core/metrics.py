"""How good a registration is: overlap and surfaces of labels, landmarks, and the regularity of the field."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from scipy import ndimage
from torch import Tensor


def landmark_tre(
    displacement: Float[Tensor, "L 3"], fixed: Float[Tensor, "L 3"], moving: Float[Tensor, "L 3"]
) -> Float[Tensor, "L"]:
    """Target registration error per landmark, mm: |fixed + u(fixed) - moving|.

    ``displacement``: u at the fixed landmarks, mm (`cst_core.field.sample_at`); all in the same axes.
    """
    if not displacement.shape == fixed.shape == moving.shape:
        raise ValueError(
            "displacement, fixed and moving must have the same shape (L, 3), "
            f"got {tuple(displacement.shape)}, {tuple(fixed.shape)} and {tuple(moving.shape)}"
        )
    return torch.linalg.vector_norm(fixed + displacement - moving, dim=1)


def dice(labels_a: Shaped[Tensor, "X Y Z"], labels_b: Shaped[Tensor, "X Y Z"]) -> dict[int, float]:
    """Dice per label, a fraction: 2 |A ∩ B| / (|A| + |B|).

    Integer label maps; 0 is background. A label that is absent in one of the two is skipped, as by Learn2Reg.
    """
    _check_labels(labels_a, labels_b)
    sizes_a, sizes_b = _sizes(labels_a), _sizes(labels_b)
    shared = _sizes(labels_a[labels_a == labels_b])
    return {k: 2.0 * shared.get(k, 0) / (sizes_a[k] + sizes_b[k]) for k in sorted(sizes_a.keys() & sizes_b.keys())}


def hd95(
    labels_a: Shaped[Tensor, "X Y Z"], labels_b: Shaped[Tensor, "X Y Z"], spacing: Sequence[float]
) -> dict[int, float]:
    """95th percentile of the Hausdorff distance per label, mm: the larger of the two directed percentiles.

    Integer label maps, ``spacing`` in mm a voxel; labels absent in one of the two are skipped. The surface of a label
    is its voxels with a face neighbour outside it; what lies outside the volume is outside the label. Learn2Reg takes
    the same percentile over surfaces weighted by area (marching cubes), which differs by a fraction of a voxel.
    """
    _check_labels(labels_a, labels_b)
    a, b = labels_a.cpu().numpy(), labels_b.cpu().numpy()
    return {k: _hd95(a == k, b == k, spacing) for k in sorted(_sizes(labels_a).keys() & _sizes(labels_b).keys())}


def jacobian_determinant(vectors: Float[Tensor, "3 X Y Z"], spacing: Sequence[float]) -> Float[Tensor, "X Y Z"]:
    """det(I + du_i/dx_j) at every voxel: the local change of volume under x -> x + u(x); dimensionless.

    ``vectors`` and ``spacing`` in mm, two voxels an axis or more. Central differences, one-sided in the outermost
    voxels. Channel i and array axis i belong together; the published code mixes the two orders.
    """
    along = torch.gradient(vectors, spacing=[float(s) for s in spacing], dim=(1, 2, 3))
    x, y, z = torch.stack(along) + torch.eye(3, dtype=vectors.dtype, device=vectors.device)[:, :, None, None, None]
    return (
        x[0] * (y[1] * z[2] - y[2] * z[1]) + x[1] * (y[2] * z[0] - y[0] * z[2]) + x[2] * (y[0] * z[1] - y[1] * z[0])
    )  # written out: several times faster than linalg.det on millions of 3x3 matrices


class JacobianFigures(NamedTuple):
    """Three figures of regularity, which must not be compared with one another.

    On mild fields `sdlogj` is about four times `sdlogj_l2r`: at J = 1 the derivative of log(J + 3) is 1/4, that of
    log J is 1.
    """

    sdlogj_l2r: float
    """std(log(clip(J + 3, 1e-9, 1e9))): the figure of the Learn2Reg evaluation and of the paper's tables."""
    sdlogj: float
    """std(log J) over the voxels with J > 0, as the name says (Leow et al., IEEE TMI 2007); NaN if there are none."""
    folding_percent: float
    """100 times the share of voxels with J <= 0."""


def jacobian_figures(
    vectors: Float[Tensor, "3 X Y Z"], spacing: Sequence[float], mask: Bool[Tensor, "X Y Z"] | None = None
) -> JacobianFigures:
    """All three over the same voxels: without the two outermost at each side (Learn2Reg), and within ``mask`` if given.

    ``vectors`` and ``spacing`` in mm. Standard deviations are those of the population, in float64.
    """
    return determinant_figures(jacobian_determinant(vectors.detach(), spacing), mask)


def determinant_figures(
    determinant: Float[Tensor, "X Y Z"], mask: Bool[Tensor, "X Y Z"] | None = None
) -> JacobianFigures:
    """`jacobian_figures` of a determinant that is known already."""
    inner = (slice(2, -2),) * 3
    jacobian = determinant[inner].double()
    inside = jacobian.flatten() if mask is None else jacobian[mask[inner]]
    if inside.numel() == 0:
        raise ValueError(
            "vectors must have more than four voxels along each axis, and mask must select some that are two or more "
            f"away from every side, got the shape {tuple(determinant.shape)}"
        )
    positive = inside[inside > 0]
    return JacobianFigures(
        sdlogj_l2r=float((inside + 3.0).clip(1e-9, 1e9).log().std(correction=0)),
        sdlogj=float(positive.log().std(correction=0)) if len(positive) else float("nan"),
        folding_percent=100.0 * float((inside <= 0).double().mean()),
    )


def _check_labels(labels_a: Tensor, labels_b: Tensor) -> None:
    if labels_a.shape != labels_b.shape or labels_a.ndim != 3:
        raise ValueError(
            "labels_a and labels_b must have the same shape (X, Y, Z), "
            f"got {tuple(labels_a.shape)} and {tuple(labels_b.shape)}"
        )
    for name, labels in (("labels_a", labels_a), ("labels_b", labels_b)):
        if labels.is_floating_point() or labels.is_complex():
            raise ValueError(f"{name} must be integers (cast label maps once, when reading), got {labels.dtype}")


def _sizes(labels: Tensor) -> dict[int, int]:
    """Voxels per label, without the background."""
    values, counts = labels.unique(return_counts=True)
    return {int(k): int(n) for k, n in zip(values.tolist(), counts.tolist(), strict=True) if k != 0}


def _hd95(a: np.ndarray, b: np.ndarray, spacing: Sequence[float]) -> float:
    """Of two masks. Both lie in the box around their union, so nothing outside it is computed."""
    (box,) = ndimage.find_objects((a | b).astype(np.uint8))
    surface_a, surface_b = _surface(a[box]), _surface(b[box])
    to_a, to_b = _distance_to(surface_a, spacing), _distance_to(surface_b, spacing)
    return float(max(np.percentile(to_b[surface_a], 95), np.percentile(to_a[surface_b], 95)))


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~np.asarray(ndimage.binary_erosion(mask), dtype=bool)


def _distance_to(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """mm, at every voxel."""
    return np.asarray(ndimage.distance_transform_edt(np.logical_not(mask), sampling=spacing))
