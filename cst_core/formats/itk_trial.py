"""Files that only ITK reads are read by a process of its own first.

On damaged files ITK's NRRD, MetaImage and HDF5 libraries may crash (segmentation faults), take all memory, or print
pages to the terminal. What a process that may fail has read to its end, this one can read.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cst_core.errors import DataError
from cst_core.formats.numpy_archive import DEFLATE_LIMIT

SECONDS = 600
_FLOOR = 4 << 30
"""Bytes of address space for Python, ITK and small files."""
_DETACHED = (".nhdr", ".mhd")
PROGRAM = """
import resource, sys, SimpleITK
least = min(limit for limit in (int(sys.argv[3]), *resource.getrlimit(resource.RLIMIT_AS)) if limit > 0)
resource.setrlimit(resource.RLIMIT_AS, (least, least))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
getattr(SimpleITK, sys.argv[1])(sys.argv[2])
"""


def try_itk(path: Path, function: str) -> None:
    """Call ``function`` of SimpleITK on the file elsewhere, within the memory that a file of its size may need.

    Raises:
        DataError: it failed, crashed, or did not end within minutes.
    """
    # -P: no module of that name that lies in the current folder
    command = [sys.executable, "-P", "-c", PROGRAM, function, str(path.absolute()), str(_FLOOR + 4 * _most(path))]
    try:
        quiet = subprocess.DEVNULL
        done = subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise DataError(f"{path}: ITK reads it for more than {SECONDS // 60} minutes; write it again") from None
    if done.returncode:
        how = "" if done.returncode > 0 else f", whose reader crashes on it (signal {-done.returncode})"
        raise DataError(f"{path}: nothing that ITK reads, or a damaged file{how}; write or copy it again")


def _most(path: Path) -> int:
    """Bytes that the file, or the one that it names in its folder, can unpack to."""
    files = path.parent.iterdir() if path.suffix in _DETACHED else [path]
    return DEFLATE_LIMIT * sum(file.stat().st_size for file in files if file.is_file())
