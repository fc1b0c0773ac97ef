"""The toy backend as an installed distribution of its own, `cst` in and out of this process, and a pair of scans."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cst_core.field import Grid
from cst_core.transform import WorldAffine, WorldField
from cst_core.world_grid import slab_points

TOY = Path(__file__).parents[1] / "toy"


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``pip install --target`` makes of tests/toy, without needing pip: the package and its metadata."""
    target = tmp_path_factory.mktemp("site")
    project = tomllib.loads((TOY / "pyproject.toml").read_text())["project"]
    for package in ("cst_toy",):
        shutil.copytree(TOY / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    information = target / f"cst_toy-{project['version']}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in groups[group].items()) for group in groups]
    (information / "entry_points.txt").write_text("\n".join(lines))
    return target


@pytest.fixture
def toy(toy_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The toy's plugin, found as `cst` finds it."""
    from cst_core import plugins

    monkeypatch.syspath_prepend(toy_folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # its tensors are so small that threads only wait for one another
    yield plugins.load("toy")
    torch.set_num_threads(threads)


@pytest.fixture
def cst(toy_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run `cst` in this process, with the toy among its backends."""
    from cst_core.cli import main

    monkeypatch.syspath_prepend(toy_folder)
    monkeypatch.delenv("CST_DATA", raising=False)

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Said(int(exit_.value.code or 0), out, err)

    return run


@pytest.fixture(scope="session")
def cst_process(toy_folder: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start `cst` in a process of its own."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        environment = {key: value for key, value in os.environ.items() if key != "CST_DATA"}
        environment |= {"PYTHONPATH": str(toy_folder), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "cst_core.cli", *map(str, arguments)]
        return subprocess.Popen(
            command,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # where the tests themselves run in the background of a script, the shell has interrupts ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return start


class Pair(NamedTuple):
    """Two scans of different grids and a smooth transform between their worlds, all known in closed form."""

    fixed: Grid
    moving: Grid
    field: WorldField
    """On the fixed grid; a few mm, no folds."""
    affine: WorldAffine
    """A few degrees, a few mm."""
    image: np.ndarray
    """int16, on the moving grid: smooth, from -1000 to about 1000."""
    labels: np.ndarray
    """uint8, on the moving grid."""

    def inner_points(self, number: int) -> torch.Tensor:
        """Points well within the fixed grid, RAS mm."""
        generator = torch.Generator().manual_seed(5)
        share = 0.2 + 0.6 * torch.rand(number, 3, dtype=torch.float64, generator=generator)
        index = share * (torch.tensor(self.fixed.shape) - 1)
        return index @ self.fixed.affine[:3, :3].T + self.fixed.affine[:3, 3]


ORIENTATIONS = ["RAS", "LAS", "PSR", "oblique"]


def oriented_grid(axes: str, shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
    """Array axes towards ``axes`` (``oblique``: LPS, turned by 10 to 25 degrees), the middle near (12, -30, 55) mm."""
    words = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    directions = np.zeros((3, 3))
    for column, letter in enumerate("LPS" if axes == "oblique" else axes):
        row, sign = words[letter]
        directions[row, column] = sign
    if axes == "oblique":
        directions = Rotation.from_euler("xyz", [25, -10, 15], degrees=True).as_matrix() @ directions
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = np.array([12.0, -30.0, 55.0]) - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid.from_affine(shape, affine)


@pytest.fixture
def oriented() -> Callable[[str], Grid]:
    """A small anisotropic grid in one of `ORIENTATIONS`."""
    return lambda axes: oriented_grid(axes, (6, 5, 4), (1.0, 2.0, 3.0))


@pytest.fixture
def pair_of():
    """Makes the pair whose fixed grid has an orientation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tensors so small, threads only wait for one another
    yield make_pair
    torch.set_num_threads(threads)


@pytest.fixture(params=ORIENTATIONS)
def pair(request: pytest.FixtureRequest, pair_of: Callable[[str], Pair]) -> Pair:
    """A fixed grid in four orientations, each with a moving grid in another."""
    return pair_of(request.param)


def make_pair(axes: str) -> Pair:
    """The pair whose fixed grid has this orientation."""
    fixed = oriented_grid(axes, (20, 18, 14), (1.5, 2.0, 3.0))
    moving = oriented_grid(ORIENTATIONS[ORIENTATIONS.index(axes) - 1], (24, 22, 18), (2.0, 1.5, 2.5))
    points = slab_points(fixed, 0, fixed.shape[2])
    phase = points @ torch.tensor([[0.10, 0.05, 0.0], [0.0, 0.12, 0.04], [0.06, 0.0, 0.11]], dtype=torch.float64)
    vectors = (torch.tensor([3.0, 2.0, -2.5], dtype=torch.float64) * phase.sin()).T.reshape(3, *fixed.shape).float()
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = torch.from_numpy(Rotation.from_euler("zyx", [4, -3, 5], degrees=True).as_matrix()) * 1.03
    matrix[:3, 3] = torch.tensor([4.0, 1.0, -3.0]) + points.mean(0) - matrix[:3, :3] @ points.mean(0)
    where = slab_points(moving, 0, moving.shape[2]).numpy() - points.mean(0).numpy()
    bright = np.sin(where @ [0.1, 0.06, 0.02]) + np.cos(where @ [-0.03, 0.09, 0.07])
    image = np.rint(500 * bright).astype(np.int16).reshape(moving.shape)
    labels = (1 + np.digitize(bright, [-1.0, 0.0, 1.0])).astype(np.uint8).reshape(moving.shape)
    return Pair(fixed, moving, WorldField(vectors, fixed), WorldAffine(matrix), image, labels)
