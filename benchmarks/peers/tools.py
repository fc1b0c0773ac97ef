"""The tools that are compared with: where each comes from, and with which settings it runs on which kind of data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parent
ENVIRONMENTS = FOLDER / ".environments"


class Knob(NamedTuple):
    """A method's own parameter of regularisation: the larger, the smoother the field."""

    name: str
    default: float
    low: float
    high: float


class Settings(NamedTuple):
    """How a tool runs on one kind of data."""

    source: str
    """Of the settings."""
    options: Mapping[str, Any]
    """As the tool's adapter takes them."""
    masks: bool = False
    """Whether it is told where a scan has data; else what lies outside has the nearest value inside."""


@dataclass(frozen=True)
class Tool:
    """One row of the table."""

    environment: str
    """Which of `ENVIRONMENTS` it runs in; tools that share one have the same requirements."""
    adapter: str
    """A script of `adapters`."""
    requirements: tuple[str, ...]
    """For pip; "torch" stands for the requirement that `install` is given."""
    knob: Knob
    small: Settings
    """For small anatomy at 1 mm (preset small)."""
    coarse: Settings
    """For an abdomen at 4 mm (every other preset)."""

    def settings(self, preset: str) -> Settings:
        """By the preset that makes the working volumes."""
        return self.small if preset == "small" else self.coarse


_ALIGNED = "; no affine step, as the scans are aligned affinely"
_NCC = {"metric": "NCC 2x2x2", "affine_metric": "NCC 2x2x2", "iterations": "100x50x10", "step": 0.5}
_MORE = "100, 70 and 20 iterations instead of 40, 20 and 0"
_ANTS = {"type_of_transform": "SyN", "reg_iterations": (100, 70, 20), "initial_transform": "Identity"}
_MI = f"ANTsPy's SyN by mutual information, {_MORE}"
_CC = {"syn_metric": "CC", "syn_sampling": 4}
_CC_SOURCE = f"ANTsPy's SyN by cross-correlation of radius 4, {_MORE}"
_GREEDY = "Greedy's documentation: NCC 2x2x2, 100x50x10, step 0.5, default smoothing; affine by the same metric"
_DIPY = "DIPY's syn_registration: CC of radius 4, levels 10, 10, 5; affine pipeline without the centres of mass"
_SYN = {"pipeline": ["translation", "rigid", "affine"], "sigma_diff": 2.0, "radius": 4, "level_iters": [10, 10, 5]}
_ELASTIX = "elastix's default parameter maps: mutual information, B-splines of 10 mm"
_CONVEX = "convexAdam's defaults, MIND of radius 1 and dilation 2"

TOOLS: Mapping[str, Tool] = MappingProxyType(
    {
        "greedy": Tool(
            "greedy",
            "greedy_3d",
            ("picsl_greedy==1.4.0.3",),
            Knob("sigma of the update, voxels", 1.732, 0.5, 8.0),
            Settings(_GREEDY, _NCC, masks=True),
            Settings(_GREEDY + _ALIGNED, {**_NCC, "affine_metric": None}),
        ),
        "ants": Tool(
            "ants",
            "ants_syn",
            ("antspyx==0.6.3",),
            Knob("flow_sigma, voxels", 3.0, 0.5, 16.0),
            Settings(_MI, _ANTS, masks=True),
            Settings(_MI + _ALIGNED, {**_ANTS, "type_of_transform": "SyNOnly"}),
        ),
        "ants-cc": Tool(
            "ants",
            "ants_syn",
            ("antspyx==0.6.3",),
            Knob("flow_sigma, voxels", 3.0, 0.5, 16.0),
            Settings(_CC_SOURCE, {**_ANTS, **_CC}, masks=True),
            Settings(_CC_SOURCE + _ALIGNED, {**_ANTS, **_CC, "type_of_transform": "SyNOnly"}),
        ),
        "elastix": Tool(
            "elastix",
            "elastix_bspline",
            ("itk-elastix==0.25.4",),
            Knob("weight of the bending energy", 1.0, 1e-3, 1e4),
            Settings(_ELASTIX, {}, masks=True),
            Settings(_ELASTIX + _ALIGNED, {"affine": None}),
        ),
        "dipy": Tool(
            "dipy",
            "dipy_syn",
            ("dipy==1.12.1",),
            Knob("sigma_diff, voxels", 2.0, 0.5, 16.0),
            Settings(_DIPY, _SYN),  # with masks its affine step goes astray
            Settings(_DIPY + _ALIGNED, {**_SYN, "pipeline": []}),
        ),
        "convexadam": Tool(
            "convexadam",
            "convex_adam",
            ("convexAdam==0.2.0", "torch"),
            Knob("lambda_weight", 1.25, 0.01, 1000.0),
            Settings(f"{_CONVEX}; grid of 4 voxels instead of 6 as the anatomy is small", {"grid_sp": 4}),
            Settings(f"{_CONVEX}; grid of 3 voxels, the 12 mm that 6 voxels are at 2 mm", {"grid_sp": 3}),
        ),
        "deeds": Tool(
            "deeds",
            "deeds_bcv",
            ("nibabel", "scipy"),
            Knob("-a", 1.6, 0.1, 100.0),
            Settings(
                "deedsBCV's documentation, steps of the last three levels", {"G": "6x5x4", "L": "6x5x4", "Q": "3x2x1"}
            ),
            Settings("deedsBCV's defaults", {}),
        ),
    }
)
