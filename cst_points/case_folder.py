"""The folder of ``case_<id>_fixed``, ``_moving``, ``_landmarks`` and ``_crop`` files: how it is read and written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cst_core.errors import DataError
from cst_core.plugin import EvalCase
from cst_points.cloud import CloudPair
from cst_points.formats import EXTENSIONS, read_cloud, read_landmarks, write_cloud, write_landmarks
from cst_points.formats.content import read_bytes, write_bytes
from cst_points.plausibility import check_landmarks, check_units

MARGIN = 0.05
"""Added to half the bounding box of a pair without a crop file, so that no point lies on the border."""


class _Files(NamedTuple):
    fixed: Path
    moving: Path
    landmarks: Path
    crop: Path


def read_folder(folder: str | Path) -> list[EvalCase[CloudPair]]:
    """A folder of ``case_<id>_{fixed,moving}.{csv,ply,xyz,npz,vtk}``, mm, in natural order of the ids.

    Optional beside them: ``case_<id>_landmarks.csv`` (fixed x y z, moving x y z, mm) and ``case_<id>_crop.json``
    (``{"origin": [x, y, z], "half_extent": [x, y, z]}``, mm, as ``cst prepare lung`` writes it). Without the latter,
    origin and half-extent are those of the bounding box of both clouds together, 5 % wider.

    Raises:
        DataError: an empty folder, half a pair, one cloud in two formats, files of a case without clouds, a cloud in
            another unit than mm, landmarks far from the clouds, or a file that cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: must be a folder, found none; check the path")
    found = _find(folder)
    if not found:
        rule = f"case_<id>_fixed and case_<id>_moving ({', '.join(EXTENSIONS)})"
        raise DataError(f"{folder}: the folder must hold {rule}, found no such file; check the names")
    return [_read_case(id, files) for id, files in sorted(found.items(), key=lambda item: _natural(item[0]))]


def case_ids(folder: Path) -> list[str]:
    """The ids of a folder's pairs, by their names alone; errors as `read_folder`, but no pair is none."""
    return sorted(_find(folder), key=_natural)


def _find(folder: Path) -> dict[str, _Files]:
    names = sorted(path.name for path in folder.iterdir())
    clouds: dict[str, dict[str, Path]] = {}
    for name in names:
        match = re.fullmatch(r"case_(.+)_(fixed|moving)(\.\w+)", name)
        if match and match[3].lower() in EXTENSIONS:
            parts = clouds.setdefault(match[1], {})
            if match[2] in parts:
                raise DataError(f"{folder / name}: one file a cloud, found also {parts[match[2]].name}; remove one")
            parts[match[2]] = folder / name
    for id, parts in clouds.items():
        if len(parts) == 1:
            [(present, path)] = parts.items()
            missing = "moving" if present == "fixed" else "fixed"
            raise DataError(f"{path}: a pair needs both clouds, found no case_{id}_{missing}; add it or remove this")
    for name in names:
        match = re.fullmatch(r"case_(.+)_(landmarks\.csv|crop\.json)", name)
        if match and match[1] not in clouds:
            raise DataError(
                f"{folder / name}: belongs to clouds case_{match[1]}_fixed and _moving, found none; add them"
            )
    return {
        id: _Files(p["fixed"], p["moving"], folder / f"case_{id}_landmarks.csv", folder / f"case_{id}_crop.json")
        for id, p in clouds.items()
    }


def _natural(id: str) -> tuple[list[tuple[int, int, str]], str]:
    """``2`` before ``10``; the id itself separates ``1`` from ``01``."""
    parts = re.findall(r"[0-9]+|[^0-9]+", id)
    return [(0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts], id


def _read_case(id: str, files: _Files) -> EvalCase[CloudPair]:
    fixed, moving = read_cloud(files.fixed), read_cloud(files.moving)
    check_units(files.fixed, fixed, files.moving, moving)
    origin, half_extent = read_crop(files.crop) if files.crop.exists() else bounding_box(fixed, moving)
    landmarks = read_landmarks(files.landmarks) if files.landmarks.exists() else None
    if landmarks is not None:
        for part, cloud, points in (("fixed", fixed, landmarks.fixed), ("moving", moving, landmarks.moving)):
            check_landmarks(files.landmarks, part, cloud, points)
    return EvalCase(id, CloudPair(fixed, moving, origin, half_extent), landmarks)


def bounding_box(fixed: Tensor, moving: Tensor) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Centre and half size of both clouds together, 5 % wider; flat clouds keep an extent of 1 mm."""
    both = torch.cat([fixed, moving])
    low, high = both.amin(0), both.amax(0)
    return (low + high) / 2, ((high - low) / 2 * (1 + MARGIN)).clamp(min=1.0)


def find_crop(cloud: Path) -> Path | None:
    """The crop file of a cloud that is named ``case_<id>_fixed``, if there is one beside it."""
    match = re.fullmatch(r"case_(.+)_(fixed|moving)\.\w+", cloud.name)
    path = cloud.with_name(f"case_{match[1]}_crop.json") if match else cloud
    return path if match and path.is_file() else None


def read_crop(path: Path) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Origin and half-extent, mm, of a ``case_<id>_crop.json``."""
    try:
        crop = json.loads(read_bytes(path))
    except (ValueError, RecursionError):
        raise DataError(f"{path}: must be JSON, found something else; write or copy it again") from None
    origin, half_extent = (_triple(path, crop, key) for key in ("origin", "half_extent"))
    if not bool((half_extent > 0).all()):
        raise DataError(f"{path}: 'half_extent' must be positive, found {half_extent.tolist()}; give it in mm")
    return origin, half_extent


def _triple(path: Path, crop: Any, key: str) -> Float[Tensor, " 3"]:
    value = crop.get(key) if isinstance(crop, dict) else None
    triple: list[Any] = value if isinstance(value, list) and len(value) == 3 else [None]
    if not all(type(v) in (int, float) and abs(v) < 1e9 for v in triple):
        raise DataError(f"{path}: '{key}' must be three numbers in mm, found {str(value)[:60]}; correct the file")
    return torch.tensor([float(v) for v in triple])


def write_case(
    out: Path, case: EvalCase[CloudPair], crop: Mapping[str, Any] | None = None, overwrite: bool = False
) -> None:
    """Write ``case_<id>_fixed.csv``, ``_moving.csv``, ``_landmarks.csv`` and ``_crop.json``, each when complete.

    Args:
        out: made if missing.
        case: what `read_folder` will give back.
        crop: further entries of the crop file, beside origin and half-extent.
        overwrite: replace files of the same id.

    Raises:
        DataError: an id that makes no file name, or files of this id that are already there.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", case.id):
        raise DataError(f"--id: must be letters, digits, '_', '-' or '.', found {case.id!r}; choose another")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: must be a folder that can be written, found none ({error}); choose another") from None
    names = re.compile(rf"case_{re.escape(case.id)}_(fixed|moving|landmarks|crop)\.\w+")
    present = sorted(path for path in out.iterdir() if names.fullmatch(path.name))
    if present and not overwrite:
        raise DataError(
            f"{present[0]}: case '{case.id}' is already there; choose another --id or --out, or --overwrite"
        )
    pair, stem = case.pair, f"case_{case.id}_"
    sizes = {"origin": pair.origin.tolist(), "half_extent": pair.half_extent.tolist()}
    write_bytes(out / f"{stem}crop.json", (json.dumps({**sizes, **(crop or {})}, indent=1) + "\n").encode())
    written = {"crop.json", "moving.csv", "fixed.csv"}
    if case.landmarks is not None:
        write_landmarks(out / f"{stem}landmarks.csv", case.landmarks)
        written.add("landmarks.csv")
    write_cloud(out / f"{stem}moving.csv", pair.moving)
    write_cloud(out / f"{stem}fixed.csv", pair.fixed)
    for stale in present:
        if stale.name.removeprefix(stem) not in written:
            stale.unlink()
