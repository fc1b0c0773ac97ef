"""A process that is told to end (SIGTERM), by a cluster or a machine that goes down, ends as after Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ended_like_interrupted() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt in the block; in threads other than the main one nothing changes.

    Not for a process of a team: one that waits for another does not hear it, and the launcher would wait as well.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt
