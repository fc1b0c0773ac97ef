"""The points backend as the command line sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cst_core.errors import DataError
from cst_core.metrics import jacobian_figures, landmark_tre
from cst_core.models import Model
from cst_core.plugin import Dataset, EvalCase, PairScore, Preset, RegisterRequest
from cst_core.supervision import Supervision
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.config import PRESETS, PointsConfig
from cst_points.dense import JACOBIAN_SPACING, dense_field, dense_spline, displacement_at
from cst_points.plausibility import FEWEST
from cst_points.supervision import SUPERVISIONS, make


class PointsPlugin:
    """`cst_core.plugin.BackendPlugin` for clouds."""

    name = "points"
    config_class = PointsConfig
    presets: Mapping[str, Preset] = PRESETS
    saves_memory = "--set batch_size, candidates, towers and first_towers"
    default_preset = "best"
    regularisation = "smoothing"  # not `weight`: too strong a one makes rougher fields again
    supervisions: Mapping[str, str] = SUPERVISIONS

    def backend(self, config: PointsConfig, device: str) -> PointsBackend:
        """The four verbs under this configuration."""
        return PointsBackend(config, device)

    def untrained(self, backend: PointsBackend, seed: int) -> nn.Module:
        """g_0: wide random features."""
        return backend.untrained(seed)

    def read_data(self, source: str, fold: int | None, config: PointsConfig, device: str) -> Dataset[CloudPair]:
        """The phantom, the public release or a folder of clouds; errors as `cst_points.data`."""
        from cst_points.data import read_dataset

        data = read_dataset(source, fold, config.extra_pairs)
        train, test = (
            [replace(case, pair=case.pair.to(device)) for case in cases] for cases in (data.train, data.test)
        )
        return Dataset(data.source, data.fingerprint, train, test, [*data.notes, *_small(train + test, config)])

    def score(self, backend: PointsBackend, network: nn.Module, case: EvalCase[CloudPair]) -> PairScore:
        """TRE at the landmarks through the spline, the Jacobian's figures on its dense field, seconds to register."""
        start = time.perf_counter()
        registration = backend.register(network, case.pair)
        if case.pair.fixed.is_cuda:
            torch.cuda.synchronize()
        return score_field(case, registration.refined, time.perf_counter() - start, backend.config)

    def supervision(
        self, name: str, backend: PointsBackend, cases: Sequence[EvalCase[CloudPair]]
    ) -> Supervision[CloudPair]:
        """What teaches g instead of self-training; see `cst_points.supervision`."""
        return make(name, backend.config, cases)

    def shipped(self) -> Mapping[str, Path]:
        """``copd-fold1`` ... ``copd-fold5`` and ``lung``."""
        folder = Path(__file__).parent / "weights"
        return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}

    def picture(self, backend: PointsBackend, network: nn.Module, case: EvalCase[CloudPair], path: Path) -> None:
        """A PNG of one pair before and after registration."""
        from cst_points.picture import draw

        draw(backend, network, case, path)

    def register_files(self, model: Model, request: RegisterRequest, folder: Path) -> Mapping[str, Any]:
        """Two clouds, or two lung CTs; see `cst_points.register`."""
        from cst_points.register import register_files

        return register_files(model, request, folder)

    def checks(self, check: bool) -> Mapping[str, str]:
        """Whether KeOps works here; see `cst_points.keops_state`."""
        from cst_points.keops_state import keops_state

        return {"KeOps": keops_state(check)}

    def recognise(self, folder: Path) -> str | None:
        """The public release, or a folder of clouds."""
        from cst_points.case_folder import case_ids
        from cst_points.release import is_release

        if is_release(folder):
            return "the public keypoint release"
        try:
            return f"{len(ids)} pairs of clouds" if (ids := case_ids(folder)) else None
        except DataError as error:
            return str(error)


def score_field(
    case: EvalCase[CloudPair], field: Float[Tensor, "3 N"], seconds: float, config: PointsConfig
) -> PairScore:
    """TRE and the Jacobian's figures of any field at the fixed keypoints, mm, through the spline of `dense_spline`.

    A field that was not smoothed by refinement wants a ``config`` without `smooth`: then the spline smooths.
    """
    spline = dense_spline(case.pair, field, config)
    dense = dense_field(case.pair, spline, JACOBIAN_SPACING)
    figures = jacobian_figures(dense.vectors, dense.grid.spacing)
    tre = initial = None
    if case.landmarks is not None:
        fixed, moving = (points.to(case.pair.fixed) for points in case.landmarks)
        moved = displacement_at(case.pair, spline, fixed)
        tre = float(landmark_tre(moved, fixed, moving).mean())
        initial = float(landmark_tre(torch.zeros_like(moved), fixed, moving).mean())
    return PairScore(
        id=case.id,
        tre_mm=tre,
        tre_mm_initial=initial,
        sdlogj_l2r=figures.sdlogj_l2r,
        sdlogj=figures.sdlogj,
        folding_percent=figures.folding_percent,
        seconds=seconds,
    )


def _small(cases: Sequence[EvalCase[CloudPair]], config: PointsConfig) -> list[str]:
    """Said of clouds smaller than the configuration counts on; refused where not even a spline can be fitted."""
    for case in cases:
        if (fewest := min(len(case.pair.fixed), len(case.pair.moving))) < FEWEST:
            raise DataError(
                f"{case.id}: needs at least {FEWEST} points in each cloud, found {fewest}; leave the case out"
            )
    needed = max(config.candidates, config.neighbours_moving)
    small = sorted({case.id for case in cases if len(case.pair.moving) < needed})
    return [f"{', '.join(small)}: fewer than {needed} moving keypoints, so all are candidates"] if small else []


PLUGIN = PointsPlugin()
