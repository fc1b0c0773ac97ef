from __future__ import annotations

import os
import signal
import threading

import pytest

from cst_core.termination import ended_like_interrupted


def test_sigterm_interrupts_and_is_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), ended_like_interrupted():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_are_left_alone():
    done = list[bool]()

    def work() -> None:
        with ended_like_interrupted():
            done.append(signal.getsignal(signal.SIGTERM) is before)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
