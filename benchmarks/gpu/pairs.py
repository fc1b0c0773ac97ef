"""Seconds and memory of one registration at test time on a device: what `benchmarks.gpu` and nobody else needs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.scaling.points import volumes
from cst_core.replay import SWITCH
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.pair import ImagePair
from cst_image.plugin import at_test
from cst_points.backend import PointsBackend
from cst_points.config import PRESETS, PointsConfig
from cst_points.data import read_dataset

REPEATS = 10


def image_pair(shape: tuple[int, int, int], device: str) -> dict[str, Any]:
    """The paper's network, untrained; two warps and Adam; the field at every voxel.

    ``launched_singly``: the same where no kernels are recorded (`cst_core.replay`).
    """
    backend = at_test(ImageBackend(ImageConfig(first_towers=1), device))
    made = volumes(shape)
    pair = ImagePair(made.fixed.to(device), made.moving.to(device), made.grid)
    network = backend.untrained(0).eval()
    found = timed(lambda: backend.displacement(network, pair), device)
    with patch.dict(os.environ, {SWITCH: "0"}):
        singly = timed(lambda: backend.displacement(network, pair), device)
    return {"shape": list(shape), **found, "launched_singly": singly}


def points_pair(source: str, device: str) -> dict[str, Any]:
    """A test pair by a trained network's width, with the presets ``paper`` and ``best``."""
    case = read_dataset(source).test[0]
    pair = case.pair.to(device)
    found: dict[str, Any] = {"case": case.id, "fixed": len(pair.fixed), "moving": len(pair.moving)}
    for name in ("paper", "best"):
        backend = PointsBackend(PointsConfig(**PRESETS[name].backend), device)
        network = backend.new_network(0).eval()
        found[name] = timed(lambda backend=backend, network=network: backend.register(network, pair), device)
    return found


@torch.no_grad()
def timed(part: Callable[[], object], device: str) -> dict[str, float | None]:
    """After two calls that compile: median and fastest of some, seconds; the GPU's peak memory, MB."""
    gpu = device == "cuda"
    for _ in range(2):
        part()
    if gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        part()
        if gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    peak = torch.cuda.max_memory_allocated() / 1e6 if gpu else None
    return {"median_s": median(seconds), "fastest_s": min(seconds), "peak_mb": peak}
