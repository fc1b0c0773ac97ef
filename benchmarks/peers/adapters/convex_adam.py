"""convexAdam: correlation and coupled convex optimisation on MIND features, then Adam; no affine part."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
import torch
from convexAdam.apply_convex import apply_convex  # pyright: ignore[reportMissingImports]
from convexAdam.convex_adam_MIND import convex_adam_pt  # pyright: ignore[reportMissingImports]
from job import Job, Registered, serve

Scans = tuple[np.ndarray, np.ndarray, np.ndarray]


def load(job: Job) -> Scans:
    """Fixed, moving and the spacing of both, mm. Masks are not used."""
    images: list[Any] = [nib.load(file) for file in (job.fixed, job.moving)]  # pyright: ignore[reportPrivateImportUsage]
    arrays = [np.asarray(image.dataobj, dtype=np.float32) for image in images]
    return arrays[0], arrays[1], np.asarray(images[0].header.get_zooms()[:3], dtype=np.float32)


def register(job: Job, scans: Scans) -> Registered:
    """``strength``: weight of the diffusion regularisation (`lambda_weight`)."""
    fixed, moving, spacing = scans
    torch.set_num_threads(job.threads)
    settings: dict[str, Any] = dict(job.options) | ({} if job.strength is None else {"lambda_weight": job.strength})
    voxels = convex_adam_pt(
        torch.from_numpy(fixed), torch.from_numpy(moving), dtype=torch.float32, device=torch.device("cpu"), **settings
    )
    vectors = np.moveaxis(voxels, -1, 0) * spacing[:, None, None, None]
    return Registered(vectors, settings, lambda: apply_convex(voxels, moving))


if __name__ == "__main__":
    serve("convexAdam", load, register)
