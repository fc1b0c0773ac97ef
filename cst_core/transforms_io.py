"""Transforms in the files of other software: which format a file has, and how each is written.

Formats: ``itk`` (displacement field, or an affine map alone), ``itk-composite``, ``ants``, ``learn2reg``,
``learn2reg-npz``, ``fsl``, ``niftyreg``. What each means stands in the module that reads and writes it. All lead from
the fixed to the moving world, see `cst_core.transform`; RAS becomes LPS in `cst_core.formats.itk_field` and
`cst_core.formats.itk_transform`, once.
"""

from __future__ import annotations

from pathlib import Path

from cst_core.errors import ConfigError, DataError
from cst_core.field import Grid
from cst_core.formats.fsl import INTENT as FSL_INTENT
from cst_core.formats.fsl import read_fsl, write_fsl
from cst_core.formats.itk_field import IMAGES, open_field, read_image_field, write_image_field, write_itk_field
from cst_core.formats.itk_transform import flip_world, read_itk_transform, write_itk_affine, write_itk_composite
from cst_core.formats.learn2reg import read_learn2reg, read_learn2reg_npz, write_learn2reg, write_learn2reg_npz
from cst_core.formats.nifti import open_nifti, save_nifti
from cst_core.formats.niftyreg import NAME as NIFTYREG_NAME
from cst_core.formats.niftyreg import read_niftyreg, write_niftyreg
from cst_core.transform import Transform, WorldAffine, WorldField

__all__ = [
    "EXTENSIONS",
    "flip_world",
    "read_transform",
    "save_nifti",
    "write_itk_affine",
    "write_itk_composite",
    "write_itk_field",
    "write_transform",
]

NIFTI = (".nii", ".nii.gz")
AFFINES = (".tfm", ".txt", ".mat")
EXTENSIONS = {
    "itk": (*NIFTI, ".nrrd", ".mha", *AFFINES),
    "itk-composite": (".h5", ".tfm"),
    "ants": (),
    "learn2reg": NIFTI,
    "learn2reg-npz": (".npz",),
    "fsl": NIFTI,
    "niftyreg": NIFTI,
}
"""What a file's name may end with; ``ants`` takes the beginning of two names instead."""
FORWARD = "displacement.nii.gz"
"""The transform in a folder that ``cst register`` made."""
_WARP, _AFFINE = "1Warp.nii.gz", "0GenericAffine.mat"  # what ANTs adds to its output prefix


def read_transform(path: Path, fixed: Grid | None = None, moving: Grid | None = None) -> Transform:
    """Any of the formats, recognised by what is in the file.

    ``path`` may also be a folder of ``cst register``, or the prefix of ANTs' ``1Warp.nii.gz`` and
    ``0GenericAffine.mat``. Learn2Reg's files need both grids, FSL's the moving one; the others none.

    Raises:
        DataError: no such file, damaged, no transform, or one of a kind that cannot be used.
        ConfigError: a grid that the format needs is missing.
    """
    if path.is_dir():
        if not (path / FORWARD).is_file():
            raise DataError(f"{path}: holds no {FORWARD}; pass a folder that cst register made, or a transform file")
        path = path / FORWARD
    if not path.is_file():
        if ants := _ants_files(path):
            return Transform(tuple(part for file in ants for part in read_transform(file).parts))
        raise DataError(f"{path}: no such file; check the path")
    with path.open("rb") as stream:
        head = stream.read(512)
    if path.name.endswith(NIFTI):
        return Transform((_read_nifti(path, fixed, moving),))
    if head.startswith(b"PK"):
        return Transform((read_learn2reg_npz(path, *_both(path, fixed, moving)),))
    if path.name.endswith(IMAGES):
        return Transform((read_image_field(path),))
    if head.startswith((b"\x89HDF", b"#Insight Transform File")) or b"Transform" in head[:64]:
        return read_itk_transform(path)
    raise DataError(
        f"{path}: no transform that cst knows: NIfTI, NRRD or MetaImage fields, ITK's .h5, .tfm, .txt and .mat, "
        "or Learn2Reg's .npz"
    )


def write_transform(
    transform: Transform, path: Path, format: str, grid: Grid | None = None, moving: Grid | None = None
) -> list[Path]:
    """Write one of the formats; returns the files made, which replace files of those names.

    ``grid`` is where fields are wanted (the fixed scan's); by default the grid of the only field. ``moving`` is
    needed for Learn2Reg and FSL. Parts are kept apart by ``itk-composite``, and by ``ants`` where they are a field,
    then an affine map; all others hold one field, and ``itk`` with ``.tfm``, ``.txt`` or ``.mat`` one affine map.

    Raises:
        ConfigError: an unknown format, a name that does not fit it, a missing grid, or parts that it cannot hold.
    """
    _check_name(path, format)
    if format == "itk-composite":
        write_itk_composite(path, transform)
        return [path]
    if format == "ants":
        return _write_ants(path, transform, grid)
    if format == "itk" and path.name.endswith(AFFINES):
        write_itk_affine(path, _only_affine(path, transform))
        return [path]
    field = transform.on(_grid(transform, grid))
    if format in ("learn2reg", "learn2reg-npz", "fsl"):
        if moving is None:
            raise ConfigError(f"--to {format}: voxels of the moving scan are counted; pass it with --moving")
        write = {"learn2reg": write_learn2reg, "learn2reg-npz": write_learn2reg_npz, "fsl": write_fsl}[format]
        write(path, field, moving)
    elif format == "niftyreg":
        write_niftyreg(path, field)
    elif path.name.endswith(IMAGES):
        write_image_field(path, field)
    else:
        write_itk_field(path, field)
    return [path]


def input_files(path: Path) -> list[Path]:
    """The files that `read_transform` reads for ``path``; those that are there."""
    files = [path, path / FORWARD] if path.is_dir() or path.is_file() else _ants_files(path)
    return [file for file in files if file.is_file()]


def output_files(path: Path, format: str) -> list[Path]:
    """The names that `write_transform` may write to.

    Raises:
        ConfigError: as there, for the format and the name.
    """
    _check_name(path, format)
    return [_joined(path, _WARP), _joined(path, _AFFINE)] if format == "ants" else [path]


def _read_nifti(path: Path, fixed: Grid | None, moving: Grid | None) -> WorldField:
    image = open_nifti(path)
    shape, code = image.shape, int(image.header["intent_code"])
    if len(shape) == 5 and shape[3:] == (1, 3):
        if image.header["intent_name"].item().startswith(NIFTYREG_NAME):
            return read_niftyreg(path, image)
        return open_field(path).load()
    if len(shape) == 4 and shape[3] == 3:
        if code != FSL_INTENT:
            return read_learn2reg(path, image, *_both(path, fixed, moving))
        if moving is None:
            raise ConfigError(f"{path}: a warp of FSL's counts voxels of the moving scan; pass that with --moving")
        return read_fsl(path, image, moving)
    raise DataError(
        f"{path}: no transform: a field has the shape (X, Y, Z, 1, 3), or (X, Y, Z, 3) for Learn2Reg and FSL, "
        f"found {shape}"
    )


def _both(path: Path, fixed: Grid | None, moving: Grid | None) -> tuple[Grid, Grid]:
    if fixed is None or moving is None:
        raise ConfigError(
            f"{path}: a Learn2Reg field counts voxels and does not say where the scans lie; "
            "pass both, with --like FIXED and --moving MOVING"
        )
    return fixed, moving


def _ants_files(prefix: Path) -> list[Path]:
    """In the order in which points meet them: the field, then the affine map."""
    return [file for ending in (_WARP, _AFFINE) if (file := _joined(prefix, ending)).is_file()]


def _write_ants(prefix: Path, transform: Transform, grid: Grid | None) -> list[Path]:
    parts, affine = transform.parts, WorldAffine.identity()
    if parts and isinstance(parts[-1], WorldAffine):
        parts, affine = parts[:-1], parts[-1]
    warp, generic = _joined(prefix, _WARP), _joined(prefix, _AFFINE)
    written = [warp, generic] if parts else [generic]
    if parts:
        write_itk_field(warp, Transform(parts).on(_grid(transform, grid)))
    write_itk_affine(generic, affine)
    return written


def _joined(prefix: Path, ending: str) -> Path:
    return prefix.with_name(prefix.name + ending)


def _grid(transform: Transform, grid: Grid | None) -> Grid:
    if grid is not None:
        return grid
    fields = [part for part in transform.parts if isinstance(part, WorldField)]
    if len(fields) != 1:
        raise ConfigError(f"--like: needed, as the transform has {len(fields)} fields; pass the fixed scan")
    return fields[0].grid


def _only_affine(path: Path, transform: Transform) -> WorldAffine:
    whole = WorldAffine.identity()
    for part in transform.parts:
        if not isinstance(part, WorldAffine):
            raise ConfigError(
                f"--out {path.name}: holds one affine map, and the transform has a field; end the name with .nii.gz, "
                "or write --to itk-composite"
            )
        whole = WorldAffine(part.matrix @ whole.matrix)
    return whole


def _check_name(path: Path, format: str) -> None:
    if format not in EXTENSIONS:
        raise ConfigError(f"--to {format}: no such format; known: {', '.join(EXTENSIONS)}")
    endings = EXTENSIONS[format]
    if endings and not path.name.endswith(endings):
        raise ConfigError(f"--out {path}: for --to {format} the name must end with {' or '.join(endings)}")
