"""Ours under the same conditions as a tool: a process a pair, files in, field out."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from benchmarks.peers.timing_rows import OURS
from benchmarks.peers.tool_method import ToolMethod
from benchmarks.peers.tools import FOLDER, Knob, Settings

_ROOT = FOLDER.parents[1]


class OwnMethod(ToolMethod):
    """`benchmarks.peers.methods.Method` of a trained model."""

    kind = "supervision"

    def __init__(self, model: str, threads: int) -> None:
        """``model``: a shipped name, a run folder or a weights file."""
        self.name, self.threads = OURS, threads
        self.knob = Knob("test_smoothness", 0.65, 0.001, 100.0)
        self.settings = Settings(f"the model {model}", {"model": model}, masks=True)
        self.options = dict(self.settings.options)
        self.adapter = FOLDER / "adapters" / "cst_self.py"
        self.python = sys.executable
        self.requirements = ()

    def environment(self) -> dict[str, str]:
        """The tool's, and where cst lies."""
        return with_cst(super().environment())


def with_cst(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` for an adapter that imports cst."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return dict(environment) | {"PYTHONPATH": path}
