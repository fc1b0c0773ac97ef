"""Memory that is freed and taken again at every step is kept by the process instead of being given back to the system.

By default glibc gives large blocks back as soon as they are freed, so that every step has its pages made and cleared
anew: a quarter of a training's processor time on a virtual machine. Blocks beyond 32 MB, the most that glibc lets one
choose, are given back as ever, so that large volumes need no more memory.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # <malloc.h>
_OPTIONS = ((_MMAP_THRESHOLD, 32 * 2**20), (_TRIM_THRESHOLD, 2**30), (_TOP_PAD, 64 * 2**20))
_CHOSEN = ("MALLOC_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Tell glibc so, for the whole process; whether it was told.

    Not with another C library, nor where the environment says itself how memory is to be taken (``MALLOC_...``,
    ``GLIBC_TUNABLES``), nor where another allocator is loaded in glibc's place (``LD_PRELOAD``).
    """
    if sys.platform != "linux" or any(name.startswith(_CHOSEN) for name in os.environ) or "LD_PRELOAD" in os.environ:
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return all(library.mallopt(option, value) == 1 for option, value in _OPTIONS)
