"""What all tests share: shapes checked at run time, float32 that means float32, real data where there is any."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from beartype import beartype
from beartype.roar import BeartypeDecorHintPep3119Exception
from jaxtyping import install_import_hook
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cst_core", "cst_image", "cst_points")
# These compile functions from their source: a check wrapped round one would be compiled as well.
COMPILERS = re.compile(r"^\s*(?:import|from)\s+(?:numba|triton)\b", re.MULTILINE)


_IN_TRITON = """
import importlib, sys, numpy, torch
module, function, given, found = sys.argv[1:]
with numpy.load(given) as data:
    arguments = {name: torch.from_numpy(data[name]) for name in data.files}
numpy.savez(found, *getattr(importlib.import_module(module), function)(**arguments))
"""


def checked_modules() -> list[str]:
    """Modules whose annotations are enforced while tests run: all of ours but those that compile functions."""
    names = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if not COMPILERS.search(path.read_text()):
                parts = path.relative_to(ROOT).with_suffix("").parts
                names.append(".".join(part for part in parts if part != "__init__"))
    # a package's name would stand for all of its modules
    return [name for name in names if name not in PACKAGES]


def check(function: Any, **options: Any) -> Any:
    """beartype, but for signatures with a protocol that is not ``runtime_checkable``: those cannot be checked."""
    try:
        return beartype(function, **options)
    except BeartypeDecorHintPep3119Exception:
        return function


# jaxtyping asks for a name that it can import
checker = ModuleType("cst_checker")
vars(checker)["check"] = check
sys.modules[checker.__name__] = checker
install_import_hook(checked_modules(), "cst_checker.check")

torch.set_num_threads(min(4, torch.get_num_threads()))  # OMP_NUM_THREADS may ask for fewer
if torch.cuda.is_available():
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def data_folder() -> Path:
    """The folder whose ``data/`` holds the real data sets; it need not exist."""
    return Path(os.environ.get("CST_SHARED", ROOT.parent / "shared"))


def missing_data() -> str | None:
    """Why tests with real data cannot run, or None."""
    folder = data_folder()
    return None if (folder / "data").is_dir() else f"no real data: {folder / 'data'} does not exist (set CST_SHARED)"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with ``data/LungKeypoints`` and the like; tests that ask for it are skipped where it is not there."""
    if reason := missing_data():
        pytest.skip(reason)
    return data_folder()


@pytest.fixture
def interpreted(tmp_path: Path) -> Callable[[str, str, Mapping[str, Tensor]], list[Tensor]]:
    """Calls ``function`` of ``module``, made of Triton kernels, on the CPU: in Triton's interpreter.

    A test that asks for it is skipped where Triton is not installed; its results are what the function returns.
    """
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed: it comes with CUDA builds of torch")

    def call(module: str, function: str, arguments: Mapping[str, Tensor]) -> list[Tensor]:
        np.savez(tmp_path / "in.npz", **{name: value.numpy() for name, value in arguments.items()})
        environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        command = [sys.executable, "-c", _IN_TRITON, module, function, str(tmp_path / "in.npz"), str(tmp_path / "out")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        with np.load(tmp_path / "out.npz") as data:
            return [torch.from_numpy(data[name]) for name in data.files]

    return call


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, and say why."""
    without_gpu = None if torch.cuda.is_available() else pytest.mark.skip(reason="needs a CUDA device")
    reason = missing_data()
    without_data = pytest.mark.skip(reason=reason) if reason else None
    for item in items:
        if without_gpu and item.get_closest_marker("gpu"):
            item.add_marker(without_gpu)
        if without_data and item.get_closest_marker("real"):
            item.add_marker(without_data)
