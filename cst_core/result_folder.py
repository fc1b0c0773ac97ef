"""Folders that appear under their name only when complete."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cst_core.errors import ConfigError
from cst_core.files import sync
from cst_core.refusal import refusals_named

RESULT = "register.json"
"""What makes a folder a result of ``cst register``."""
_STAGING = re.compile(r"\.(.+)\.(\d+)\.(partial|replaced)")


def check_free(out: Path, overwrite: bool) -> None:
    """Raise ConfigError unless ``out`` may be written: it is not there, is an empty folder, or may be replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or not (out / RESULT).is_file():
        raise ConfigError(f"--out {out}: exists and is no result of cst register; name another folder")
    if not overwrite:
        raise ConfigError(f"--out {out}: exists; name another folder, or pass --overwrite to replace it")


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``out`` that takes its name, and its place, once the block ends without an error.

    An exception removes it; a kill leaves it for `remove_stale`. What stood under the name stays until then.
    """
    staging, old = (out.with_name(f".{out.name}.{os.getpid()}.{kind}") for kind in ("partial", "replaced"))
    with refusals_named(out, staging):
        out.parent.mkdir(parents=True, exist_ok=True)
        # a killed process may have had our number: in containers all have the same
        _restore_or_remove(old, out)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
            for path in staging.rglob("*"):
                if path.is_file():
                    sync(path)
            if out.exists():
                os.replace(out, old)
            os.replace(staging, out)
        finally:
            _restore_or_remove(old, out)
            shutil.rmtree(staging, ignore_errors=True)


def remove_stale(parent: Path, *names: str) -> None:
    """Remove what killed processes left of ``parent/name``, of whatever name if none is given.

    An old result that had lost its name gets it back.
    """
    wanted = set(names)
    with os.scandir(parent) as entries:
        stale = [(entry.name, found) for entry in entries if (found := _STAGING.fullmatch(entry.name))]
    for name, found in stale:
        path = parent / name
        if (wanted and found[1] not in wanted) or not path.is_dir() or _alive(int(found[2])):
            continue
        if found[3] == "replaced":
            _restore_or_remove(path, parent / found[1])
        else:
            shutil.rmtree(path, ignore_errors=True)


def _restore_or_remove(replaced: Path, out: Path) -> None:
    if replaced.exists() and not out.exists():
        os.replace(replaced, out)
    else:
        shutil.rmtree(replaced, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
