"""Settings of the points backend and its presets. Defaults are those of ``best``."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from pydantic import Field, model_validator

from cst_core.config import Settings
from cst_core.plugin import Preset


class PointsConfig(Settings):
    """g, h, refinement and augmentation for keypoint clouds; published values in brackets, all in preset ``paper``.

    Numbers of neighbours and candidates that exceed a cloud's size are cut to it.
    """

    # g
    neighbours_fixed: int = Field(default=10, ge=1)
    """Neighbours in the fixed cloud's feature graph (Sec. 3)."""
    neighbours_moving: int = Field(default=40, ge=1)
    """Neighbours in the moving cloud's feature graph (Sec. 3); its cloud is denser."""
    features: int = Field(default=64, ge=1, le=4096)
    """Channels of g's output (Sec. 3)."""
    towers: int = Field(default=1, ge=1, le=256)
    """Networks side by side in the trained g (published: 1)."""
    first_towers: int = Field(default=16, ge=1, le=256)
    """Networks side by side in the untrained g_0 that makes the first labels (published: 1)."""

    # h
    candidates: int = Field(default=256, ge=1)
    """Nearest moving keypoints each fixed keypoint may go to (Sec. 3); in a smaller cloud, all of them."""
    graph_neighbours: int = Field(default=10, ge=1)
    """Of the symmetric graph that messages pass on (Sec. 3)."""
    weight: float = Field(default=300.0, gt=0)
    """Of the regulariser |d_i(a) - d_j(b)|^2 in normalised coordinates (published: 10, far too weak)."""
    training_weight: float = Field(default=10.0, gt=0)
    """The same in the training stream (published: 10). There the weak one is right: a strong regulariser finds most
    matches whatever the features are, and leaves g little to learn but the labels' noise."""
    rounds: int = Field(default=10, ge=1)
    """Of messages at test time and for labels (published: 5, of which the last was not read)."""
    training_rounds: int = Field(default=5, ge=1)
    """Of messages in the training stream."""
    sharpness: float = Field(default=50.0, gt=0)
    """Of the softmax over candidates at the read-out (published code)."""

    # refinement of labels, and of the result at test time
    second_warp: bool = True
    """Solve once more among the candidates nearest to where the first solution points."""
    second_candidates: int = Field(default=64, ge=1)
    """Candidates of the second solution."""
    prior_smoothing: float = Field(default=3.0, ge=0)
    """lambda of the spline that carries the first solution into the second: only what is surely smooth."""
    smooth: bool = True
    """Replace the field by its thin-plate smoothing spline."""
    smoothing: float = Field(default=0.1, ge=0)
    """lambda of that spline, and of the dense field's (Sec. 3)."""
    forward_backward: bool = False
    """Trust a keypoint less, in the spline, the less the solution from moving to fixed agrees with it."""
    agreement_mm: float = Field(default=3.0, gt=0)
    """Disagreement at which trust has fallen to one half."""
    views: int = Field(default=1, ge=1)
    """Average the solutions of this many randomly transformed views of the pair (1: the pair itself alone)."""

    # augmentation
    max_degrees: float = Field(default=10.0, ge=0)
    """Rotation about each axis (Sec. 3)."""
    max_translation: float = Field(default=0.1, ge=0)
    """Translation along each axis, normalised coordinates (Sec. 3)."""
    max_scale: float = Field(default=0.1, ge=0, lt=1)
    """Isotropic scaling (Sec. 3)."""

    # the supervision "chamfer" (weights: Wu et al. 2020, published code)
    chamfer_unit_mm: float = Field(default=40.0, gt=0)
    """Length that counts as 1. The published weights belong to metres in streets, where neighbouring points are about
    0.15 m apart; keypoints are about 6 mm apart."""
    chamfer_smoothness: float = Field(default=1.0, ge=0)
    """Of the mean distance of neighbours' displacements, beside the Chamfer distance (published: 1)."""
    chamfer_laplacian: float = Field(default=0.3, ge=0)
    """Of the Laplacians' squared difference (published: 0.3)."""
    smooth_neighbours: int = Field(default=8, ge=1)
    """Whose displacements are compared (published: 8)."""
    laplacian_neighbours: int = Field(default=9, ge=1)
    """Of a Laplacian (published: 9)."""
    interpolation_neighbours: int = Field(default=5, ge=1)
    """Moving points whose Laplacians are interpolated (published: 5)."""

    # the supervisions "synthetic-rigid" and "synthetic-field"
    synthetic_fixed: float = Field(default=0.4, gt=0, le=1)
    """Share of the cloud's points that its fixed sample keeps: half as many as the moving one, as in real pairs."""
    synthetic_moving: float = Field(default=0.8, gt=0, le=1)
    """Share that its moving sample keeps; the rest is what the fixed sample finds no partner of (real pairs: 30-40 %,
    but then the clouds would be small)."""
    synthetic_jitter_mm: float = Field(default=1.0, ge=0)
    """Standard deviation, along each axis, of where a keypoint is found again (the phantom: 0.7 in each cloud)."""
    synthetic_degrees: float = Field(default=10.0, ge=0)
    """Rotation about each axis, of one cloud against the other; this and the next two as the augmentation (Sec. 3)."""
    synthetic_translation: float = Field(default=0.1, ge=0)
    """Translation along each axis, normalised coordinates."""
    synthetic_scale: float = Field(default=0.1, ge=0, lt=1)
    """Isotropic scaling."""
    synthetic_shift_mm: float = Field(default=5.0, ge=0)
    """Standard deviation of a translation along each axis. With the next four, a deep breath has a mean displacement
    of about 17 mm and the mean over breaths is about that of the COPD pairs, 12 mm (Sec. 3)."""
    synthetic_coarse_mm: float = Field(default=10.5, ge=0)
    """Standard deviation of the coarse field along each axis."""
    synthetic_coarse_length_mm: float = Field(default=70.0, gt=0)
    """Its correlation length: half a lung's width."""
    synthetic_fine_mm: float = Field(default=2.5, ge=0)
    """The same of the fine field."""
    synthetic_fine_length_mm: float = Field(default=30.0, gt=0)
    """Its correlation length: about five times the keypoints' spacing."""

    # data
    extra_pairs: bool = False
    """With a fold, also train on pairs without landmarks (the release's 4DCT and Learn2Reg): they belong to no fold."""

    @model_validator(mode="after")
    def _agreement_is_used(self) -> "PointsConfig":
        if self.forward_backward and not self.smooth:
            raise ValueError("forward_backward needs smooth: the spline is what trusts some keypoints less")
        return self


_PAPER: dict[str, Any] = {
    "weight": 10.0,
    "rounds": 4,  # the published five, of which the last was not read
    "training_rounds": 4,
    "first_towers": 1,
    "second_warp": False,
    "smooth": False,
}
_PAPER_TRAIN: dict[str, Any] = {
    "stages": 8,
    "epochs": 60,
    "batch_size": 4,
    "schedule": "step",
    "weighted_sampling": False,  # the paper weighs images only
}
# One stage: chosen for each fold on the other folds, where a second one lost more than it gained (README, Results).
_BEST_TRAIN: dict[str, Any] = {"stages": 1, "epochs": 3, "batch_size": 2, "weighted_sampling": False}
_MORE: dict[str, Any] = {"extra_pairs": True}

PRESETS = MappingProxyType(
    {
        "best": Preset(
            "wide random features first, strong regulariser, every pair there is; the default", _BEST_TRAIN, _MORE
        ),
        "paper": Preset(
            "as published: weight 10, 4 rounds, one random network, 8 stages of 60 epochs", _PAPER_TRAIN, _PAPER
        ),
        "quick": Preset(
            "best with narrow first features, on the pairs of the fold alone: minutes on two cores",
            _BEST_TRAIN | {"stages": 2},
            {"first_towers": 4},
        ),
    }
)
