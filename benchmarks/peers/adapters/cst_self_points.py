"""Ours on clouds, as a tool is run, under the interpreter that runs the comparison."""

from __future__ import annotations

from typing import NamedTuple

import torch
from job import Job, Registered, load_clouds, serve, still

from cst_core.models import Model, load_model
from cst_points.cloud import CloudPair
from cst_points.plugin import PLUGIN


class Loaded(NamedTuple):
    """Clouds, and the network, which another tool's settings correspond to."""

    pair: CloudPair
    model: Model


def load(job: Job) -> Loaded:
    """Clouds and weights; compiled functions are loaded or made here, on the pair itself, as imports are elsewhere."""
    torch.set_num_threads(job.threads)
    fixed, moving = (torch.from_numpy(cloud).float() for cloud in load_clouds(job))
    frame = (torch.tensor(job.options[name]) for name in ("origin", "half_extent"))
    loaded = Loaded(CloudPair(fixed, moving, *frame), load_model(job.options["model"], PLUGIN, "cpu"))
    register(job, loaded)
    return loaded


def register(job: Job, loaded: Loaded) -> Registered:
    """The refined field at the fixed keypoints, (3, N) mm."""
    found = loaded.model.backend.register(loaded.model.network, loaded.pair)
    return Registered(found.refined.numpy(), {"model": job.options["model"]}, still)


if __name__ == "__main__":
    serve(None, load, register)
