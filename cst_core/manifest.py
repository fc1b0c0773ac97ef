"""What a run says of itself: ``manifest.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cst_core.errors import CheckpointError, shortened

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Origin:
    """What a run is made from."""

    backend: str
    preset: str
    data: str
    """``phantom`` or an absolute path, so that the run can be continued from anywhere."""
    fingerprint: str
    """SHA-256 of the data, `cst_core.plugin.Dataset`."""
    fold: int | None
    seed: int
    device: str
    n_train: int = 0
    n_test: int = 0


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        Origin(**manifest["origin"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: is missing, damaged or of another version ({shortened(repr(error))}); the weights "
            "beside it can still be used as files with --model"
        ) from None
    return manifest
