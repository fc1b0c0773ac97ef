"""Freed memory is kept: taking the same block again makes no new pages."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource
from cst_core.allocator import keep_freed_memory

kept = {keep} and keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    blocks = [b"x" * 2**24 for _ in range(4)]
    del blocks
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: bool, **environment: str) -> tuple[str, int]:
    """Whether memory is kept, and pages made while four blocks of 16 MB are taken and freed twenty times."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_PRE"))}
    run = subprocess.run(
        [sys.executable, "-c", FAULTS.format(keep=keep)],
        env=clean | environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    kept, pages = run.stdout.split()
    return kept, int(pages)


@pytest.mark.skipif(not hasattr(os, "confstr") or "glibc" not in str(os.confstr("CS_GNU_LIBC_VERSION")), reason="glibc")
def test_a_block_that_was_freed_is_taken_again():
    kept, pages = faults(keep=True)
    assert kept == "True"
    assert pages < 0.2 * faults(keep=False)[1]
    assert faults(keep=True, MALLOC_TRIM_THRESHOLD_="100000")[0] == "False"  # who chooses is not overruled


def test_other_systems_and_libraries_are_left_alone(monkeypatch):
    from cst_core import allocator

    for name in list(os.environ):
        if name.startswith(("MALLOC_", "GLIBC_", "LD_PRE")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    assert not allocator.keep_freed_memory()
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)
    assert not allocator.keep_freed_memory()
