"""Supervised training: fields at the fixed keypoints that are known beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from cst_core.errors import DataError
from cst_core.plugin import EvalCase
from cst_points.cloud import CloudPair
from cst_points.tps import fit_spline

_OTHERS = "leave the pair out, or choose another supervision; of the release, --set extra_pairs=false leaves out all"


def landmark_fields(cases: Sequence[EvalCase[CloudPair]], smoothing: float) -> list[Float[Tensor, "3 _"]]:
    """For every case, its landmarks' displacements carried to the fixed keypoints, ``(3, N)`` mm.

    By a thin-plate spline in normalised coordinates whose lambda is ``smoothing``; landmarks are hand-placed, so it
    does not pass through them exactly.

    Raises:
        DataError: a case without landmarks, or with too few for a spline.
    """
    fields: list[Tensor] = []
    for case in cases:
        if case.landmarks is None:
            raise DataError(f"{case.id}: supervision 'landmarks' needs landmarks of every pair, found none; {_OTHERS}")
        pair, (fixed, moving) = case.pair, (points.to(case.pair.fixed) for points in case.landmarks)
        try:
            spline = fit_spline((fixed - pair.origin) / pair.half_extent, moving - fixed, smoothing)
        except ValueError as error:
            raise DataError(f"{case.id}: landmarks cannot teach ({error}); {_OTHERS}") from None
        fields.append(spline(pair.normalised()[0]).T.contiguous())
    return fields


def known_correspondences(cases: Sequence[EvalCase[CloudPair]]) -> list[Float[Tensor, "3 _"]]:
    """For every case, the displacements that came with its fixed keypoints, ``(3, N)`` mm.

    Raises:
        DataError: a case without them.
    """
    fields: list[Tensor] = []
    for case in cases:
        if case.correspondence is None:
            raise DataError(
                f"{case.id}: supervision 'correspondences' needs the displacement of every fixed keypoint, which only "
                f"the release and the phantom have, found none; {_OTHERS}"
            )
        fields.append(case.correspondence.to(case.pair.fixed))
    return fields
