"""A disk that does not take a file: full, read-only, or somebody else's."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cst_core.errors import CstError

_FULL = "free space, or choose another folder (--out)"
_FORBIDDEN = "choose another folder (--out), or have the right to use it given to you (chmod, chown)"
_REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: "choose a folder on another disk (--out), or have this one mounted so that it can be written to",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
}


class RefusedError(CstError):
    """The disk is full or read-only, or the rights are missing; names the file or folder and the remedy."""


def refusal(error: OSError, place: Path | None = None) -> RefusedError | None:
    """What to say of an error if it is of this kind, else None.

    Args:
        error: The system's.
        place: What should have been written, where the error does not name a file, as when a disk becomes full.
    """
    remedy = _REMEDIES.get(error.errno or 0)
    where = error.filename or place
    if remedy is None or where is None:
        return None
    # reading is refused too, but never for want of space
    what = "used" if remedy == _FORBIDDEN else "written"
    return RefusedError(f"{os.fsdecode(where)}: cannot be {what} ({os.strerror(error.errno or 0)}); {remedy}")


@contextmanager
def refusals_named(place: Path, hidden: Path | None = None) -> Iterator[None]:
    """Turn such errors in the block into those that are for people.

    Args:
        place: What is being written.
        hidden: Where it is put together; ``place`` is named for what lies in there.

    Raises:
        RefusedError: instead of the system's error.
    """
    try:
        yield
    except OSError as error:
        if hidden is not None and error.filename and Path(os.fsdecode(error.filename)).is_relative_to(hidden):
            error.filename = os.fspath(place)
        if (said := refusal(error, place)) is None:
            raise
        raise said from error
