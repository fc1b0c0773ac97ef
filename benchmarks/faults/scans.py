"""Scans of a few voxels, good and bad, and clouds of a few points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np

SHAPE, SPACING_MM = (12, 11, 10), 8.0


def values(seed: int = 0) -> np.ndarray:
    """Blobs between -200 and 300 HU, ``SHAPE``."""
    draw = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), -1)
    content = np.zeros(SHAPE)
    for height in np.linspace(100, 500, 12):
        centre = draw.uniform(1, np.array(SHAPE) - 2)
        content += height * np.exp(-((places - centre) ** 2).sum(-1) / 4)
    return (content - 200).clip(-200, 300).astype(np.float32)


def affine(shear_mm: float = 0.0, shift_mm: float = 0.0) -> np.ndarray:
    """Voxel to world; a shear makes the axes oblique to one another."""
    matrix = np.diag([SPACING_MM] * 3 + [1.0])
    matrix[:3, 3] = shift_mm
    matrix[0, 1] = shear_mm
    return matrix


def write_scan(path: Path, content: np.ndarray | None = None, world: np.ndarray | None = None, seed: int = 0) -> None:
    """As NIfTI, with an sform alone: a qform holds no shear."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values(seed) if content is None else content, None)
    image.set_sform(affine() if world is None else world, code=1)
    nibabel.save(image, path)


def write_points(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """CSV without a header, mm."""
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))


def cloud(count: int = 200, seed: int = 0) -> list[list[float]]:
    """Points in a ball of 100 mm."""
    return np.random.default_rng(seed).normal(0, 40, (count, 3)).round(3).tolist()
