"""Files that appear under their name only when complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cst_core.errors import ConfigError, CstError
from cst_core.refusal import RefusedError, refusal

PARTIAL = ".*.partial"
"""What a process leaves that is killed in `replace_atomically` or `remove_folder`."""


@contextmanager
def replace_atomically(path: Path, suffix: str = "") -> Iterator[Path]:
    """Yield a sibling to write to; it takes the place of ``path`` only once the block ends without an error.

    A full disk, a kill or an exception leaves the old file as it was. The data is on the disk before the name is.
    ``suffix`` ends the sibling's name, for libraries that choose a format by it.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial{suffix}")
    try:
        yield partial
        sync(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Remove a folder whole: it loses its name first, so that a kill leaves no part of it under that name."""
    gone = path.with_name(f".{path.name}.{os.getpid()}.partial")
    os.replace(path, gone)
    shutil.rmtree(gone, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left anywhere in a folder; nobody else may be writing there."""
    for leftover in list(folder.rglob(PARTIAL)):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)  # of a folder that is gone


def sync(path: Path) -> None:
    """Wait until what was written to ``path`` is on the disk: a full one is often noticed only here."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def check_place(option: str, path: Path | None) -> None:
    """Raise ConfigError, before anything is computed, where ``path`` is a folder or has none to lie in."""
    if path is None:
        return
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{option} {path}: the folder {path.parent} does not exist; make it first")
    if path.is_dir():
        raise ConfigError(f"{option} {path}: is a folder; name a file")


def write_atomically(path: Path, data: bytes, previous: Path | None = None) -> None:
    """Write a whole file, or nothing; with ``previous`` the file that was there before is kept under that name.

    Raises:
        CstError: the disk is full or the folder cannot be written to (`RefusedError`), or something else keeps it from
            that; what was there before is still there.
    """
    try:
        with replace_atomically(path) as partial:
            partial.write_bytes(data)
            if previous is not None and path.exists():
                sync(partial)  # the good file moves only once there is another good one
                os.replace(path, previous)
    except OSError as error:
        kept = previous if previous is not None and not path.exists() else path
        still = f"; {kept} is as it was" if kept.exists() else ""
        reason = error.strerror or str(error)
        error.filename = os.fspath(path)  # not that of the sibling, which nobody has asked for
        if (said := refusal(error)) is not None:
            raise RefusedError(f"{said}{still}") from error
        raise CstError(f"{path}: cannot be written ({reason}); choose another folder{still}") from error
