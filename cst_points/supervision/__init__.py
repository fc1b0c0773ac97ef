"""What may teach g on clouds beside self-training, each in a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import MappingProxyType

from cst_core.plugin import EvalCase
from cst_core.supervision import GivenFields, Metric, Supervision
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.supervision.chamfer import chamfer_measure
from cst_points.supervision.known import known_correspondences, landmark_fields
from cst_points.supervision.synthetic import Deform, Synthetic, draw_rigid, draw_smooth

SUPERVISIONS = MappingProxyType(
    {
        "landmarks": "supervised: the spline through the expert landmarks of every training pair",
        "correspondences": "supervised: a known displacement of every fixed keypoint, as the release and the phantom "
        "have it",
        "chamfer": "unsupervised: Chamfer distance, smoothness and Laplacian, as PointPWC-Net (Wu et al., ECCV 2020)",
        "synthetic-rigid": "a cloud and a copy of it, turned, shifted and scaled",
        "synthetic-field": "a cloud and a copy of it, deformed by a random smooth field",
    }
)


def make(name: str, config: PointsConfig, cases: Sequence[EvalCase[CloudPair]]) -> Supervision[CloudPair]:
    """One of `SUPERVISIONS`, for these training pairs.

    Raises:
        DataError: a training pair lacks the truth that it needs.
    """
    if name == "landmarks":
        return GivenFields[CloudPair](landmark_fields(cases, config.smoothing))
    if name == "correspondences":
        return GivenFields[CloudPair](known_correspondences(cases))
    if name == "chamfer":
        return Metric[CloudPair](partial(chamfer_measure, config=config))
    deform: Deform = {"synthetic-rigid": draw_rigid, "synthetic-field": draw_smooth}[name]
    return Synthetic(config, deform)
