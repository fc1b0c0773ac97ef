"""One raw CT onto the canonical grid: aligned, resampled, and written with the way back to its own voxels.

OUT/imagesTr/<id>_0000.nii.gz    HU, int16            OUT/labelsTr/<id>_0000.nii.gz    where a label map is given
OUT/masksTr/<id>_0000.nii.gz     where the scan has data, if that is not everywhere
OUT/transforms/<id>.tfm          ITK: canonical positions to those of the raw scan     OUT/transforms/<id>.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from cst_core.errors import DataError
from cst_core.field import Grid
from cst_core.files import write_atomically
from cst_core.formats.nifti import placed, save_nifti
from cst_core.transform import WorldAffine
from cst_core.transforms_io import write_itk_affine
from cst_image.placement import place
from cst_image.preparation.affine_descent import Descent, descend
from cst_image.preparation.body_start import start_map
from cst_image.preparation.thumbnail import Thumbnail, thumbnail
from cst_image.scan import Header, inspect, read_labels, read_volume

FORMAT = "cst-prepared-1"
_AIR_HU = -1024.0
_FAT_HU = -50.0


class Source(NamedTuple):
    """A raw scan."""

    id: str
    image: Path
    labels: Path | None


def canonical_grid(shape: tuple[int, int, int], spacing: float, centre: Float64[Tensor, " 3"]) -> Grid:
    """Cubic voxels along right, anterior, superior, about a point of the template's world."""
    affine = torch.diag(torch.tensor([spacing, spacing, spacing, 1.0], dtype=torch.float64))
    affine[:3, 3] = centre - 0.5 * spacing * (torch.tensor(shape, dtype=torch.float64) - 1)
    return Grid.from_affine(shape, affine)


def read_ct(path: Path) -> tuple[Header, Float[Tensor, "X Y Z"]]:
    """A CT in HU.

    Raises:
        DataError: as `cst_image.scan`; also values that cannot be HU.
    """
    header = inspect(path)
    values = read_volume(path)
    if (low := float(values.min())) > _FAT_HU:
        raise DataError(
            f"{path}: a CT in Hounsfield units holds fat and air below {_FAT_HU:g}, found nothing below {low:g}; "
            "apply the scanner's rescale slope and intercept"
        )
    return header, values


def read_thumbnail(path: Path) -> Thumbnail:
    """The small copy of a CT's file; errors as `read_ct` and `cst_image.preparation.thumbnail`."""
    header, values = read_ct(path)
    return thumbnail(values, header.grid, str(path))


def prepare_scan(
    source: Source, template: Thumbnail, grid: Grid, out: Path, known: Mapping[str, Any]
) -> dict[str, Any]:
    """Align one scan to the template and write it; its JSON, which makes it complete, comes last.

    Args:
        source: the files.
        template: what it is aligned to; its world is the canonical one.
        grid: the canonical grid.
        out: the data set's folder.
        known: what the result is a function of, for `is_complete`.

    Returns:
        What the JSON holds.

    Raises:
        DataError: a file that cannot be used, or a scan that shares too little with the template.
    """
    header, values = read_ct(source.image)
    small = thumbnail(values, header.grid, str(source.image))
    try:
        found = descend(template, small, start_map(template, small).matrix)
    except DataError as error:
        raise DataError(f"{source.image}: {error}; check that it shows the template's body part") from None
    files = {"image": f"imagesTr/{source.id}_0000.nii.gz"}
    fill = max(float(values.min()), _AIR_HU)
    moved = place(values, header.grid, grid, fill=fill, through=found.matrix)
    short = np.iinfo(np.int16)
    _write(out / files["image"], moved.volume.round().clamp(short.min, short.max).to(torch.int16), grid)
    if source.labels is not None:
        labels = read_labels(source.labels, header)
        files["labels"] = f"labelsTr/{source.id}_0000.nii.gz"
        _write(out / files["labels"], place(labels, header.grid, grid, "nearest", through=found.matrix).volume, grid)
    if moved.mask is not None:
        files["mask"] = f"masksTr/{source.id}_0000.nii.gz"
        _write(out / files["mask"], moved.mask.to(torch.uint8), grid)
    files["transform"] = f"transforms/{source.id}.tfm"
    (out / "transforms").mkdir(exist_ok=True)
    write_itk_affine(out / files["transform"], WorldAffine(found.matrix))
    result = {"format": FORMAT, **known, **_described(source, header, found), "files": files}
    write_atomically(_json(out, source.id), (json.dumps(result, indent=1) + "\n").encode())
    return result


def is_complete(out: Path, id: str, known: Mapping[str, Any]) -> bool:
    """Whether a scan was prepared already from the same files, template and grid."""
    try:
        result = json.loads(_json(out, id).read_bytes())
        return all(result[key] == value for key, value in known.items()) and all(
            (out / name).is_file() for name in result["files"].values()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _described(source: Source, header: Header, found: Descent) -> dict[str, Any]:
    own = header.grid
    return {
        "id": source.id,
        "scan": str(source.image.absolute()),
        "axes": header.axes,
        "scan_grid_ras": {"shape": list(own.shape), "spacing": list(own.spacing), "affine": own.affine.tolist()},
        "matrix_ras": found.matrix.tolist(),
        "about": "matrix_ras: canonical positions (RAS mm) to those of the scan; the .tfm is the same in ITK's LPS",
        "difference_at_start": found.before,
        "difference": found.after,
    }


def _write(path: Path, values: Tensor, grid: Grid) -> None:
    path.parent.mkdir(exist_ok=True)
    save_nifti(path, placed(values.numpy(), grid))


def _json(out: Path, id: str) -> Path:
    return out / "transforms" / f"{id}.json"
