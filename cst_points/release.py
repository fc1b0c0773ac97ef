"""The public keypoint release: the ten COPDGene pairs of the paper and 22 pairs without landmarks."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cst_core.errors import DataError
from cst_core.plugin import EvalCase, Landmarks
from cst_points.cloud import CloudPair

NOMINAL_HALF_EXTENT = (130.0, 96.0, 168.0)
"""mm per axis: 208 x 1.25, 192 x 1.00 and 192 x 1.75 mm, halved; as published for the COPD cases."""
RELEASE_NOTE = (
    "half-extents (130, 96, 168) mm are published for the COPD cases only; the 4dct and l2r pairs are scaled with the "
    "same, so their millimetres are nominal"
)


def is_release(folder: Path) -> bool:
    """Whether the folder has the release's file of clouds."""
    return (folder / "data.pth").exists()


def read_release(folder: str | Path) -> list[EvalCase[CloudPair]]:
    """The public keypoint release: ``copd_01`` ... with landmarks, then ``4dct_01`` ... and ``l2r_01`` ... without.

    Axes are the release's own, x, y, z = the reverse of its arrays' axes; by the anatomy in its lung masks these run
    towards superior, posterior, left. Coordinates in [-1, 1] are multiplied by the published half-extents (see
    `RELEASE_NOTE`); the origin is zero. The file's correspondences (``gt_disp``) go with the ``copd`` and ``4dct``
    pairs, for supervised comparisons alone. Those of the ``copd`` pairs are no truth beside the landmarks: within
    0.09 mm they are a thin-plate spline (kernel r^2 log r, lambda 0.1) through the landmarks.

    These millimetres are nominal: they follow the published half-extents, with which the published TREs agree. The
    landmarks lie on a lattice of steps 192 / 511 voxels in plane and 208 / (slices - 1) voxels across, as if each whole
    volume had been resized to 192 x 192 x 208. Half-extents from DIR-Lab's own sizes (`cst_points.dirlab`), which
    differ from case to case, would give a mean initial TRE of 15.0 mm instead of 11.99 mm.

    Raises:
        DataError: a missing or damaged file, tensors of other shapes, NaN or infinity.
    """
    path, landmark_path = Path(folder) / "data.pth", Path(folder) / "copd_converted_lms.pth"
    data, landmarks = _load(path), _load(landmark_path)
    half = torch.tensor(NOMINAL_HALF_EXTENT)
    truth = [
        _points(landmark_path, landmarks, (name,)) for name in ("lm_copd_exh", "lm_copd_insp")
    ]  # both (cases, L, 3)
    cases = list[EvalCase[CloudPair]]()
    for name, keys in (("copd", ("copd",)), ("4dct", ("4dct",)), ("l2r", ("l2r", "train"))):
        fixed, moving = (_entry(path, data, (*keys, part)) for part in ("kpts_fix", "kpts_mov"))
        if not isinstance(fixed, list) or not isinstance(moving, list) or len(fixed) != len(moving):
            raise DataError(f"{path}: '{name}' must hold as many fixed as moving clouds; download the file again")
        for i in range(len(fixed)):
            clouds = [_points(path, data, (*keys, part, i)) * half for part in ("kpts_fix", "kpts_mov")]
            pair = CloudPair(clouds[0], clouds[1], torch.zeros(3), half.clone())
            marked = _release_truth(landmark_path, truth, i) if name == "copd" else None
            known = None if name == "l2r" else _correspondence(path, data, (*keys, "gt_disp", i), pair)
            cases.append(EvalCase(f"{name}_{i + 1:02d}", pair, marked, correspondence=known))
    return cases


def _release_truth(path: Path, truth: list[Tensor], index: int) -> Landmarks:
    if any(t.ndim != 3 or index >= len(t) for t in truth) or truth[0].shape != truth[1].shape:
        shapes = [tuple(t.shape) for t in truth]
        raise DataError(f"{path}: landmarks of every COPD case are needed, found shapes {shapes}; download it again")
    half = torch.tensor(NOMINAL_HALF_EXTENT)
    return Landmarks(truth[0][index] * half, truth[1][index] * half)


def _correspondence(path: Path, data: Any, keys: tuple[str | int, ...], pair: CloudPair) -> Float[Tensor, "3 N"] | None:
    """In mm; None in a file without any, which only a supervised comparison would miss."""
    if keys[-2] not in _entry(path, data, keys[:-2]):
        return None
    found = _points(path, data, keys) * pair.half_extent
    if found.shape != pair.fixed.shape:
        name = "/".join(map(str, keys))
        raise DataError(
            f"{path}: '{name}' must have a displacement for each of {len(pair.fixed)} fixed keypoints, "
            f"found shape {tuple(found.shape)}; download it again"
        )
    return found.T.contiguous()


def _load(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: no such file; the release has data.pth and copd_converted_lms.pth in one folder")
    try:
        if not zipfile.is_zipfile(path):  # torch would unpack a tar archive into a folder
            raise ValueError("no file of torch.save's")
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
