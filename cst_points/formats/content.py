"""A file's whole content: read, written under its name only when complete, or refused as damaged."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from cst_core.errors import DataError
from cst_core.files import replace_atomically


def read_bytes(path: Path) -> bytes:
    """The content of a file; `DataError` if it is missing, unreadable or empty."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder where a file is expected; name a file in it") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); check the path and its permissions") from None
    if not data:
        raise DataError(f"{path}: the file is empty (0 bytes); write or copy it again")
    return data


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file under its name once it is complete; `DataError` if the folder is missing or refuses it."""
    if not path.parent.is_dir():
        raise DataError(f"{path}: the folder must exist, found none at {path.parent}; create it first")
    try:
        with replace_atomically(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error}); check the folder's permissions and space") from None


def damaged(path: Path, what: str) -> NoReturn:
    """Raise `DataError`: the content is not what its format demands; ``what`` names rule and value."""
    raise DataError(f"{path}: {what}; the file is damaged or of another format, write or copy it again")
