"""Where training stands, and the file that holds it: a checksum over all, and the one before kept until it is good."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from cst_core.errors import CheckpointError
from cst_core.files import write_atomically


class Snapshot(NamedTuple):
    """Where training stands: enough, with the data and the configuration, to continue to the same result."""

    stage: int
    """The stage in progress, from 1; ``stages + 1`` when all are done."""
    step: int
    """Steps of that stage already taken."""
    teacher: dict[str, Tensor] | None
    """Weights that made the stage's labels; None in stage 1, whose teacher depends on the seed alone."""
    network: dict[str, Tensor]
    optimizer: dict[str, Any]


class Memory(Protocol):
    """Where snapshots go; `cst_core.runs.Run` keeps them in the run folder."""

    def save(self, snapshot: Snapshot) -> None: ...

    def load(self) -> Snapshot | None: ...


def save_snapshot(snapshot: Snapshot, path: Path, previous: Path) -> None:
    """Put a snapshot in the place of the one at ``path``, which stays as ``previous``.

    Raises:
        CstError: it cannot be written; the last one is still there.
    """
    buffer = io.BytesIO()
    torch.save({**snapshot._asdict(), "sha256": _digest(snapshot._asdict())}, buffer)
    write_atomically(path, buffer.getvalue(), previous)


def load_snapshot(path: Path, previous: Path, say: Callable[[str], None] = lambda _: None) -> Snapshot | None:
    """The snapshot at ``path``; the one before where that is damaged; None where neither exists.

    Raises:
        CheckpointError: what there is, is damaged.
    """
    if not path.exists() and not previous.exists():
        return None
    try:
        return _read_snapshot(path)
    except CheckpointError as damage:
        if not previous.exists():
            raise CheckpointError(f"{damage}; {_REMEDY}") from None
        try:
            snapshot = _read_snapshot(previous)
        except CheckpointError as other:
            raise CheckpointError(f"{other}, and so is {path.name}; {_REMEDY}") from None
        if path.exists():
            say(f"{damage}; going on from the one before it, stage {snapshot.stage}, step {snapshot.step}")
        os.replace(previous, path)  # the next save must not put the damaged one in place of the good one
        return snapshot


_REMEDY = (
    "finished stages (stage-*.safetensors) can be used with --model, to train on start a new run with another --out"
)


def _read_snapshot(path: Path) -> Snapshot:
    try:
        if not zipfile.is_zipfile(path):  # torch would unpack a tar archive into a folder
            raise ValueError("no file of torch.save's")
        with warnings.catch_warnings(action="ignore"):  # of pickles that torch has not written
            held = torch.load(path, map_location="cpu", weights_only=True)
        digest = held.pop("sha256")
        snapshot = Snapshot(**held)
    except UnpicklingError:
        reason = "it holds something other than numbers, which is not unpickled: no code is run from it"
    except Exception as error:  # a damaged file fails in ways that no list of exceptions covers
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
    else:
        if digest == _digest(held):
            return snapshot
        reason = "its checksum does not fit what it holds"
    raise CheckpointError(f"{path}: is damaged ({reason})")


def _digest(value: Any) -> str:
    digest = hashlib.sha256()
    _feed(digest.update, value)
    return digest.hexdigest()


def _feed(update: Callable[[bytes], None], value: Any) -> None:
    if isinstance(value, Tensor):
        update(f"{value.dtype}{tuple(value.shape)}".encode())
        update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, dict):
        update(f"{{{len(value)}".encode())
        for key, item in value.items():
            update(repr(key).encode())
            _feed(update, item)
    elif isinstance(value, list | tuple):
        update(f"[{len(value)}".encode())
        for item in value:
            _feed(update, item)
    else:
        update(repr(value).encode())
