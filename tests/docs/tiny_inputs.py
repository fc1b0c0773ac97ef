"""The files that the pages name, as small as they can be: scans of two shrunk phantoms, clouds of a hundred points."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import torch
from smaller import LUNGS
from torch import Tensor

from cst_core.field import Grid
from cst_core.plugin import EvalCase
from cst_image.phantom import Subject, abdomen_phantom
from cst_points.cloud import CloudPair
from cst_points.formats import write_cloud, write_landmarks
from cst_points.phantom import lung_phantom

SPACING = 6.4
SHRINKING = 2.5  # smaller patients would no longer pass for a body
POINTS = 100  # of a cloud


def make_inputs(folder: Path) -> None:
    """Write all of them into ``folder``."""
    subjects = few_subjects(2, SPACING)
    for name, subject in zip(("fixed", "moving"), subjects, strict=True):
        _save(folder / f"{name}.nii.gz", subject.volume, subject.grid)
        _save(folder / f"{name}_labels.nii.gz", subject.labels, subject.grid)
        _save(folder / f"mr_{name}.nii.gz", subject.volume + 1024, subject.grid)
        _save(folder / "prepared" / f"{name}.nii.gz", subject.volume, subject.grid)
    _folds(folder / "scans", subjects)
    _points(folder)
    _clouds(folder)


def _folds(folder: Path, subjects: list[Subject]) -> None:
    """Ten MR scans with labels, of which five folds can be made."""
    for number in range(10):
        subject = subjects[number % 2]
        _save(folder / f"s{number}.nii.gz", subject.volume + 1024 + number, subject.grid)
        _save(folder / f"s{number}_seg.nii.gz", subject.labels, subject.grid)


def _points(folder: Path) -> None:
    (folder / "moving_points.csv").write_text("x,y,z\n10.0,-20.0,60.0\n-40.0,10.0,0.0\n")
    header = "fixed_x,fixed_y,fixed_z,moving_x,moving_y,moving_z"
    (folder / "landmarks.csv").write_text(f"{header}\n10,-20,60,12,-21,66\n-40,10,0,-41,8,5\n")


def _clouds(folder: Path) -> None:
    for number, case in enumerate(thin_lungs(2), start=1):
        assert case.landmarks is not None
        for place in (folder, folder / "clouds") if number == 1 else (folder / "clouds",):
            place.mkdir(exist_ok=True)
            write_cloud(place / f"case_{number:02d}_fixed.csv", case.pair.fixed)
            write_cloud(place / f"case_{number:02d}_moving.csv", case.pair.moving)
        write_landmarks(folder / "clouds" / f"case_{number:02d}_landmarks.csv", case.landmarks)


@cache
def thin_lungs(n_pairs: int = LUNGS, seed: int = 0) -> list[EvalCase[CloudPair]]:
    """The lung phantom with fewer pairs and points."""
    cases = lung_phantom(min(n_pairs, LUNGS), seed)
    return [replace(case, pair=_thinned(case.pair)) for case in cases]


def _thinned(pair: CloudPair) -> CloudPair:
    return replace(pair, fixed=pair.fixed[:POINTS], moving=pair.moving[: 2 * POINTS])


@cache
def few_subjects(n_subjects: int, spacing: float = SPACING, seed: int = 0) -> list[Subject]:
    """The abdomen phantom, shrunk; each subject made once for all tests."""
    return [_shrunk(subject) for subject in abdomen_phantom(n_subjects, SHRINKING * spacing, seed)]


def _shrunk(subject: Subject) -> Subject:
    affine = subject.grid.affine.clone()
    affine[:3] /= SHRINKING
    return subject._replace(grid=Grid.from_affine(subject.grid.shape, affine))


def _save(path: Path, values: Tensor, grid: Grid) -> None:
    path.parent.mkdir(exist_ok=True)
    array = values.numpy() if values.dtype == torch.uint8 else values.numpy().astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, grid.affine.numpy()), path)
