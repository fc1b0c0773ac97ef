"""ANTs through ANTsPy: affine by mutual information, then SyN."""

from __future__ import annotations

from typing import Any

import ants
import numpy as np
from job import Job, Registered, from_lps, serve


def load(job: Job) -> dict[str, Any]:
    """The scans, and masks where there are some, by the names of `ants.registration`."""
    files = {"fixed": job.fixed, "moving": job.moving, "mask": job.fixed_mask, "moving_mask": job.moving_mask}
    return {name: ants.image_read(file) for name, file in files.items() if file is not None}


def register(job: Job, images: dict[str, Any]) -> Registered:
    """``strength``: deviation of the Gaussian that smooths the update field, voxels (`flow_sigma`)."""
    settings: dict[str, Any] = dict(job.options) | ({} if job.strength is None else {"flow_sigma": job.strength})
    found = ants.registration(
        **images,
        **settings,
        mask_all_stages="mask" in images,
        outprefix=f"{job.folder}/ants",
    )
    fixed, transforms = images["fixed"], found["fwdtransforms"]
    composed = ants.apply_transforms(fixed, images["moving"], transforms, compose=f"{job.folder}/total")
    vectors = np.moveaxis(ants.image_read(composed).numpy(), -1, 0)
    return Registered(
        from_lps(vectors),
        settings,
        lambda: ants.apply_transforms(fixed, images["moving"], transforms, interpolator="linear").numpy(),
    )


if __name__ == "__main__":
    serve("antspyx", load, register)
