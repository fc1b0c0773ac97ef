"""Ours on clouds under the same conditions as a tool: a process a pair, files in, field out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.peers.own_method import with_cst
from benchmarks.peers.point_methods import PointToolMethod
from benchmarks.peers.point_tools import PointTool
from benchmarks.peers.timing_rows import OURS
from benchmarks.peers.tool_method import environment_of
from cst_points.cloud import CloudPair


class OwnPointMethod(PointToolMethod):
    """`benchmarks.peers.point_methods.PointMethod` of a trained model."""

    kind = "supervision"

    def __init__(self, model: str, threads: int) -> None:
        """``model``: a shipped name, a run folder or a weights file."""
        self.name, self.threads, self.options = OURS, threads, {"model": model}
        self.tool = PointTool("cst_self_points", "", f"the model {model}", self.options)
        self.python = Path(sys.executable)

    def options_of(self, pair: CloudPair) -> dict[str, Any]:
        """The model, and the pair's frame, which its clouds do not tell."""
        return self.options | {"origin": pair.origin.tolist(), "half_extent": pair.half_extent.tolist()}

    def environment(self) -> dict[str, str]:
        """A tool's, and where cst lies."""
        return with_cst(environment_of(self.threads))
