"""The points backend: keypoint clouds, a graph CNN and sparse loopy belief propagation (Sec. 3)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cst_points.backend import PointsBackend
    from cst_points.cloud import CloudPair
    from cst_points.config import PointsConfig
    from cst_points.data import read_dataset
    from cst_points.phantom import lung_phantom

_HOME_OF = {
    "CloudPair": "cloud",
    "PointsBackend": "backend",
    "PointsConfig": "config",
    "lung_phantom": "phantom",
    "read_dataset": "data",
}

__all__ = ["CloudPair", "PointsBackend", "PointsConfig", "lung_phantom", "read_dataset"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
