"""Clouds to a tool and back, our solver without learning, and rows that grow pair by pair."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.comparison_rows import put_row, rows_of
from benchmarks.peers import point_methods
from benchmarks.peers.compare_points import succeeded, with_pair
from benchmarks.peers.install import pip_arguments
from benchmarks.peers.methods import FailedError
from benchmarks.peers.point_methods import (
    SOLVER_ALONE,
    SOLVER_ON_FPFH,
    NotInstalledError,
    PointToolMethod,
    SolverMethod,
    fpfh,
)
from benchmarks.peers.point_tools import ENVIRONMENTS_OF_POINTS, POINT_TOOLS
from benchmarks.peers.tools import FOLDER
from cst_core.plugin import EvalCase, Landmarks
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig

SHIFT = torch.tensor([4.0, -6.0, 3.0])
CONFIG = PointsConfig(candidates=32, second_candidates=16, rounds=5)
ADAPTER = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
from job import Registered, load_clouds, serve, still
def register(job, clouds):
    if job.options.get("broken"):
        raise RuntimeError("no luck")
    fixed, moving = clouds
    assert fixed.shape[1] == moving.shape[1] == 3
    field = np.tile(moving.mean(0) - fixed.mean(0), (len(fixed), 1)).T
    return Registered(field[:, job.options.get("skip", 0) :], {{}}, still)
serve(None, load_clouds, register)
"""


def case() -> EvalCase[CloudPair]:
    generator = torch.Generator().manual_seed(0)
    fixed, landmarks = (100 * (2 * torch.rand(count, 3, generator=generator) - 1) for count in (120, 20))
    moving = (fixed + SHIFT)[torch.randperm(120, generator=generator)]
    pair = CloudPair(fixed, moving, torch.zeros(3), torch.full((3,), 110.0))
    return EvalCase("one", pair, Landmarks(landmarks, landmarks + SHIFT))


def centring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> PointToolMethod:
    """A tool that shifts centre onto centre."""
    python = tmp_path / "pycpd" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.touch()
    monkeypatch.setattr(point_methods, "ENVIRONMENTS", tmp_path)
    method = PointToolMethod("cpd", 1, options)
    method.python = Path(sys.executable)
    (tmp_path / "adapters").mkdir(exist_ok=True)
    script = tmp_path / "adapters" / "cpd_points.py"
    script.write_text(ADAPTER.format(folder=str(FOLDER / "adapters")))
    monkeypatch.setattr(point_methods, "FOLDER", tmp_path)
    return method


def test_every_tool_has_an_adapter_and_an_environment():
    for name, tool in POINT_TOOLS.items():
        assert (FOLDER / "adapters" / f"{tool.adapter}.py").exists(), name
        assert pip_arguments(tool.environment, "torch", "")[-1] == ENVIRONMENTS_OF_POINTS[tool.environment][-1]


def test_a_tool_that_is_not_installed_says_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(point_methods, "ENVIRONMENTS", tmp_path)
    with pytest.raises(NotInstalledError, match=r"^icp: .*peers\.install open3d$"):
        PointToolMethod("icp", 1)


def test_a_row_grows_by_what_a_tool_found(tmp_path, monkeypatch):
    method, one, path = centring(tmp_path, monkeypatch), case(), tmp_path / "rows.json"
    row = with_pair(None, method, one, CONFIG, 1)
    assert row["mean"]["tre_mm"] == pytest.approx(0, abs=1e-3)
    assert row["pairs"][0]["tre_mm_initial"] == pytest.approx(float(SHIFT.norm()))
    assert row["peak_mb"] > 1
    put_row(path, row, {"data": "here"})
    method.options["broken"] = True
    row = with_pair(rows_of(path)["cpd", "default", None], method, EvalCase("two", one.pair, one.landmarks), CONFIG, 1)
    assert [pair["id"] for pair in row["pairs"]] == ["one", "two"]
    # what failed counts with no displacement
    assert row["mean"]["tre_mm"] == pytest.approx(float(SHIFT.norm()) / 2, abs=1e-3)
    assert row["failures"] == [{"id": "two", "why": "cpd: exit code 1: RuntimeError: no luck"}]
    assert row["settings"]["source"] == POINT_TOOLS["cpd"].source
    again = succeeded(row)
    assert again is not None
    assert [pair["id"] for pair in again["pairs"]] == [run["id"] for run in again["runs"]] == ["one"]
    assert again["failures"] == []


def test_a_field_of_another_size_is_a_failure(tmp_path, monkeypatch):
    with pytest.raises(FailedError, match=r"\(3, 120\)"):
        centring(tmp_path, monkeypatch, skip=1).register(case().pair)


def test_the_memory_told_is_the_tools_own(tmp_path, monkeypatch):
    ballast = np.ones(50_000_000)  # 400 MB of the caller's
    found = centring(tmp_path, monkeypatch).register(case().pair)
    assert found.peak_mb is not None
    assert found.peak_mb < 150
    assert len(ballast) == 50_000_000


def test_the_solver_alone_finds_a_shift_smaller_than_the_spacing():
    one = case()
    row = with_pair(None, SolverMethod(SOLVER_ALONE, CONFIG), one, CONFIG, 1)
    assert row["kind"] == "classical"
    assert row["mean"]["tre_mm"] < 0.5 * float(SHIFT.norm())


def test_fpfh_tells_keypoints_of_a_shifted_cloud():
    pytest.importorskip("open3d")
    one = case()
    fixed, moving = fpfh(one.pair)
    both = torch.cat([fixed, moving])
    assert torch.allclose(both.mean(0), torch.zeros(33), atol=1e-4)
    partner = torch.cdist(one.pair.fixed + SHIFT, one.pair.moving).argmin(1)
    close = (fixed - moving[partner]).norm(dim=1) < (fixed - moving[partner.roll(1)]).norm(dim=1)
    assert float(close.float().mean()) > 0.9
    found = SolverMethod(SOLVER_ON_FPFH, CONFIG).register(one.pair)
    assert float((found.field - SHIFT[:, None]).norm(dim=0).mean()) < 1
