"""The tools for clouds that are compared with: where each comes from, and with which settings it runs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

ENVIRONMENTS_OF_POINTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "pycpd": ("pycpd==2.0.0", "numpy"),
        "probreg": ("probreg==0.3.8", "numpy<2"),
        "open3d": ("open3d-cpu==0.20.0",),
    }
)
"""What pip is told, by the name of the environment; several tools share one."""


class PointTool(NamedTuple):
    """One row of the table."""

    adapter: str
    """A script of `adapters`."""
    environment: str
    source: str
    """Of the settings."""
    options: Mapping[str, Any]
    """As the adapter takes them; lengths in units of the moving cloud's standard deviation, but for rigid ones (mm)."""


_UNIT = "clouds centred and scaled to unit variance, as CPD's paper does"

POINT_TOOLS: Mapping[str, PointTool] = MappingProxyType(
    {
        "cpd": PointTool("cpd_points", "pycpd", f"pycpd's defaults; {_UNIT}", {}),
        "cpd-affine": PointTool(
            "cpd_points", "pycpd", f"pycpd's defaults, affine registration first; {_UNIT}", {"affine": True}
        ),
        "cpd-tuned": PointTool(
            "cpd_points",
            "pycpd",
            f"chosen on pairs of 4DCT, see benchmarks.peers.tune_cpd; {_UNIT}",
            {"alpha": 2.0, "beta": 0.5, "w": 0.1, "tolerance": 1e-5},
        ),
        "bcpd": PointTool("bcpd_points", "probreg", f"probreg's defaults; {_UNIT}", {}),
        "icp": PointTool(
            "rigid_points",
            "open3d",
            "rigid: point-to-point ICP from where the clouds lie, partners within 20 mm, 200 iterations",
            {"way": "icp", "distance": 20.0},
        ),
        "fgr": PointTool(
            "rigid_points",
            "open3d",
            "rigid: FPFH within 30 mm, Fast Global Registration at 10 mm, then ICP at 20 mm",
            {"way": "fgr", "distance": 20.0, "features": 30.0, "coarse": 10.0},
        ),
    }
)
