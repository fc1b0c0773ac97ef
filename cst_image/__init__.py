"""The image backend: CT and MR volumes, a 3D CNN and coupled convex optimisation (Sec. 3)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cst_image.backend import ImageBackend
    from cst_image.config import ImageConfig
    from cst_image.data import read_dataset
    from cst_image.pair import ImagePair
    from cst_image.phantom import abdomen_phantom

_HOME_OF = {
    "ImageBackend": "backend",
    "ImageConfig": "config",
    "ImagePair": "pair",
    "abdomen_phantom": "phantom",
    "read_dataset": "data",
}

__all__ = ["ImageBackend", "ImageConfig", "ImagePair", "abdomen_phantom", "read_dataset"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
