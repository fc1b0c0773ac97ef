"""Ours, as a tool is run: the only adapter that imports cst, under the interpreter that runs the comparison."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from job import Job, Registered, serve

from cst_core.field import warp
from cst_core.formats.nifti import read_volume
from cst_core.models import Model, load_model
from cst_image.pair import ImagePair
from cst_image.plugin import PLUGIN, at_test


class Loaded(NamedTuple):
    """Scans, and the network, which another tool's settings correspond to."""

    pair: ImagePair
    model: Model


def load(job: Job) -> Loaded:
    """Volumes and weights; compiled functions are loaded or made here, on the pair itself, as imports are elsewhere."""
    torch.set_num_threads(job.threads)
    fixed, moving = (read_volume(Path(file)) for file in (job.fixed, job.moving))
    masks = [
        None if file is None else torch.from_numpy(np.asarray(read_volume(Path(file)).values) > 0)[None]
        for file in (job.fixed_mask, job.moving_mask)
    ]
    volumes = [torch.from_numpy(np.asarray(v.values, dtype=np.float32))[None] - job.offset for v in (fixed, moving)]
    model = load_model(job.options["model"], PLUGIN, "cpu")
    loaded = Loaded(ImagePair(volumes[0], volumes[1], fixed.grid, *masks), model)
    register(job, loaded)
    return loaded


def register(job: Job, loaded: Loaded) -> Registered:
    """``strength``: weight of smoothness at test time."""
    pair, model = loaded
    backend = model.backend
    if job.strength is not None:
        backend = type(backend)(backend.config.model_copy(update={"test_smoothness": job.strength}))  # pyright: ignore
    field = at_test(backend).displacement(model.network, pair)  # pyright: ignore[reportArgumentType]
    return Registered(
        field.vectors.numpy(),
        {"model": job.options["model"]},
        lambda: warp(pair.moving[0] + job.offset, field.vectors, field.grid.spacing).numpy(),
    )


if __name__ == "__main__":
    serve(None, load, register)
