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

SECONDS = 60.0
"""For a small file; a damaged one may keep ITK in a loop."""
_BYTES_A_SECOND = 5e6
"""A large file has more time; even packed ones are read several times as fast."""
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
    command = [
        sys.executable,
        "-P",
        "-c",
        PROGRAM,
        function,
        str(path.absolute()),
        str(_FLOOR + 4 * DEFLATE_LIMIT * _size(path)),
    ]
    quiet, limit = subprocess.DEVNULL, SECONDS + _size(path) / _BYTES_A_SECOND
    try:
        done = subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise DataError(f"{path}: ITK reads it for more than {limit:.0f} s; write or copy it again") from None
    if done.returncode:
        how = "" if done.returncode > 0 else f", whose reader crashes on it (signal {-done.returncode})"
        raise DataError(f"{path}: nothing that ITK reads, or a damaged file{how}; write or copy it again")


def _size(path: Path) -> int:
    """Bytes of the file, and of the one that it names in its folder."""
    files = path.parent.iterdir() if path.suffix in _DETACHED else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
