"""``cst info``: what this installation consists of."""

from __future__ import annotations

import os
from typing import Any

from cst_core import plugins
from cst_core.environment import devices, versions
from cst_core.errors import CstError


def collect() -> dict[str, dict[str, Any]]:
    """Versions, devices, data, backends with their presets and shipped models, and preparation commands, by name.

    A backend that cannot be imported is listed with its error.
    """
    return {
        "versions": versions(),
        "devices": devices(),
        "data": {"CST_DATA": os.environ.get("CST_DATA", "not set: the built-in phantom")},
        "backends": {name: _backend(name) for name in plugins.found(plugins.BACKENDS)},
        "prepare": {name: plugins.distribution(entry) for name, entry in plugins.found(plugins.PREPARE).items()},
    }


def _backend(name: str) -> dict[str, Any]:
    by = plugins.distribution(plugins.found(plugins.BACKENDS)[name])
    try:
        plugin = plugins.load(name)
    except CstError as error:
        return {"distribution": by, "error": str(error)}
    models = {model: str(file) for model, file in plugin.shipped().items()}
    return {"distribution": by, "presets": list(plugin.presets), "models": models}
