"""``cst info``: what this installation consists of, and what it finds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from cst_core import plugins
from cst_core.environment import compilers, devices, versions
from cst_core.errors import CstError
from cst_core.plugin import BackendPlugin

PACKAGES = (
    *("torch-geometric", "pykeops", "numba", "scipy", "scikit-image", "nibabel", "SimpleITK", "pydantic"),
    *("safetensors", "matplotlib", "tensorboard", "jinja2", "nitransforms", "antspyx"),
    *("open3d", "open3d-cpu", "triton"),
)
"""Besides those of `cst_core.environment.versions`; some serve a single verb, and may be missing."""


def collect(check: bool = False) -> dict[str, dict[str, Any]]:
    """All there is to tell, as JSON has it; a backend that cannot be imported is listed with its error.

    Args:
        check: also try what takes long, such as compiling.
    """
    loaded = {name: _loaded(name) for name in plugins.found(plugins.BACKENDS)}
    working = {name: plugin for name, plugin in loaded.items() if not isinstance(plugin, CstError)}
    return {
        "versions": versions(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": devices(),
        "compilers": compilers(),
        "checks": {key: said for plugin in working.values() for key, said in _checks(plugin, check).items()},
        "data": _data(working),
        "backends": {name: _backend(name, plugin) for name, plugin in loaded.items()},
        "prepare": {name: plugins.distribution(entry) for name, entry in plugins.found(plugins.PREPARE).items()},
    }


def _loaded(name: str) -> BackendPlugin[Any] | CstError:
    try:
        return plugins.load(name)
    except CstError as error:
        return error


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _checks(plugin: BackendPlugin[Any], check: bool) -> Mapping[str, str]:
    checks: Callable[[bool], Mapping[str, str]] | None = getattr(plugin, "checks", None)
    return checks(check) if checks else {}


def _data(working: Mapping[str, BackendPlugin[Any]]) -> dict[str, Any]:
    folder = os.environ.get("CST_DATA")
    if not folder:
        return {"CST_DATA": "not set: the built-in phantom"}
    path = Path(folder).expanduser()
    if not path.is_dir():
        return {"CST_DATA": folder, "found": "no such folder"}
    kinds = dict[str, str]()
    for name, plugin in working.items():
        recognise = getattr(plugin, "recognise", None)
        said = recognise(path) if callable(recognise) else None
        if isinstance(said, str):
            kinds[name] = said
    return {"CST_DATA": folder, "found": kinds or "nothing that a backend knows"}


def _backend(name: str, plugin: BackendPlugin[Any] | CstError) -> dict[str, Any]:
    by = plugins.distribution(plugins.found(plugins.BACKENDS)[name])
    if isinstance(plugin, CstError):
        return {"distribution": by, "error": str(plugin)}
    models = {model: _model(file) for model, file in plugin.shipped().items()}
    return {"distribution": by, "presets": list(plugin.presets), "models": models}


def _model(file: Path) -> dict[str, Any]:
    """What weights say of themselves: training data, stage, fold, figures; no tensor is read."""
    try:
        with safe_open(file, framework="pt") as stream:
            about = json.loads((stream.metadata() or {}).get("about", "{}"))
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        return {"file": str(file), "error": f"damaged ({error})"}
    if not isinstance(about, dict):
        return {"file": str(file), "error": "damaged (says nothing of itself)"}
    return {"file": str(file), **about}
