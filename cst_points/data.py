"""Where pairs of clouds come from: the public keypoint release, a folder of files, or the built-in phantom."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from cst_core.errors import DataError
from cst_core.plugin import Dataset, EvalCase, Landmarks
from cst_points.cloud import CloudPair
from cst_points.formats import READERS, read_bytes, read_cloud, read_landmarks

Cases = list[EvalCase[CloudPair]]

RELEASE_HALF_EXTENT = (130.0, 96.0, 168.0)
"""mm per axis of the release: 208 x 1.25, 192 x 1.00 and 192 x 1.75 mm, halved; as published for the COPD cases."""
RELEASE_NOTE = (
    "half-extents (130, 96, 168) mm are published for the COPD cases only; the 4dct and l2r pairs are scaled with the "
    "same, so their millimetres are nominal"
)
NO_FOLD_NOTE = "no fold: the test pairs are among the training pairs (their landmarks are not used in training)"
MARGIN = 0.05
"""Added to half the bounding box of a pair without a crop file, so that no point lies on the border."""
SMALLEST_MM, LARGEST_MM, LARGEST_RATIO = 2.0, 5000.0, 20.0
"""Extents outside these are in another unit than mm; a cloud in [-1, 1] has an extent of at most 2."""
LANDMARK_REACH_MM = 50.0
"""Landmarks farther than this outside their cloud's bounding box belong to other axes or another case."""


def read_dataset(source: str | Path, fold: int | None = None, extra_pairs: bool = False) -> Dataset[CloudPair]:
    """``phantom``, the folder of the public keypoint release, or a folder of ``case_<id>_fixed`` and ``_moving`` files.

    Without a fold, every pair is trained on and those with landmarks are the test. With a fold, see `fold_split`.

    Raises:
        DataError: no such folder, files that cannot be used, or a fold that does not exist.
    """
    cases, notes = _read_cases(source)
    if fold is None:
        train, test = cases, [case for case in cases if case.landmarks is not None]
        notes += [NO_FOLD_NOTE] if test else []
    else:
        train, test = fold_split(cases, fold, extra_pairs)
        unused = sum(case.landmarks is None for case in cases)
        if unused and not extra_pairs:
            notes.append(f"{unused} pairs without landmarks are left out of the fold's training, as in the paper")
    return Dataset(source=str(source), fingerprint=fingerprint(cases), train=train, test=test, notes=tuple(notes))


def _read_cases(source: str | Path) -> tuple[Cases, list[str]]:
    if str(source) == "phantom":
        from cst_points.phantom import lung_phantom

        return list(lung_phantom(n_pairs=10, seed=0)), ["built-in lung phantom, not real data"]
    folder = Path(source)
    if not folder.is_dir():
        raise DataError(f"{folder}: must be 'phantom' or a folder, found none; check the path")
    if (folder / "data.pth").exists():
        return read_release(folder), [RELEASE_NOTE]
    return read_folder(folder), []


def read_release(folder: str | Path) -> Cases:
    """The public keypoint release: ``copd_01`` ... with landmarks, then ``4dct_01`` ... and ``l2r_01`` ... without.

    Axes are the release's own, x, y, z = the reverse of its arrays' axes; by the anatomy in its lung masks these run
    towards superior, posterior, left. Coordinates in [-1, 1] are multiplied by the published half-extents (see
    `RELEASE_NOTE`); the origin is zero. The file's correspondences (``gt_disp``) are not read.

    The half-extents are the published convention, with which all published TREs were measured. The landmarks lie on
    a lattice whose steps are 192/511 of the raw voxel in plane and 208 / (slices - 1) across, in every case and both
    phases, as if whole volumes had been resized: physical half-extents would differ from case to case.

    Raises:
        DataError: a missing or damaged file, tensors of other shapes, NaN or infinity.
    """
    path, landmark_path = Path(folder) / "data.pth", Path(folder) / "copd_converted_lms.pth"
    data, landmarks = _load(path), _load(landmark_path)
    half = torch.tensor(RELEASE_HALF_EXTENT)
    truth = [
        _points(landmark_path, landmarks, (name,)) for name in ("lm_copd_exh", "lm_copd_insp")
    ]  # both (cases, L, 3)
    cases: Cases = []
    for name, keys in (("copd", ("copd",)), ("4dct", ("4dct",)), ("l2r", ("l2r", "train"))):
        fixed, moving = (_entry(path, data, (*keys, part)) for part in ("kpts_fix", "kpts_mov"))
        if not isinstance(fixed, list) or not isinstance(moving, list) or len(fixed) != len(moving):
            raise DataError(f"{path}: '{name}' must hold as many fixed as moving clouds; download the file again")
        for i in range(len(fixed)):
            clouds = [_points(path, data, (*keys, part, i)) * half for part in ("kpts_fix", "kpts_mov")]
            pair = CloudPair(clouds[0], clouds[1], torch.zeros(3), half.clone())
            cases.append(
                EvalCase(
                    f"{name}_{i + 1:02d}", pair, _release_truth(landmark_path, truth, i) if name == "copd" else None
                )
            )
    return cases


def _release_truth(path: Path, truth: list[Tensor], index: int) -> Landmarks:
    if any(t.ndim != 3 or index >= len(t) for t in truth) or truth[0].shape != truth[1].shape:
        shapes = [tuple(t.shape) for t in truth]
        raise DataError(f"{path}: landmarks of every COPD case are needed, found shapes {shapes}; download it again")
    half = torch.tensor(RELEASE_HALF_EXTENT)
    return Landmarks(truth[0][index] * half, truth[1][index] * half)


def _load(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: no such file; the release has data.pth and copd_converted_lms.pth in one folder")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many unrelated types on damaged bytes
        raise DataError(f"{path}: cannot be loaded ({type(error).__name__}); download the file again") from None


def _entry(path: Path, data: Any, keys: tuple[str | int, ...]) -> Any:
    for key in keys:
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            name = "/".join(map(str, keys))
            raise DataError(f"{path}: an entry '{name}' is needed, found none; is it the keypoint release?") from None
    return data


def _points(path: Path, data: Any, keys: tuple[str | int, ...]) -> Float[Tensor, "... 3"]:
    value, name = _entry(path, data, keys), "/".join(map(str, keys))
    if not isinstance(value, Tensor) or value.ndim < 2 or value.shape[-1] != 3 or value.numel() == 0:
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise DataError(f"{path}: '{name}' must be a tensor (..., 3) with points, found {found}; download it again")
    if not bool(value.isfinite().all()):
        raise DataError(f"{path}: '{name}' must be finite, found NaN or infinity; download the file again")
    return value.float()


class _Files(NamedTuple):
    fixed: Path
    moving: Path
    landmarks: Path
    crop: Path


def read_folder(folder: str | Path) -> Cases:
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
        rule = f"case_<id>_fixed and case_<id>_moving ({', '.join(READERS)})"
        raise DataError(f"{folder}: the folder must hold {rule}, found no such file; check the names")
    return [_read_case(id, files) for id, files in sorted(found.items(), key=lambda item: _natural(item[0]))]


def _find(folder: Path) -> dict[str, _Files]:
    names = sorted(path.name for path in folder.iterdir())
    clouds: dict[str, dict[str, Path]] = {}
    for name in names:
        match = re.fullmatch(r"case_(.+)_(fixed|moving)(\.\w+)", name)
        if match and match[3].lower() in READERS:
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
    _check_units(files, fixed, moving)
    origin, half_extent = _read_crop(files.crop) if files.crop.exists() else _bounding_box(fixed, moving)
    landmarks = read_landmarks(files.landmarks) if files.landmarks.exists() else None
    if landmarks is not None:
        for part, cloud, points in (("fixed", fixed, landmarks.fixed), ("moving", moving, landmarks.moving)):
            check_landmarks(files.landmarks, part, cloud, points)
    return EvalCase(id, CloudPair(fixed, moving, origin, half_extent), landmarks)


def _extent(points: Tensor) -> float:
    """The longest side of the bounding box, mm."""
    return float((points.amax(0) - points.amin(0)).max())


def _check_units(files: _Files, fixed: Tensor, moving: Tensor) -> None:
    extents = {files.fixed: _extent(fixed), files.moving: _extent(moving)}
    for path, extent in extents.items():
        rule = f"{path}: a cloud in mm extends over {SMALLEST_MM:g} to {LARGEST_MM:g} mm, found {extent:.4g}"
        if extent <= SMALLEST_MM:
            raise DataError(f"{rule}; these are likely metres or [-1, 1] coordinates, multiply them to mm")
        if extent > LARGEST_MM:
            raise DataError(f"{rule}; these are likely micrometres, divide them by 1000")
    (small, low), (large, high) = sorted(extents.items(), key=lambda item: item[1])
    if high > LARGEST_RATIO * low:
        raise DataError(
            f"{small}: the clouds of a pair must extend alike, found {low:.4g} against {high:.4g} in {large.name}; "
            f"likely one is not in mm but in metres, centimetres or micrometres, convert it"
        )


def check_landmarks(path: Path, part: str, cloud: Float[Tensor, "N 3"], points: Float[Tensor, "L 3"]) -> None:
    """Raise `DataError`, naming ``path``, if a landmark of ``part`` (fixed or moving) is far from its cloud."""
    outside = torch.maximum(cloud.amin(0) - points, points - cloud.amax(0)).amax(1)
    worst = int(outside.argmax())
    if outside[worst] > LANDMARK_REACH_MM:
        raise DataError(
            f"{path}: {part} landmarks may lie {LANDMARK_REACH_MM:g} mm outside the {part} cloud, found landmark "
            f"{worst + 1} {float(outside[worst]):.4g} mm outside; check its unit, axes and case"
        )


def _bounding_box(fixed: Tensor, moving: Tensor) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Centre and half size of both clouds together, 5 % wider; flat clouds keep an extent of 1 mm."""
    both = torch.cat([fixed, moving])
    low, high = both.amin(0), both.amax(0)
    return (low + high) / 2, ((high - low) / 2 * (1 + MARGIN)).clamp(min=1.0)


def _read_crop(path: Path) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
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


def fold_split(cases: Sequence[EvalCase[CloudPair]], fold: int, extra: bool = False) -> tuple[Cases, Cases]:
    """Training and test cases of one fold: fold k, from 1, tests the cases 2k - 1 and 2k of those with landmarks.

    The other cases with landmarks are trained on (Sec. 3: the other eight COPD cases); ``extra`` adds those without.

    Raises:
        DataError: no landmarks in the data, a fold that does not exist, or nothing left to train on.
    """
    marked = [case for case in cases if case.landmarks is not None]
    if not marked:
        raise DataError("fold: folds need cases with landmarks, found none in this data; leave the fold out")
    folds = math.ceil(len(marked) / 2)
    if not 1 <= fold <= folds:
        raise DataError(f"fold: must be 1 to {folds} ({len(marked)} cases with landmarks, two a fold), found {fold}")
    test = marked[2 * fold - 2 : 2 * fold]
    tested = {case.id for case in test}
    train = [case for case in cases if case.id not in tested and (extra or case.landmarks is not None)]
    if not train:
        raise DataError(f"fold: no pair is left to train on besides the {len(test)} tested; add pairs or leave it out")
    return train, test


def fingerprint(cases: Sequence[EvalCase[CloudPair]]) -> str:
    """SHA-256, in hexadecimal, over ids, clouds, crops and landmarks in their order."""
    digest = hashlib.sha256()
    for case in cases:
        pair, landmarks = case.pair, case.landmarks
        digest.update(f"{case.id}\0{landmarks is not None}\0".encode())
        for tensor in (pair.fixed, pair.moving, pair.origin, pair.half_extent, *(landmarks or ())):
            digest.update(f"{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()
