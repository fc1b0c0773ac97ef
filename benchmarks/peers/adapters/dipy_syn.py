"""DIPY: affine by mutual information unless the job leaves it out, then its SyN with cross-correlation."""

from __future__ import annotations

from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from dipy.align import affine_registration  # pyright: ignore[reportMissingImports]
from dipy.align.imwarp import SymmetricDiffeomorphicRegistration  # pyright: ignore[reportMissingImports]
from dipy.align.metrics import CCMetric  # pyright: ignore[reportMissingImports]
from job import Job, Registered, serve


class Scans(NamedTuple):
    """Arrays (X, Y, Z) and the affine of both."""

    fixed: np.ndarray
    moving: np.ndarray
    affine: np.ndarray
    masks: dict[str, np.ndarray]


def load(job: Job) -> Scans:
    """The scans, and masks where there are some, by the names of `affine_registration`."""
    fixed, moving = (_opened(file) for file in (job.fixed, job.moving))
    masks = {"static_mask": job.fixed_mask, "moving_mask": job.moving_mask}
    return Scans(
        np.asarray(fixed.dataobj, dtype=np.float32),
        np.asarray(moving.dataobj, dtype=np.float32),
        fixed.affine,
        {name: np.asarray(_opened(file).dataobj, dtype=np.int32) for name, file in masks.items() if file},
    )


def register(job: Job, scans: Scans) -> Registered:
    """``strength``: deviation of the Gaussian that smooths the update field, voxels (`sigma_diff`)."""
    settings: dict[str, Any] = dict(job.options) | ({} if job.strength is None else {"sigma_diff": job.strength})
    prealign = _affine(scans, settings["pipeline"]) if settings["pipeline"] else None
    metric = CCMetric(3, sigma_diff=settings["sigma_diff"], radius=settings["radius"])
    syn = SymmetricDiffeomorphicRegistration(metric, level_iters=settings["level_iters"])
    mapping = syn.optimize(
        scans.fixed,
        scans.moving,
        static_grid2world=scans.affine,
        moving_grid2world=scans.affine,
        prealign=prealign,
    )
    # where its own transform takes the fixed sites; it would be cut off at the border in warped images of coordinates
    shape = scans.fixed.shape
    sites = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
    world = sites @ scans.affine[:3, :3].T + scans.affine[:3, 3]
    there = np.asarray(mapping.transform_points(world, coord2world=np.eye(4), world2coord=np.eye(4)))
    return Registered((there - world).T.reshape(3, *shape), settings, lambda: mapping.transform(scans.moving))


def _affine(scans: Scans, pipeline: list[str]) -> np.ndarray:
    _, found = affine_registration(
        scans.moving,
        scans.fixed,
        moving_affine=scans.affine,
        static_affine=scans.affine,
        pipeline=pipeline,
        **scans.masks,
    )
    return found


def _opened(file: str) -> Any:
    return nib.load(file)  # pyright: ignore[reportPrivateImportUsage]


if __name__ == "__main__":
    serve("dipy", load, register)
