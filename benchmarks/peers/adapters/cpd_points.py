"""Coherent point drift by pycpd: deformable, after an affine registration where the job asks for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from job import Job, Registered, load_clouds, serve, still
from pycpd import AffineRegistration, DeformableRegistration  # pyright: ignore[reportMissingImports]


def register(job: Job, clouds: tuple[np.ndarray, np.ndarray]) -> Registered:
    """The fixed cloud is CPD's source: it drifts onto the moving one, and where it ends is x + u(x)."""
    fixed, moving = clouds
    centre, scale = moving.mean(0), float(moving.std())
    source, target = (fixed - centre) / scale, (moving - centre) / scale
    settings: dict[str, Any] = dict(job.options)
    told = {name: value for name, value in settings.items() if name != "affine"}
    moved, iterations = source, {}
    if settings.get("affine"):
        affine = AffineRegistration(X=target, Y=source)
        moved, _ = affine.register()
        iterations["affine_iterations"] = affine.iteration
    drift = DeformableRegistration(X=target, Y=moved, **told)
    moved, _ = drift.register()
    iterations["iterations"] = drift.iteration
    return Registered(scale * (moved - source).T, settings | iterations, still)


if __name__ == "__main__":
    serve("pycpd", load_clouds, register)
