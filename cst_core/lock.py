"""One process a folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from cst_core.errors import CstError

LOCK = ".lock"


def lock(folder: Path) -> int:
    """Take a folder for this process; ends when the handle that is returned is closed, or with the process.

    Raises:
        CstError: another process has it.
    """
    path = folder / LOCK
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise CstError(
            f"{folder}: is in use by another process (pid {holder}); wait for it, or choose another --out"
        ) from None
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return handle
