"""What a run was made with: versions and devices."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata

from cst_core.errors import CstError


def version() -> str:
    """Version of the installed distribution, or ``unknown`` when the sources are used without installing them."""
    try:
        return metadata.version("cst")
    except metadata.PackageNotFoundError:
        return "unknown"


def versions() -> dict[str, str]:
    """Versions that a result may depend on, by name."""
    import numpy
    import torch

    return {
        "cst": version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda or "none",
        "numpy": numpy.__version__,
        "platform": platform.platform(),
    }


def choose_device(wanted: str) -> str:
    """``auto``, ``cpu`` or ``cuda`` -> ``cpu`` or ``cuda``; ``auto`` takes CUDA where there is one.

    Raises:
        CstError: CUDA was asked for where there is none.
    """
    import torch

    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise CstError(f"--device cuda: torch {torch.__version__} finds no CUDA device here; use --device cpu or auto")
    if wanted == "auto":
        return "cuda" if found else "cpu"
    return wanted


def devices() -> dict[str, str]:
    """The devices of this machine: ``cpu`` and, where there is one, ``cuda``, each with its name."""
    import torch

    found = {"cpu": platform.processor() or platform.machine()}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_device_name()
    return found


def compilers() -> dict[str, str]:
    """C++ and CUDA compilers by name: what they say of themselves in a line, and where they are."""
    found = {}
    for name, commands in (("C++ compiler", (os.environ.get("CXX", ""), "g++", "clang++", "c++")), ("nvcc", ("nvcc",))):
        path = next((path for command in commands if command and (path := shutil.which(command))), None)
        found[name] = "none found" if path is None else f"{_first_line([path, '--version'])} ({path})"
    return found


def _first_line(command: list[str]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"does not run: {type(error).__name__}"
    return (said.strip().splitlines() or ["says nothing"])[0]
