"""``cst register --backend points``: two clouds or two lung CTs to files that say where every point goes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from cst_core.errors import DataError
from cst_core.formats.landmark_files import landmark_figures, read_landmarks, write_moved
from cst_core.metrics import jacobian_figures, landmark_tre
from cst_core.models import Model
from cst_core.plugin import Landmarks, RegisterRequest
from cst_core.verdict import confidence_entry
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.confidence import residual
from cst_points.dense import JACOBIAN_SPACING, dense_field, dense_spline, displacement_at
from cst_points.formats import write_cloud, write_table
from cst_points.plausibility import FEWEST, check_landmarks
from cst_points.register_input import Ready, read_request
from cst_points.register_volume import write_volumes
from cst_points.tps import Spline

MEASURE = "distance between the smooth field and the best match"
GOOD_MM, POOR_MM = 4.0, 7.0
"""Of `residual`, 95th percentile: ten pairs of one patient each have 2.2 to 4.3, and the two with the largest landmark
errors more than 4.0; ten of two patients 7.3 or more (`benchmarks/results/confidence_points.json`)."""
_HEADER = "x,y,z,dx,dy,dz,confidence_mm"


class Found(NamedTuple):
    """A registration in the network's frame, on the CPU."""

    field: Float[Tensor, "3 N"]
    """mm, at the fixed points."""
    spline: Spline
    residual: Float[Tensor, " N"]
    """Of every fixed point, mm."""


def register_files(model: Model, request: RegisterRequest, folder: Path) -> dict[str, Any]:
    """See `cst_core.plugin.FileRegistration`.

    Into ``folder`` go displaced.csv, displacement.csv and moving_points.csv, with landmarks landmarks_moved.csv, and
    for CTs what `cst_points.register_volume` writes.

    Raises:
        DataError: files that cannot be used.
    """
    assert isinstance(model.backend, PointsBackend)
    clock = [time.perf_counter()]
    ready = read_request(request, model.about)
    _check_size(request, ready.pair)
    landmarks = None if request.landmarks is None else _landmarks(request.landmarks, ready)
    clock.append(time.perf_counter())
    found = _registered(model, ready.pair.to(model.backend.device))
    clock.append(time.perf_counter())
    figures = _field_figures(ready.pair, found.spline)
    entry, files = _write_points(folder, ready, found)
    volumes = (
        None if ready.grids is None else write_volumes(folder, request.moving, ready, found.spline, found.residual)
    )
    marks = None
    if landmarks is not None:
        # of CTs through the field as it was written, so that other programs move them to the same places
        moved = volumes.field.map(landmarks.fixed) if volumes else _moved(ready, found.spline, landmarks.fixed)
        marks = _measure(folder, landmarks, moved)
    clock.append(time.perf_counter())
    read, solve, write = (b - a for a, b in itertools.pairwise(clock))
    inverse = volumes.seconds_inverse if volumes else 0.0
    seconds = {"read": read, "affine": 0.0, "register": solve, "inverse": inverse, "write": write - inverse}
    return {
        "grid": volumes.grid if volumes else None,
        "working_grid": None,
        "affine": _affine(request, ready) if volumes else None,
        "initial": _scores(marks, "tre_mm_initial"),
        "final": _scores(marks, "tre_mm"),
        **figures,
        "displacement_mm": entry,
        "inverse_residual_mm": volumes.inverse_residual_mm if volumes else None,
        "confidence": confidence_entry(MEASURE, found.residual, figures["folding_percent"], GOOD_MM, POOR_MM),
        "landmarks": marks,
        "files": files
        | ({"landmarks_moved": "landmarks_moved.csv"} if marks else {})
        | (volumes.files if volumes else {}),
        "seconds": seconds | {"total": sum(seconds.values())},
        "notes": list(ready.notes),
    }


def _check_size(request: RegisterRequest, pair: CloudPair) -> None:
    for path, cloud in ((request.fixed, pair.fixed), (request.moving, pair.moving)):
        if len(cloud) < FEWEST:
            raise DataError(f"{path}: needs at least {FEWEST} points, found {len(cloud)}; pass a larger cloud")


def _landmarks(path: Path, ready: Ready) -> Landmarks:
    found = read_landmarks(path)
    for part, placed, cloud, points in (
        ("fixed", ready.fixed_placed, ready.pair.fixed, found.fixed),
        ("moving", ready.moving_placed, ready.pair.moving, found.moving),
    ):
        check_landmarks(path, part, cloud, placed.map(points).float())
    return found


def _registered(model: Model, pair: CloudPair) -> Found:
    backend = model.backend
    assert isinstance(backend, PointsBackend)
    try:
        field = backend.register(model.network, pair).refined
        spline = dense_spline(pair, field, backend.config)
    except ValueError as error:  # all points in one plane
        raise DataError(f"fixed cloud: cannot be registered ({error}); pass points that span space") from None
    doubted = residual(backend, model.network, pair, field)
    return Found(field.cpu(), Spline(*(part.cpu() for part in spline)), doubted.cpu())


def _field_figures(pair: CloudPair, spline: Spline) -> dict[str, Any]:
    field = dense_field(pair, spline, JACOBIAN_SPACING)
    figures = jacobian_figures(field.vectors, field.grid.spacing)
    return {
        "sdlogj": figures.sdlogj,
        "sdlogj_l2r": figures.sdlogj_l2r,
        "folding_percent": figures.folding_percent,
    }


def _write_points(folder: Path, ready: Ready, found: Found) -> tuple[dict[str, float], dict[str, str]]:
    fixed = ready.fixed_placed.inverse().map(ready.pair.fixed)
    moved = ready.carried(fixed, found.field.T)
    write_cloud(folder / "displaced.csv", moved)
    write_cloud(folder / "moving_points.csv", ready.moving_placed.inverse().map(ready.pair.moving))
    rows = torch.cat([fixed, moved - fixed, found.residual.double()[:, None]], 1)
    write_table(folder / "displacement.csv", _HEADER, rows)
    lengths = torch.linalg.vector_norm(moved - fixed, dim=1)
    figures = {
        "mean": float(lengths.mean()),
        "p99": float(torch.quantile(lengths, 0.99)),
        "max": float(lengths.max()),
    }
    names = {"displaced": "displaced", "displacement_points": "displacement", "moving_points": "moving_points"}
    return figures, {key: f"{name}.csv" for key, name in names.items()}


def _measure(folder: Path, landmarks: Landmarks, moved: Float64[Tensor, "L 3"]) -> dict[str, Any]:
    zero = torch.zeros_like(landmarks.fixed)
    initial = landmark_tre(zero, landmarks.fixed, landmarks.moving)
    errors = landmark_tre(moved - landmarks.fixed, landmarks.fixed, landmarks.moving)
    write_moved(folder / "landmarks_moved.csv", landmarks, moved, errors)
    return landmark_figures(initial, errors)


def _moved(ready: Ready, spline: Spline, points: Float64[Tensor, "L 3"]) -> Float64[Tensor, "L 3"]:
    """Fixed points, own mm, through the spline, own mm of the moving file."""
    there = ready.fixed_placed.map(points).float()
    return ready.carried(points, displacement_at(ready.pair, spline, there))


def _affine(request: RegisterRequest, ready: Ready) -> dict[str, Any]:
    matrix = ready.aligned().matrix.tolist() if request.affine else None
    return {"used": request.affine, "matrix_ras": matrix, "similarity_before": None, "similarity_after": None}


def _scores(marks: Mapping[str, Any] | None, key: str) -> dict[str, Any]:
    tre = marks[key]["mean"] if marks else None
    return {"dice": None, "dice_per_label": None, "tre_mm": tre, "ncc": None}
