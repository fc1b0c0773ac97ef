"""From keypoints to everywhere: the thin-plate spline through a registration, on a grid or at any points."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from cst_core.field import DisplacementField, Grid, positions
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.refine import fitted
from cst_points.tps import Spline

JACOBIAN_SPACING = 4.0
"""mm, of the grid on which the Jacobian is measured: far below the distance between keypoints."""


def dense_spline(pair: CloudPair, field: Float[Tensor, "3 N"], config: PointsConfig) -> Spline:
    """The spline of a registration's refined field (Sec. 3), from normalised coordinates to mm.

    A field that refinement smoothed already is interpolated: the spline through a smoothing spline's own values at its
    own centres is that smoothing spline. Otherwise `smoothing` applies here.
    """
    return fitted(pair, field, 1e-6 if config.smooth else config.smoothing)


def displacement_at(pair: CloudPair, spline: Spline, points: Float[Tensor, "L 3"]) -> Float[Tensor, "L 3"]:
    """Displacement in mm at points in mm."""
    return spline((points - pair.origin) / pair.half_extent)


def dense_field(pair: CloudPair, spline: Spline, spacing: float) -> DisplacementField:
    """The spline on a grid of ``spacing`` mm over the fixed cloud's bounding box; axes x, y, z of the cloud."""
    low, high = pair.fixed.amin(0), pair.fixed.amax(0)
    # Learn2Reg's figure crops two voxels a side
    shape = [max(6, math.ceil(float(extent) / spacing) + 1) for extent in high - low]
    affine = torch.diag(torch.tensor([spacing, spacing, spacing, 1.0], dtype=torch.float64))
    affine[:3, 3] = low.double().cpu()
    places = positions(shape, [spacing] * 3, device=pair.fixed.device) + low[:, None, None, None]
    vectors = displacement_at(pair, spline, places.flatten(1).T).T.reshape(3, *shape)
    return DisplacementField(vectors, Grid.from_affine(shape, affine))
