"""Bayesian coherent point drift by probreg."""

from __future__ import annotations

import numpy as np
from job import Job, Registered, load_clouds, serve, still
from probreg import bcpd  # pyright: ignore[reportMissingImports]


def register(job: Job, clouds: tuple[np.ndarray, np.ndarray]) -> Registered:
    """The fixed cloud is the source: where it ends is x + u(x)."""
    fixed, moving = clouds
    centre, scale = moving.mean(0), float(moving.std())
    source = (fixed - centre) / scale
    found = bcpd.registration_bcpd(source, (moving - centre) / scale, **job.options)
    return Registered(scale * (found.transform(source) - source).T, dict(job.options), still)


if __name__ == "__main__":
    serve("probreg", load_clouds, register)
