"""Deformable registration by cyclical self-training; knows no modality.

What is named here is imported on first use, so that ``cst --help`` stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cst_core.backend import Backend, Registration
    from cst_core.config import Settings, TrainConfig
    from cst_core.errors import CheckpointError, ConfigError, CstError, DataError
    from cst_core.evaluation import evaluate
    from cst_core.event import Event
    from cst_core.field import DisplacementField, Grid
    from cst_core.labels import PseudoLabels
    from cst_core.models import Model, load_model, save_model
    from cst_core.plugin import BackendPlugin, Dataset, EvalCase, Landmarks, PairScore, Preset
    from cst_core.runs import Run
    from cst_core.snapshots import Memory, Snapshot
    from cst_core.training import NotFiniteError, TrainResult, self_train

_HOMES = {
    "backend": ("Backend", "Registration"),
    "config": ("Settings", "TrainConfig"),
    "errors": ("CheckpointError", "ConfigError", "CstError", "DataError"),
    "evaluation": ("evaluate",),
    "field": ("DisplacementField", "Grid"),
    "labels": ("PseudoLabels",),
    "models": ("Model", "load_model", "save_model"),
    "plugin": ("BackendPlugin", "Dataset", "EvalCase", "Landmarks", "PairScore", "Preset"),
    "runs": ("Run",),
    "snapshots": ("Memory", "Snapshot"),
    "event": ("Event",),
    "training": ("NotFiniteError", "TrainResult", "self_train"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Backend",
    "BackendPlugin",
    "CheckpointError",
    "ConfigError",
    "CstError",
    "DataError",
    "Dataset",
    "DisplacementField",
    "EvalCase",
    "Event",
    "Grid",
    "Landmarks",
    "Memory",
    "Model",
    "NotFiniteError",
    "PairScore",
    "Preset",
    "PseudoLabels",
    "Registration",
    "Run",
    "Settings",
    "Snapshot",
    "TrainConfig",
    "TrainResult",
    "evaluate",
    "load_model",
    "save_model",
    "self_train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
