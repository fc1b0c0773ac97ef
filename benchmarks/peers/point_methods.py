"""What gives a field at a pair's fixed keypoints: other tools, and our own solver on features that nobody learned."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmarks.peers.adapters.job import Job, read_answer
from benchmarks.peers.methods import FailedError
from benchmarks.peers.point_tools import POINT_TOOLS
from benchmarks.peers.tool_method import environment_of, run_adapter
from benchmarks.peers.tools import ENVIRONMENTS, FOLDER
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.refine import refine

SOLVER_ALONE = "lbp-nothing"
SOLVER_ON_FPFH = "lbp-fpfh"
CLASSICAL = {
    SOLVER_ALONE: "our h, second warp and spline without any features: all candidates cost the same",
    SOLVER_ON_FPFH: "our h, second warp and spline on FPFH within 30 mm (Open3D), each channel standardised",
}
_RADIUS = 30.0  # mm, of FPFH: some 100 keypoints


class NotInstalledError(Exception):
    """A tool's environment is not there; the message says what makes it."""


class FoundPoints(NamedTuple):
    """One registered pair."""

    field: Float[Tensor, "3 N"]
    """mm, at the fixed keypoints."""
    smooth: bool
    """Whether it went through refinement's spline already."""
    seconds: float
    cpu_seconds: float
    process_seconds: float | None
    peak_mb: float | None
    version: str | None
    settings: dict[str, Any]


class PointMethod(Protocol):
    """A row of the comparison."""

    name: str
    kind: str

    def register(self, pair: CloudPair) -> FoundPoints:
        """Raises `FailedError` for a pair that it could not register."""
        ...


class PointToolMethod:
    """One of `POINT_TOOLS`: one process a pair, under the interpreter of its own environment."""

    kind = "tool"

    def __init__(self, name: str, threads: int, options: dict[str, Any] | None = None) -> None:
        """``options``: over those of the table. Raises `NotInstalledError`."""
        self.name, self.threads, self.tool = name, threads, POINT_TOOLS[name]
        self.options = {**self.tool.options, **(options or {})}
        self.python = ENVIRONMENTS / self.tool.environment / "bin" / "python"
        if not self.python.exists():
            remedy = f"run python -m benchmarks.peers.install {self.tool.environment}"
            raise NotInstalledError(f"{name}: its tool is not installed; {remedy}")

    def options_of(self, pair: CloudPair) -> dict[str, Any]:
        """What the adapter is told about this pair: the same of all."""
        del pair
        return self.options

    def environment(self) -> dict[str, str]:
        """Of the tool's process."""
        return environment_of(self.threads)

    def register(self, pair: CloudPair) -> FoundPoints:
        """In a folder of its own that is removed afterwards."""
        with tempfile.TemporaryDirectory(prefix=f"peer-{self.name}-") as text:
            folder = Path(text)
            files = {role: str(folder / f"{role}.npy") for role in ("fixed", "moving")}
            for role, cloud in (("fixed", pair.fixed), ("moving", pair.moving)):
                np.save(files[role], cloud.double().numpy())
            told = self.options_of(pair)
            job = Job(files["fixed"], files["moving"], folder=text, threads=self.threads, options=told)
            adapter = FOLDER / "adapters" / f"{self.tool.adapter}.py"
            whole = run_adapter(self.name, [str(self.python), str(adapter)], self.environment(), job)
            answer, field = read_answer(folder), torch.from_numpy(np.load(folder / "field.npy"))
        if field.shape != pair.fixed.T.shape or not field.isfinite().all():
            raise FailedError(f"{self.name}: its field must be finite and (3, {len(pair.fixed)})")
        settings = {"source": self.tool.source, **answer.settings}
        return FoundPoints(
            field, False, answer.seconds, answer.cpu_seconds, whole, answer.peak_mb, answer.version, settings
        )


class SolverMethod:
    """One of `CLASSICAL`: h and refinement as `cst register` runs them."""

    kind = "classical"

    def __init__(self, name: str, config: PointsConfig) -> None:
        self.name, self.config = name, config

    @torch.no_grad()
    def register(self, pair: CloudPair) -> FoundPoints:
        """Features are counted in the seconds."""
        backend = PointsBackend(self.config)
        start, processor = time.perf_counter(), time.process_time()
        features = nothing(pair) if self.name == SOLVER_ALONE else fpfh(pair)
        predicted = backend.solve(pair, *features, backend.effort)
        field = refine(backend, nn.Identity(), pair, features, predicted)
        return FoundPoints(
            field,
            self.config.smooth,
            time.perf_counter() - start,
            time.process_time() - processor,
            None,
            None,
            None,
            {"source": CLASSICAL[self.name]},
        )


def method_of(name: str, config: PointsConfig, threads: int) -> PointMethod:
    """By its name. Raises `NotInstalledError`."""
    return SolverMethod(name, config) if name in CLASSICAL else PointToolMethod(name, threads)


def nothing(pair: CloudPair) -> tuple[Float[Tensor, "N 1"], Float[Tensor, "M 1"]]:
    """The same feature everywhere."""
    return pair.fixed.new_zeros(len(pair.fixed), 1), pair.moving.new_zeros(len(pair.moving), 1)


def fpfh(pair: CloudPair) -> tuple[Float[Tensor, "N 33"], Float[Tensor, "M 33"]]:
    """Fast point feature histograms (Rusu et al. 2009) of both clouds, together of mean 0 and variance 1 a channel."""
    import open3d as o3d

    found: list[Tensor] = []
    for points in (pair.fixed, pair.moving):
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.double().numpy()))
        cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(radius=_RADIUS / 2, max_nn=30))
        around = o3d.geometry.KDTreeSearchParamHybrid(radius=_RADIUS, max_nn=100)
        histogram = o3d.pipelines.registration.compute_fpfh_feature(cloud, around)  # pyright: ignore[reportCallIssue]
        found.append(torch.from_numpy(np.asarray(histogram.data).T.copy()).to(points))
    both = torch.cat(found)
    deviation = both.std(0).clamp(min=1e-6)
    fixed, moving = ((one - both.mean(0)) / deviation for one in found)
    return fixed, moving
