"""A scan whose value at any place in the world is known, and the same after a known deformation."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

CENTRE = np.array([20.0, -10.0, 30.0])
HALF = np.array([62.0, 54.0, 46.0])
"""Half the axes of the body, mm."""


def content(points: np.ndarray) -> np.ndarray:
    """HU at ``(..., 3)`` RAS mm: blobs of 10 to 18 mm in a body in air."""
    random = np.random.default_rng(3)
    relative = (points - CENTRE) / HALF
    radius = np.sqrt((relative**2).sum(-1))
    body = np.clip((1.0 - radius) * 12.0 + 0.5, 0.0, 1.0)
    value = np.zeros(points.shape[:-1])
    for _ in range(40):
        middle = CENTRE + random.uniform(-0.7, 0.7, 3) * HALF
        width, height = random.uniform(6.0, 10.0), random.choice([-150.0, 180.0])
        value += height * np.exp(-((points - middle) ** 2).sum(-1) / (2 * width**2))
    return np.clip(value, -180.0, 290.0) * body - 200.0 * (1.0 - body)


def deformation(points: np.ndarray) -> np.ndarray:
    """u at ``(..., 3)`` RAS mm: up to 7 mm, waves of 110 mm and more."""
    x, y, z = np.moveaxis((points - CENTRE) / 110.0 * 2 * np.pi, -1, 0)
    return np.stack([6.0 * np.sin(y) * np.cos(z / 2), 5.0 * np.cos(x / 2) * np.sin(z), 4.0 * np.sin(x + y / 2)], -1)


def undeformed(points: np.ndarray) -> np.ndarray:
    """x with x + u(x) = y, by fixed-point iteration."""
    found = points.copy()
    for _ in range(60):
        found = points - deformation(found)
    return found


def positions(shape, affine) -> np.ndarray:
    """RAS mm of all voxels."""
    index = np.stack(np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def centred_affine(shape, spacing, rotation=None) -> np.ndarray:
    """A grid whose middle is that of the body."""
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if rotation is None else rotation) @ np.diag(spacing)
    affine[:3, 3] = CENTRE - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def write(path: Path, values: np.ndarray, affine: np.ndarray, axes: str = "RAS") -> Path:
    """As NIfTI, with its axes turned to ``axes``."""
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(affine), nibabel.orientations.axcodes2ornt(axes)
    )
    nibabel.save(nibabel.Nifti1Image(values, affine).as_reoriented(turn), path)
    return path


def write_pair(folder: Path, fixed, moving, axes: tuple[str, str] = ("RAS", "RAS")) -> tuple[Path, Path]:
    """``fixed`` and ``moving``: (shape, affine); the moving scan shows what the deformation makes of the fixed."""
    folder.mkdir(parents=True, exist_ok=True)
    one = content(positions(*fixed)).astype(np.float32)
    other = content(undeformed(positions(*moving))).astype(np.float32)
    return (
        write(folder / "fixed.nii.gz", one, fixed[1], axes[0]),
        write(folder / "moving.nii.gz", other, moving[1], axes[1]),
    )


def write_labels(folder: Path, fixed, moving) -> tuple[Path, Path]:
    """Three labels by height, where the scans show tissue."""

    def labels(points):
        return np.digitize(content(points), [-150.0, -20.0, 60.0]).astype(np.uint8)

    return (
        write(folder / "fixed_labels.nii.gz", labels(positions(*fixed)), fixed[1]),
        write(folder / "moving_labels.nii.gz", labels(undeformed(positions(*moving))), moving[1]),
    )
