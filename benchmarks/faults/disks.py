"""Small disks in memory that can be filled, or made read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.faults.scene import NotTriedError, Scene

OWN_MOUNTS = "CST_FAULTS_MOUNTS"
"""In the environment of a process that may mount what it likes."""
_SIZE = "16m"


@contextmanager
def disk(scene: Scene) -> Iterator[None]:
    """The scene's folder is a small disk of its own."""
    if OWN_MOUNTS not in os.environ:
        raise NotTriedError("this machine lets nobody mount a disk (unshare --mount)")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=755", "tmpfs", scene.folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", scene.folder], check=True)


@contextmanager
def full(scene: Scene) -> Iterator[None]:
    """Not a byte is left on the disk."""
    other = scene.folder / "OTHER"
    with other.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass
    try:
        yield
    finally:
        other.unlink()


@contextmanager
def read_only(scene: Scene) -> Iterator[None]:
    """For everybody, root as well."""
    subprocess.run(["mount", "-o", "remount,ro", scene.folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", scene.folder], check=True)
