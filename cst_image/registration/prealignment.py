"""Affine pre-alignment of two scans of any grids: from several starts, by mutual information; the best by edges."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import SimpleITK
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_core.formats.itk_transform import flip_world
from cst_image.placement import place
from cst_image.registration.similarity import local_correlation, seen_by_both
from cst_image.working_grid import Size, centred

LEAST_OVERLAP = 0.1
"""Of the smaller of two fields of view: below it a similarity says nothing."""
VOLUME_RATIO = 2.0
"""How much an affine map may enlarge or shrink: beyond it something else was matched."""
_VOXELS = 300_000  # of the grids on which this is computed
_ROUGH, _FINE = (4, 2), (4, 2, 1)  # shrink factors of the levels
_BINS = 32
_RIGID = 6  # parameters of a rotation and a shift
_IDENTITY = torch.eye(4, dtype=torch.float64)
_LPS = torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64)


class Scan(NamedTuple):
    """A volume, mapped to the method's range of intensities, where it lies in its world."""

    volume: Float[Tensor, "X Y Z"]
    grid: Grid
    mask: Bool[Tensor, "X Y Z"] | None = None
    """Where there is data; None: everywhere."""


class Prealignment(NamedTuple):
    """An affine map and what it is worth."""

    matrix: Float64[Tensor, "4 4"]
    """Fixed world to moving world, RAS mm; the identity if nothing better was found."""
    used: bool
    """Whether it is not the identity."""
    similarity_before: float | None
    """`similarity.local_correlation` as the headers have it; None where the scans do not overlap."""
    similarity_after: float | None
    notes: tuple[str, ...] = ()


def prealign(fixed: Scan, moving: Scan) -> Prealignment:
    """The affine map that makes two scans most alike.

    Starts: where the headers say, centre on centre of the fields of view, and of mass. Each is improved rigidly, the
    best of all affinely, by mutual information, on grids of some hundred thousand voxels. Of all these maps, the
    starts among them, the one with the largest local correlation is returned.

    Raises:
        DataError: no start brings the scans to overlap, or there is nothing to match.
    """
    fixed, moving = _coarse(fixed), _coarse(moving)
    starts = [_IDENTITY, _shift(_middle(fixed), _middle(moving)), _shift(_mass(fixed), _mass(moving))]
    scored = [(_score(fixed, moving, start), start) for start in starts]
    before = scored[0][0]
    images = _image(fixed), _image(moving)
    rigid = [_optimised(images, _rigid(fixed, start), _ROUGH) for score, start in scored if score is not None]
    scored += [(_score(fixed, moving, matrix), matrix) for matrix in rigid if matrix is not None]
    best = _best(scored)
    if best is None:
        raise DataError("fixed and moving: must show the same body part, found no position in which they overlap")
    affine = _optimised(images, _affine(fixed, best[1]), _FINE)
    if affine is not None:
        scored.append((_score(fixed, moving, affine), affine))
    after, matrix = _best(scored) or best
    notes = [] if before is not None else ["the scans do not overlap where their headers say: started from centres"]
    if torch.equal(matrix, _IDENTITY):
        notes.append("no affine map makes the scans more alike than their headers: none is used")
    return Prealignment(matrix, not torch.equal(matrix, _IDENTITY), before, after, tuple(notes))


def as_placed(fixed: Scan, moving: Scan) -> Prealignment:
    """No map: the scans lie where their headers say.

    Raises:
        DataError: they do not overlap there.
    """
    score = _score(_coarse(fixed), _coarse(moving), _IDENTITY)
    if score is None:
        raise DataError(
            f"fixed and moving: must share {LEAST_OVERLAP:.0%} of their fields of view in the scanner's frame, "
            "found less; leave --no-affine out"
        )
    return Prealignment(_IDENTITY, False, score, score)


def _coarse(scan: Scan) -> Scan:
    """On cubic voxels, not finer than the scan's mean and not more than `_VOXELS`."""
    extent = [n * s for n, s in zip(scan.grid.shape, scan.grid.spacing, strict=True)]
    spacing = max(math.prod(scan.grid.spacing), math.prod(extent) / _VOXELS) ** (1 / 3)
    x, y, z = (max(2, math.ceil(length / spacing - 0.01)) for length in extent)
    grid = centred(scan.grid, Size((x, y, z), (spacing, spacing, spacing)))
    placed = place(scan.volume, scan.grid, grid, mask=scan.mask, fill=float(scan.volume.min()))
    return Scan(placed.volume, grid, placed.mask)


def _score(fixed: Scan, moving: Scan, matrix: Tensor) -> float | None:
    """Local correlation under a map; None if too little overlaps, or the map is no plausible one."""
    if not 1 / VOLUME_RATIO < float(torch.linalg.det(matrix[:3, :3])) < VOLUME_RATIO:
        return None
    volume, inside = seen_by_both(fixed.grid, moving.grid, moving.volume, moving.mask, matrix)
    if fixed.mask is not None:
        inside = inside & fixed.mask
    voxels = (math.prod(scan.grid.spacing) * math.prod(scan.grid.shape) for scan in (fixed, moving))
    if float(inside.sum()) * math.prod(fixed.grid.spacing) < LEAST_OVERLAP * min(voxels):
        return None
    return local_correlation(fixed.volume, volume, inside)


def _best(scored: list[tuple[float | None, Tensor]]) -> tuple[float, Tensor] | None:
    found = [(score, matrix) for score, matrix in scored if score is not None]
    return max(found, key=lambda one: one[0]) if found else None  # the first of equals: headers before all else


def _shift(fixed: Tensor, moving: Tensor) -> Tensor:
    matrix = _IDENTITY.clone()
    matrix[:3, 3] = moving - fixed
    return matrix


def _middle(scan: Scan) -> Tensor:
    return scan.grid.points_to_world(scan.grid.centre[None])[0]


def _mass(scan: Scan) -> Tensor:
    """Of what is brighter than the darkest voxel."""
    weight = (scan.volume - scan.volume.min()).double()
    if scan.mask is not None:
        weight = weight * scan.mask
    means = []
    for axis, (n, s) in enumerate(zip(scan.grid.shape, scan.grid.spacing, strict=True)):
        others = [other for other in range(3) if other != axis]
        means.append((weight.sum(others) * torch.arange(n)).sum() * s / weight.sum())
    return scan.grid.points_to_world(torch.stack(means)[None])[0]


def _image(scan: Scan) -> tuple[Any, Any]:
    """Volume and mask as ITK has them: LPS, the first axis fastest."""

    def turned(values: Tensor) -> Any:
        image = SimpleITK.GetImageFromArray(values.permute(2, 1, 0).numpy())
        image.SetSpacing(scan.grid.spacing)
        image.SetOrigin((_LPS * scan.grid.affine[:3, 3]).tolist())
        image.SetDirection((_LPS[:, None] * scan.grid.directions).flatten().tolist())
        return image

    return turned(scan.volume), None if scan.mask is None else turned(scan.mask.to(torch.uint8))


def _rigid(fixed: Scan, start: Tensor) -> Any:
    """A rotation about the middle of the fixed scan, then the start's shift."""
    return _about_middle(SimpleITK.Euler3DTransform(), fixed, start)


def _affine(fixed: Scan, start: Tensor) -> Any:
    return _about_middle(SimpleITK.AffineTransform(3), fixed, start)


def _about_middle(transform: Any, fixed: Scan, start: Tensor) -> Any:
    lps = flip_world(start)
    centre = _LPS * _middle(fixed)
    transform.SetCenter(centre.tolist())
    transform.SetMatrix(lps[:3, :3].flatten().tolist())
    # ITK: y = M (x - c) + c + t
    transform.SetTranslation((lps[:3, 3] + lps[:3, :3] @ centre - centre).tolist())
    return transform


def _optimised(images: tuple[tuple[Any, Any], tuple[Any, Any]], transform: Any, shrink: tuple[int, ...]) -> Any:
    """The map, RAS, that ITK finds from ``transform``; None where it finds nothing to match."""
    (fixed, fixed_mask), (moving, moving_mask) = images
    method = SimpleITK.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(_BINS)
    if fixed_mask is not None:
        method.SetMetricFixedMask(fixed_mask)
    if moving_mask is not None:
        method.SetMetricMovingMask(moving_mask)
    method.SetInterpolator(SimpleITK.sitkLinear)
    if len(transform.GetParameters()) == _RIGID:  # from afar: steps of a length that only shrinks
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=1.0, minStep=1e-4, numberOfIterations=200, relaxationFactor=0.5
        )
    else:  # near by: fixed steps swing about a narrow optimum
        method.SetOptimizerAsGradientDescentLineSearch(
            learningRate=1.0, numberOfIterations=60, convergenceMinimumValue=1e-5, convergenceWindowSize=6
        )
    method.SetOptimizerScalesFromPhysicalShift()
    smallest = min(fixed.GetSize())
    factors = [min(factor, max(1, smallest // 8)) for factor in shrink]
    method.SetShrinkFactorsPerLevel(factors)
    method.SetSmoothingSigmasPerLevel([factor / 2 if factor > 1 else 0.0 for factor in factors])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetNumberOfWorkUnits(1)  # several threads add up in another order each time
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # all samples left the moving scan
        return None
    return _matrix(transform)


def _matrix(transform: Any) -> Tensor:
    linear = torch.tensor(transform.GetMatrix(), dtype=torch.float64).reshape(3, 3)
    centre, shift = (torch.tensor(v, dtype=torch.float64) for v in (transform.GetCenter(), transform.GetTranslation()))
    lps = torch.eye(4, dtype=torch.float64)
    lps[:3, :3] = linear
    lps[:3, 3] = shift + centre - linear @ centre
    return flip_world(lps)
