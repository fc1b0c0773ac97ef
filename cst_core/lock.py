"""One process a folder."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from cst_core.errors import CstError

LOCK = ".lock"


def lock(folder: Path, name: str = LOCK, shared: bool = False) -> int:
    """Take a folder for this process; ends when the handle that is returned is closed, or with the process.

    Under another ``name`` only a part of it; ``shared`` with others who share it, but with nobody who does not.

    Raises:
        CstError: another process has it, or the file system has no locks.
    """
    handle = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise CstError(
            f"{folder}: is in use by another process (pid {holder}); wait for it, or choose another --out"
        ) from None
    except OSError as error:
        os.close(handle)
        raise CstError(
            f"{folder}: cannot be locked ({error.strerror}); choose --out on a file system that has locks (flock)"
        ) from None
    os.ftruncate(handle, 0)
    if not shared:
        with suppress(OSError):  # only for the message above: a full disk does not take it
            os.write(handle, f"{os.getpid()}\n".encode())
    return handle


def free(path: Path) -> bool:
    """Whether nobody holds a lock file alone at this moment."""
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
