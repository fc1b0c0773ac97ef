"""``cst register`` for volumes: read, pre-align, register on the working grid, and bring everything back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from cst_core.field import Grid
from cst_core.formats.itk_transform import write_itk_affine
from cst_core.formats.landmark_files import write_moved
from cst_core.models import Model
from cst_core.plugin import RegisterRequest
from cst_core.transform import Transform, WorldAffine, WorldField, is_inside, to_indices
from cst_core.verdict import confidence_entry
from cst_core.way_back import ContinuedField, way_back
from cst_image.backend import ImageBackend
from cst_image.confidence import GOOD_MM, POOR_MM, Measure, confidence
from cst_image.config import ImageConfig
from cst_image.intensity import lowest
from cst_image.pair import ImagePair
from cst_image.placement import place
from cst_image.plugin import at_test
from cst_image.registration.composed import determinant, length_figures
from cst_image.registration.covering import covering_grid
from cst_image.registration.file_pair import FilePair, read_pair
from cst_image.registration.measured import Measured, measure
from cst_image.registration.native_files import (
    DETERMINANT_STEP,
    MM_STEP,
    STEP,
    NativeGrid,
    native_grid,
    rounded_,
    write_field,
    write_volume,
)
from cst_image.registration.prealignment import Prealignment, Scan, as_placed, prealign
from cst_image.registration.pull import Lookup, onto

FILES = {
    "displacement": "displacement.nii.gz",
    "displacement_inverse": "displacement_inverse.nii.gz",
    "affine": "affine.tfm",
    "warped": "warped.nii.gz",
    "jacobian": "jacobian.nii.gz",
    "confidence": "confidence.nii.gz",
}
WARPED_LABELS, MOVED = "warped_labels.nii.gz", "landmarks_moved.csv"


class Found(NamedTuple):
    """A registration on the working grid, and what it means in the world."""

    deformation: ContinuedField
    """u, on the working grid."""
    affine: WorldAffine
    """The pre-alignment: the whole is x -> A(x + u(x))."""
    trust: Measure
    seen: Bool[Tensor, "X Y Z"]
    """Where both scans have data, on the working grid."""


class Clock:
    """Seconds of each part, one after the other."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """What was done since the last call was ``name``; named twice, it adds up."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now
        self.seconds["total"] = now - self._start


def register_files(model: Model, request: RegisterRequest, folder: Path) -> Mapping[str, Any]:
    """`cst_core.plugin.FileRegistration`; all results but register.json, on the fixed file's own voxels.

    Raises:
        DataError: a file cannot be used, or the scans do not overlap.
    """
    clock = Clock()
    pair = read_pair(request)
    backend = at_test(model.backend)  # type: ignore[arg-type]
    fixed, moving = (scan.mapped(backend.config) for scan in (pair.fixed, pair.moving))
    clock.lap("read")
    aligned = prealign(fixed, moving) if request.affine else as_placed(fixed, moving)
    clock.lap("affine")
    found = _register(backend, model, fixed, moving, aligned)
    working = found.deformation.grid
    del fixed, moving
    clock.lap("register")
    exported = Transform((found.deformation, found.affine)).on(pair.fixed.header.grid)
    rounded_(exported.vectors, MM_STEP)
    result = _forward(pair, found, exported, folder, backend.config.label_interpolation)
    clock.lap("write")
    moving_grid = pair.moving.header.grid
    back = way_back(
        found.deformation, found.affine, exported, moving_grid, covering_grid(moving_grid, _at(backend, working))
    )
    clock.lap("inverse")
    del exported
    back_vectors = rounded_(back.field.vectors, MM_STEP)
    write_field(folder / FILES["displacement_inverse"], back_vectors, native_grid(pair.moving.header))
    clock.lap("write")
    native = native_grid(pair.fixed.header).grid
    return {
        "grid": {"shape": native.shape, "spacing": native.spacing, "affine": native.affine.tolist()},
        "working_grid": {"shape": working.shape, "spacing": working.spacing},
        "affine": {
            "used": aligned.used,
            "matrix_ras": aligned.matrix.tolist() if aligned.used else None,
            "similarity_before": aligned.similarity_before,
            "similarity_after": aligned.similarity_after,
        },
        **result,
        "inverse_residual_mm": back.residual_mm,
        "seconds": clock.seconds,
        "notes": [*aligned.notes, *_notes(pair, found, backend.config)],
    }


def _register(backend: ImageBackend, model: Model, fixed: Scan, moving: Scan, aligned: Prealignment) -> Found:
    """Both scans on the working grid, the moving one through the affine map; then the network and the rest."""
    grid, fill = covering_grid(fixed.grid, backend.config), lowest(backend.config)
    here = place(fixed.volume, fixed.grid, grid, mask=fixed.mask, fill=fill)
    there = place(moving.volume, moving.grid, grid, mask=moving.mask, fill=fill, through=aligned.matrix)
    here_mask, there_mask = (
        None if placed.mask is None else placed.mask[None].to(backend.device) for placed in (here, there)
    )
    fixed_volume, moving_volume = (placed.volume[None].to(backend.device) for placed in (here, there))
    pair = ImagePair(fixed_volume, moving_volume, grid, here_mask, there_mask)
    field = backend.displacement(model.network, pair)
    trust = confidence(backend, model.network, pair, field)
    seen = torch.ones(grid.shape, dtype=torch.bool)
    for placed in (here, there):
        seen = seen if placed.mask is None else seen & placed.mask
    return Found(
        ContinuedField(field.to_world().cpu(), grid),
        WorldAffine(aligned.matrix),
        Measure(trust.name, trust.values.cpu()),
        seen,
    )


def _forward(pair: FilePair, found: Found, exported: WorldField, folder: Path, labels: Lookup) -> dict[str, Any]:
    """Write what lies on the fixed grid, and measure it."""
    native, grid = native_grid(pair.fixed.header), exported.grid
    write_field(folder / FILES["displacement"], exported.vectors, native)
    write_itk_affine(folder / FILES["affine"], found.affine)
    trust, _ = onto(found.trust.values, found.deformation.grid, grid)
    write_volume(folder / FILES["confidence"], rounded_(trust, STEP), native)
    del trust
    volumes = rounded_(determinant(exported), DETERMINANT_STEP)
    write_volume(folder / FILES["jacobian"], volumes, native)
    files = dict(FILES)
    measured = measure(pair, exported, Transform((found.deformation, found.affine)), volumes, labels)
    write_volume(folder / FILES["warped"], measured.warped, native)
    files |= _write_truth(pair, measured, native, folder)
    seen = found.trust.values[found.seen] if bool(found.seen.any()) else found.trust.values
    return {
        "initial": measured.initial,
        "final": measured.final,
        **measured.jacobian._asdict(),
        "displacement_mm": length_figures(exported),
        "confidence": confidence_entry(found.trust.name, seen, measured.jacobian.folding_percent, GOOD_MM, POOR_MM),
        "landmarks": measured.landmark_figures,
        "files": files,
    }


def _write_truth(pair: FilePair, measured: Measured, native: NativeGrid, folder: Path) -> dict[str, str]:
    files = {}
    if measured.warped_labels is not None:
        write_volume(folder / WARPED_LABELS, measured.warped_labels, native)
        files["warped_labels"] = WARPED_LABELS
    if pair.landmarks is not None and measured.moved is not None and measured.errors is not None:
        write_moved(folder / MOVED, pair.landmarks, measured.moved, measured.errors)
        files["landmarks_moved"] = MOVED
    return files


def _at(backend: ImageBackend, working: Grid) -> Any:
    """The configuration under which the way back is begun: cubes of the working grid's mean size."""
    x, y, z = working.spacing
    return backend.config.model_copy(update={"spacing": (x * y * z) ** (1 / 3)})


def _notes(pair: FilePair, found: Found, config: ImageConfig) -> list[str]:
    notes = []
    share = float(found.seen.float().mean())
    if share < 0.9:
        notes.append(f"both scans have data in {share:.0%} of the fixed field of view; beyond, the field is a guess")
    notes += [
        f"{scan.header.path.name} does not say where it lies (neither sform nor qform)"
        for scan in (pair.fixed, pair.moving)
        if not scan.header.placed
    ]
    if config.intensity == "ct" and min(float(scan.volume.min()) for scan in (pair.fixed, pair.moving)) >= 0:
        notes.append("neither scan has a value below 0, as CT in HU has, for which this model was made: is this MR?")
    notes += [scan.header.note for scan in (pair.fixed, pair.moving) if scan.header.note is not None]
    if pair.landmarks is not None:
        grid, points = pair.fixed.header.grid, pair.landmarks.fixed
        beyond = int((~is_inside(to_indices(grid, points), grid.shape)).sum())
        if beyond > 0:
            notes.append(
                f"{beyond} of {len(points)} landmarks lie outside the fixed scan: moved as the registration goes on "
                "there, beyond displacement.nii.gz (cst apply leaves them where they are); check their frame"
            )
    return notes
