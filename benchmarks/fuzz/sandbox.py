"""Calls a reader and sees what it does besides: seconds, memory, files, programs."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cst_core.errors import CstError
from cst_core.formats import itk_trial

_FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "pickle.find_class"),
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"),
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ADDRESSES = 12e9
"""Bytes of address space beyond what there is at first: memory that is asked for and not used does no harm below."""
_NO_MEMORY = ("bad_alloc", "allocate", "out of memory", "Unable to allocate", "failed to allocate")


class TooSlowError(BaseException):
    """Not an `Exception`: readers catch those."""


class Sandbox:
    """For this process, once and for good: audit hooks cannot be taken back."""

    def __init__(self, folder: Path, seconds: float, memory_mb: float) -> None:
        self._folder, self._seconds, self._memory_mb = folder, seconds, memory_mb
        self._watching, self._seen = False, list[str]()
        self._known = {path.name for path in folder.iterdir()}
        sys.addaudithook(self._hear)
        signal.signal(signal.SIGALRM, _too_slow)
        gc.freeze()
        most = int(_pages(0) + _ADDRESSES)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def try_out(self, read: Callable[[], Any], path: Path) -> tuple[str, str]:
        """What ``read`` did with the file at ``path``: kind and text, as the caller counts them."""
        before, error = _peak_mb(), None
        self._seen.clear()
        self._watching = True
        signal.setitimer(signal.ITIMER_REAL, self._seconds)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read()
        except BaseException as raised:
            error = raised
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._watching = False
        left = {one.name for one in self._folder.iterdir()} - self._known - {path.name}
        outside = [one.name for one in self._folder.parent.iterdir() if one != self._folder]
        grown = _peak_mb() - before
        for wrong, text in (
            (bool(self._seen), f"does {', '.join(sorted(set(self._seen)))}"),
            (bool(left or outside), f"leaves {', '.join([*left, *outside])}"),
            (isinstance(error, TooSlowError), f"takes more than {self._seconds:g} s {_place(error)}"),
            (grown > self._memory_mb, f"takes {grown:.0f} MB"),
            (_lacked_memory(error), f"asks for more memory than there is {_place(error)}"),
        ):
            if wrong:
                return "finding", text
        return _kind(error, path)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event == "open":
            name, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and isinstance(name, str | bytes | os.PathLike):
                place = Path(os.fsdecode(name)).absolute()
                if self._folder not in place.parents and place != Path(os.devnull):
                    self._seen.append(f"open {place} for writing")
        elif event == "subprocess.Popen" and _is_trial(arguments):
            return
        elif event in _FORBIDDEN:
            inside = event.startswith("os.") and str(self._folder) in str(arguments[:1])
            if not inside:
                self._seen.append(event)


def _is_trial(arguments: tuple[Any, ...]) -> bool:
    """Whether a program is that of `cst_core.formats.itk_trial`."""
    return arguments[0] == sys.executable and list(arguments[1][1:4]) == ["-P", "-c", itk_trial.PROGRAM]


def _kind(error: BaseException | None, path: Path) -> tuple[str, str]:
    if error is None:
        return "read", ""
    if not isinstance(error, CstError):
        return "finding", f"{type(error).__name__}: {' '.join(str(error).split())[:90]} {_place(error)}"
    said = str(error)
    if "\n" in said or "\r" in said:
        return "finding", f"an error of several lines {_place(error)}"
    if not any(name in said for name in (path.name, str(path.parent), "--set")):
        return "finding", f"an error that names no file {_place(error)}"
    return type(error).__name__, ""


def _lacked_memory(error: BaseException | None) -> bool:
    return any(isinstance(one, MemoryError) or any(w in str(one) for w in _NO_MEMORY) for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__context__


def _place(error: BaseException | None) -> str:
    """The innermost line of ours."""
    deepest = ""
    for one in _chain(error):
        for frame in traceback.extract_tb(one.__traceback__):
            if "cst_" in frame.filename:
                deepest = f"({Path(frame.filename).name}:{frame.lineno} {frame.name})"
    return deepest


def _too_slow(*_: object) -> None:
    raise TooSlowError


def _pages(which: int) -> float:
    return int(Path("/proc/self/statm").read_text().split()[which]) * resource.getpagesize()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3
