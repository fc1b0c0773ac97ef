"""Whether KeOps compiles here: from what is on the disk, or by trying."""

from __future__ import annotations

import os
import shutil
import warnings
from importlib import metadata
from pathlib import Path


def keops_state(check: bool) -> str:
    """In a line: version, compiler, what is compiled already; with ``check`` it compiles a formula, for up to a minute.

    Where it does not compile, plain torch serves instead, slower on large clouds on CUDA; the CPU has no need of it.
    """
    try:
        version = metadata.version("pykeops")
    except metadata.PackageNotFoundError:
        return "not installed"
    if check:
        return f"{version}, {_tried()}"
    compiled = sum(1 for _ in cache_folder(version).rglob("*.so"))
    state = f"{compiled} compiled formulas in its cache" if compiled else "nothing compiled yet"
    if shutil.which(os.environ.get("CXX") or "g++") is None and shutil.which("clang++") is None:
        return f"{version}, {state}, no C++ compiler found: install g++ (plain torch serves meanwhile)"
    return f"{version}, {state}; cst info --check compiles"


def cache_folder(version: str) -> Path:
    """Where KeOps keeps what it compiled, as its own configuration finds it."""
    if given := os.environ.get("KEOPS_CACHE_FOLDER"):
        return Path(given)
    return Path.home() / ".cache" / f"keops{version}"


def _tried() -> str:
    from cst_points.knn import keops_works

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        works = keops_works("cpu")
    return "compiles and computes correctly here" if works else str(caught[-1].message if caught else "does not work")
