"""``cst apply``: an image, a label map or a list of points through a transform.

A transform T leads from the fixed to the moving world. The two kinds of data go opposite ways:

                    T: fixed ───────────▶ moving
    points          fixed ──── cst apply ────▶ moving        --inverse: moving ─▶ fixed
    images, labels  fixed ◀─── cst apply ───── moving        --inverse: moving ◀─ fixed

An image is pulled: every voxel x of the reference grid gets the moving scan's value at T(x). A point is pushed: x
becomes T(x).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from cst_core.errors import ConfigError, DataError
from cst_core.field import Grid
from cst_core.files import check_place
from cst_core.formats.itk_field import FieldFile, open_field
from cst_core.formats.nifti import Volume, forms_notes, open_nifti, placed, read_grid, read_volume, save_nifti
from cst_core.formats.niftyreg import NAME as NIFTYREG_NAME
from cst_core.formats.point_list import Frame, read_points, write_points
from cst_core.resample import Interpolation, PointsOf, by_file, by_transform, default_outside, resample
from cst_core.transform import Transform, WorldField
from cst_core.transforms_io import FORWARD, NIFTI, input_files, read_transform
from cst_core.world_grid import is_inside, same_grid, slab_points, to_indices

BACKWARD = "displacement_inverse.nii.gz"
"""The way back in a folder that ``cst register`` made."""
_POINTS = ".csv"
_DOUBTFUL = 0.1  # mm, a residual of the inversion that is worth a word


@dataclass(frozen=True)
class ApplyOptions:
    """The command line of ``cst apply``; None is an option that was not given."""

    transform: Path
    moving: Path
    like: Path | None
    out: Path
    interpolation: Interpolation
    inverse: bool
    frame: Frame
    outside: float | None
    scan: Path | None
    """``--moving``: the moving scan, where the transform's format needs its grid and points are mapped."""
    overwrite: bool


def apply(options: ApplyOptions, console: Console) -> None:
    """Map what was given and write it, then say what was done.

    Raises:
        CstError: a file that cannot be used, or an output that must not be replaced.
    """
    points = options.moving.name.endswith(_POINTS)
    _check(options, points)
    if points:
        _apply_to_points(options, console)
    else:
        _apply_to_image(options, console)


def check_output(out: Path, inputs: list[Path | None], overwrite: bool) -> None:
    """Raise ConfigError where ``out`` is an input, cannot be made, or is there already and may not be replaced."""
    if any(path is not None and path.exists() and path.resolve() == out.resolve() for path in inputs):
        raise ConfigError(f"--out {out}: is one of the inputs, which are never replaced; name another file")
    check_place("--out", out)
    if out.exists() and not overwrite:
        raise ConfigError(f"--out {out}: exists already; name another file, or pass --overwrite")


def _check(options: ApplyOptions, points: bool) -> None:
    wanted = (_POINTS,) if points else NIFTI
    if not options.out.name.endswith(wanted):
        raise ConfigError(f"--out {options.out}: the name must end with {' or '.join(wanted)}, as what is mapped")
    if not points and options.like is None:
        raise ConfigError("--like: needed for images: the scan whose voxels the result shall have")
    if not points and options.scan is not None:
        raise ConfigError("--moving: only for points; for images MOVING itself is the scan, --like the other")
    inputs = [*input_files(options.transform), options.transform / BACKWARD, options.moving, options.like, options.scan]
    check_output(options.out, inputs, options.overwrite)


def _apply_to_points(options: ApplyOptions, console: Console) -> None:
    points = read_points(options.moving, options.frame)
    path, inverse = _direction(options)
    fixed = None if options.like is None else read_grid(options.like)
    transform = read_transform(path, fixed, None if options.scan is None else read_grid(options.scan))
    if inverse:
        found = transform.invert(points)
        mapped, residual = found.points, found.residual_mm
        if (doubtful := int((residual > _DOUBTFUL).sum())) > 0:
            _warn(
                console,
                f"{doubtful} of {len(points)} points could not be inverted; off by up to {residual.max():.2f} mm",
            )
    else:
        mapped = transform.map(points)
        first = transform.parts[0] if transform.parts else None
        if isinstance(first, WorldField):
            beyond = int((~is_inside(to_indices(first.grid, points), first.grid.shape)).sum())
            if beyond > 0:
                _warn(console, f"{beyond} of {len(points)} points lie outside the field and stay where they are")
    write_points(options.out, mapped, options.frame)
    way = "moving to fixed" if options.inverse else "fixed to moving"
    _say(console, f"{options.out}: {len(points)} points, {way}, {options.frame.upper()} mm")


def _apply_to_image(options: ApplyOptions, console: Console) -> None:
    assert options.like is not None
    grid, moving = read_grid(options.like), read_volume(options.moving)
    for note in forms_notes(options.like, options.moving):
        _warn(console, note)
    points_of = _points_of(options, grid, moving)
    outside = default_outside(moving, options.interpolation) if options.outside is None else options.outside
    result = resample(moving, points_of, grid, options.interpolation, outside)
    if result.inside_share == 0:
        _warn(
            console,
            f"no voxel of {options.like.name} is led into {options.moving.name}: the result is all {outside:g}; "
            "check the transform, its direction (--inverse) and both scans' headers",
        )
    if isinstance(points_of, _Inverted) and points_of.lost > 0:
        lost = 100 * points_of.lost / result.values.size
        _warn(console, f"{lost:.1f} % of the voxels have no way back: the transform folds, or leads out of its grid")
    save_nifti(options.out, placed(result.values, grid))
    shape = " x ".join(map(str, grid.shape))
    _say(
        console,
        f"{options.out}: {shape} voxels, {result.values.dtype}, {100 * result.inside_share:.1f} % inside "
        f"{options.moving.name}",
    )


def _points_of(options: ApplyOptions, grid: Grid, moving: Volume) -> PointsOf:
    path, inverse = _direction(options)
    if not inverse and (field := _lazy_field(path)) is not None and same_grid(field.grid, grid):
        return by_file(field)
    fixed, of_moving = (moving.grid, grid) if options.inverse else (grid, moving.grid)
    transform = read_transform(path, fixed, of_moving)
    return _Inverted(transform, grid) if inverse else by_transform(transform, grid)


def _direction(options: ApplyOptions) -> tuple[Path, bool]:
    """The file, and whether it has to be inverted numerically."""
    folder = options.transform
    if not folder.is_dir():
        return folder, options.inverse
    if options.inverse and (folder / BACKWARD).is_file():
        return folder / BACKWARD, False
    if not (folder / FORWARD).is_file():
        raise DataError(f"{folder}: holds no {FORWARD}; pass a folder that cst register made, or a transform file")
    return folder / FORWARD, options.inverse


def _lazy_field(path: Path) -> FieldFile | None:
    """A field of ITK's in NIfTI, which need not be read at once; None for all else."""
    if not path.is_file() or not path.name.endswith(NIFTI):
        return None
    image = open_nifti(path)
    of_itk = len(image.shape) == 5 and not image.header["intent_name"].item().startswith(NIFTYREG_NAME)
    return open_field(path) if of_itk else None


class _Inverted:
    """Where voxels lie by the way back, and how many have none."""

    def __init__(self, transform: Transform, grid: Grid) -> None:
        self.transform, self.grid = transform, grid
        self.lost = 0

    def __call__(self, start: int, stop: int) -> torch.Tensor:
        found = self.transform.invert(slab_points(self.grid, start, stop))
        self.lost += int((found.residual_mm > _DOUBTFUL).sum())
        return found.points


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _warn(console: Console, text: str) -> None:
    _say(console, f"warning: {text}")
