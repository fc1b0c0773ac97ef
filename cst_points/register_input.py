"""What ``cst register --backend points`` was given: two clouds or two CTs, brought into the frame of the network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_core.formats.nifti import forms_notes, read_grid
from cst_core.plugin import RegisterRequest
from cst_core.transform import WorldAffine
from cst_points.case_folder import bounding_box, find_crop, read_crop
from cst_points.cloud import CloudPair
from cst_points.formats import read_cloud
from cst_points.lung_clouds import Frame, LungOptions, prepare_lung
from cst_points.plausibility import check_units
from cst_points.scan import read_mask, read_scan

_VOLUME = (".nii", ".nii.gz")
RELEASE_FILLED = 0.8
"""Of [-1, 1], by a bounding box of the public keypoint release, mean over its axes and pairs. Clouds in other axes, or
in the scanner's millimetres instead of the release's nominal ones, so come to the scale that networks know."""
_RELEASE = "LungKeypoints"  # what weights of the public keypoint release say they were trained on


@dataclass(frozen=True)
class Ready:
    """A pair in the network's mm, and the way from the files' own mm to there."""

    pair: CloudPair
    fixed_placed: WorldAffine
    """The fixed file's own mm (a CT's: the scanner's RAS) to the network's."""
    moving_placed: WorldAffine
    grids: tuple[Grid, Grid] | None
    """Of the fixed and the moving CT's file as it is; None for clouds."""
    notes: tuple[str, ...]

    def carried(self, points: Float[Tensor, "N 3"], displacement: Float[Tensor, "N 3"]) -> Float64[Tensor, "N 3"]:
        """Where points of the fixed file, own mm, end in the moving one, own mm; ``displacement`` in the network's."""
        return self.moving_placed.inverse().map(self.fixed_placed.map(points) + displacement.double().cpu())

    def aligned(self) -> WorldAffine:
        """The pre-alignment alone: the fixed file's own mm to the moving one's."""
        return WorldAffine(self.moving_placed.inverse().matrix @ self.fixed_placed.matrix)


def read_request(request: RegisterRequest, about: Mapping[str, Any]) -> Ready:
    """Two clouds as they are, or keypoints of two lung CTs as `cst_points.lung_clouds` finds them.

    Args:
        request: of files of one kind.
        about: what the weights say of themselves: ``trained_on`` decides how clouds are scaled.

    Raises:
        DataError: a cloud and a CT, files that do not apply to their kind, or files that cannot be used.
    """
    kinds = {path: path.name.lower().endswith(_VOLUME) for path in (request.fixed, request.moving)}
    if len(set(kinds.values())) > 1:
        raise DataError(
            f"{request.moving}: must be of the same kind as {request.fixed.name}, found a CT and a cloud; "
            "pass two clouds or two CTs (NIfTI)"
        )
    for path in (request.fixed_labels, request.moving_labels):
        if path is not None:
            raise DataError(f"{path}: label maps are not measured with --backend points; leave them out")
    return _volumes(request) if kinds[request.fixed] else _clouds(request, about)


def _clouds(request: RegisterRequest, about: Mapping[str, Any]) -> Ready:
    for path in (request.fixed_mask, request.moving_mask):
        if path is not None:
            raise DataError(f"{path}: masks are for CTs, found clouds to register; leave the mask out")
    fixed, moving = read_cloud(request.fixed), read_cloud(request.moving)
    check_units(request.fixed, fixed, request.moving, moving)
    crop = find_crop(request.fixed)
    if crop is not None:
        origin, half_extent = read_crop(crop)
        centres = torch.zeros(2, 3)
        axes = json.loads(crop.read_bytes()).get("axes")  # `read_crop` has seen that this is an object
        said = f"{crop.name}: its origin and half-extent scale the clouds"
    else:
        centres = _centres(fixed, moving) if request.affine else torch.zeros(2, 3)
        origin, half_extent = bounding_box(fixed - centres[0], moving - centres[1])
        axes = None
        said = "no crop file beside the clouds: scaled by their bounding box"
        if about.get("trained_on") == _RELEASE:
            half_extent = (half_extent.mean() / RELEASE_FILLED).expand(3).clone()
            said = f"no crop file beside the clouds: scaled to [-1, 1] by {float(half_extent[0]):.0f} mm along all axes"
        said += ", centre on centre" if request.affine else ", where the files say (--no-affine)"
    notes = [f"{said}; displacements are mm in the files' own axes"]
    if about.get("trained_on") == _RELEASE and axes != list(Frame.RELEASE.axes):
        told = "unknown" if axes is None else ", ".join(axes)
        notes.append(f"the model knows clouds along superior, posterior, left; the axes of these: {told}")
    pair = CloudPair(fixed - centres[0], moving - centres[1], origin, half_extent)
    return Ready(pair, _shift(centres[0]), _shift(centres[1]), None, tuple(notes))


def _centres(fixed: Float[Tensor, "N 3"], moving: Float[Tensor, "M 3"]) -> Float[Tensor, "2 3"]:
    return torch.stack([(cloud.amin(0) + cloud.amax(0)) / 2 for cloud in (fixed, moving)])


def _shift(centre: Float[Tensor, "3"]) -> WorldAffine:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, 3] = -centre.double()
    return WorldAffine(matrix)


def _volumes(request: RegisterRequest) -> Ready:
    grids = read_grid(request.fixed), read_grid(request.moving)
    fixed, moving = read_scan(request.fixed), read_scan(request.moving)
    masks = (request.fixed_mask, request.moving_mask)
    inside = [
        None if path is None else read_mask(path, scan) for path, scan in zip(masks, (fixed, moving), strict=True)
    ]
    prepared = prepare_lung(fixed, moving, inside[0], inside[1], None, LungOptions())
    origin, half_extent = torch.zeros(3), torch.tensor(prepared.half_extent)
    placed = [_placed(centre) for centre in (prepared.fixed_centre, prepared.moving_centre)]
    clouds = [
        place.map(torch.from_numpy(scan.in_scanner(_unturned(cloud) + scan.along_axes(centre[None])))).float()
        for scan, cloud, centre, place in (
            (fixed, prepared.fixed, prepared.fixed_centre, placed[0]),
            (moving, prepared.moving, prepared.moving_centre, placed[1]),
        )
    ]
    how = ["given" if path is not None else "found by threshold" for path in masks]
    notes = [
        f"lung masks: fixed {how[0]}, moving {how[1]}; {len(clouds[0])} and {len(clouds[1])} keypoints",
        "the network sees scanner millimetres along superior, posterior, left from each lung's centre, scaled as the "
        "public keypoint release, whose own millimetres are nominal",
        "outside the lungs the field is the spline's continuation, and not to be relied on",
        *forms_notes(request.fixed, request.moving),
    ]
    if not request.affine:
        # one zero for both: the clouds lie where the headers say
        shift = placed[0].map(torch.from_numpy(prepared.moving_centre)[None])[0]
        clouds[1] = clouds[1] + shift.float()
        placed[1] = WorldAffine(_translation(shift) @ placed[1].matrix)
        notes.append("--no-affine: the clouds lie where the scanners' frames say")
    pair = CloudPair(clouds[0], clouds[1], origin, half_extent)
    return Ready(pair, placed[0], placed[1], grids, tuple(notes))


def _placed(centre: Float[np.ndarray, " 3"]) -> WorldAffine:
    """The scanner's RAS mm to mm along superior, posterior, left from ``centre``, however oblique the scan is."""
    turn = torch.tensor([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]], dtype=torch.float64)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = turn
    matrix[:3, 3] = -turn @ torch.from_numpy(centre)
    return WorldAffine(matrix)


def _unturned(cloud: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """From superior, posterior, left back to right, anterior, superior."""
    return cloud[:, ::-1].astype(np.float64) * (-1, -1, 1)


def _translation(shift: Float64[Tensor, "3"]) -> Float64[Tensor, "4 4"]:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, 3] = shift
    return matrix
