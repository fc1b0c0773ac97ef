"""Our registration of clouds as a tool's: what its process is told is enough for the field of the library itself."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.peers.adapters.job import Job
from benchmarks.peers.own_points import OwnPointMethod
from benchmarks.peers.tools import FOLDER
from cst_core.models import load_model
from cst_points.cloud import CloudPair
from cst_points.phantom import lung_phantom
from cst_points.plugin import PLUGIN


def test_the_field_is_the_librarys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = lung_phantom(1)[0].pair
    pair = CloudPair(whole.fixed[:90], whole.moving[:180], whole.origin, whole.half_extent)
    method = OwnPointMethod("copd-fold1", 1)
    files = {name: str(tmp_path / f"{name}.npy") for name in ("fixed", "moving")}
    for name, file in files.items():
        np.save(file, getattr(pair, name).double().numpy())
    told = method.options_of(pair)
    job = Job(files["fixed"], files["moving"], str(tmp_path), torch.get_num_threads(), options=told)
    monkeypatch.syspath_prepend(FOLDER / "adapters")
    adapter = importlib.import_module("cst_self_points")
    found = adapter.register(job, adapter.load(job))
    model = load_model("copd-fold1", PLUGIN, "cpu")
    expected = model.backend.register(model.network, pair).refined
    assert np.allclose(found.field, expected.numpy(), atol=1e-3)
    assert found.settings == {"model": "copd-fold1"}


def test_its_process_is_ours(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    method = OwnPointMethod("lung", 1)
    environment = method.environment()
    assert (method.name, str(method.python)) == ("self", sys.executable)
    assert environment["PYTHONPATH"].split(":") == [str(FOLDER.parents[1]), "/elsewhere"]
    assert environment["OMP_NUM_THREADS"] == environment["NUMBA_NUM_THREADS"] == "1"
