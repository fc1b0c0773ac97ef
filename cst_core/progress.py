"""Training progress for people: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from cst_core.event import Event

LINE_EVERY = 10.0  # seconds between two plain lines


class Pace:
    """Pairs a second and time left, from the events of this process alone."""

    def __init__(self, stages: int, batch_size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._stages = stages
        self._batch_size = batch_size
        self._clock = clock
        self._anchor: tuple[int, float, int] | None = None  # stage, time and step of its first loss
        self._seconds_a_step: float | None = None

    def update(self, event: Event) -> None:
        """Take an event into account; only steps count."""
        if event.kind != "step":
            return
        if self._anchor is None or self._anchor[0] != event.stage:
            self._anchor = (event.stage, self._clock(), event.done)
        elif event.done > self._anchor[2]:
            self._seconds_a_step = (self._clock() - self._anchor[1]) / (event.done - self._anchor[2])

    @property
    def pairs_a_second(self) -> float | None:
        """Training pairs; None until two losses were read."""
        return self._batch_size / self._seconds_a_step if self._seconds_a_step else None

    def seconds_left(self, event: Event) -> float | None:
        """Of all stages' steps after this event of kind ``step``; labels not counted."""
        if self._seconds_a_step is None:
            return None
        return self._seconds_a_step * (event.total - event.done + (self._stages - event.stage) * event.total)


class Progress(Protocol):
    """A context manager that shows events as they come."""

    def __enter__(self) -> Progress: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def line(self, text: str) -> None:
        """A line that stays."""
        ...

    def watch(self, event: Event) -> None:
        """Show an event."""
        ...


class PlainProgress:
    """A line at most every ten seconds."""

    def __init__(self, pace: Pace, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._pace, self._say, self._clock = pace, say, clock
        self._said = clock()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to tidy up."""

    def line(self, text: str) -> None:
        """A line that stays."""
        self._say(text)
        self._said = self._clock()

    def watch(self, event: Event) -> None:
        """Say where training stands, unless something was said a moment ago."""
        self._pace.update(event)
        if event.kind != "stage" and self._clock() - self._said >= LINE_EVERY:
            self.line(describe(event, self._pace))


class LiveProgress:
    """A bar that moves, with stage, iteration, loss, pairs a second and time left."""

    def __init__(self, pace: Pace, console: Console) -> None:
        self._pace = pace
        self._bar = Bar(BarColumn(bar_width=30), TextColumn("{task.description}", markup=False), console=console)
        self._task = self._bar.add_task("reading", total=None)

    def __enter__(self) -> LiveProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def line(self, text: str) -> None:
        """A line that stays, above the bar."""
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def watch(self, event: Event) -> None:
        """Move the bar."""
        self._pace.update(event)
        if event.kind != "stage":
            self._bar.update(
                self._task, total=event.total, completed=event.done, description=describe(event, self._pace)
            )


def open_console() -> Console:
    """Standard output; a table in a file or a pipe is not squeezed into a terminal's width."""
    return Console() if sys.stdout.isatty() else Console(width=160)


def describe(event: Event, pace: Pace) -> str:
    """Where training stands, in a line."""
    if event.kind == "label":
        return f"stage {event.stage}: labels {event.done}/{event.total}"
    text = f"stage {event.stage}: iteration {event.done}/{event.total}, loss {event.value:.3f} {event.unit}".rstrip()
    if (rate := pace.pairs_a_second) is not None:
        text += f", {rate:.1f} pairs/s"
    if (left := pace.seconds_left(event)) is not None:
        text += f", {clock_time(left)} left"
    return text


def clock_time(seconds: float) -> str:
    """``h:mm:ss``, or ``m:ss`` below an hour."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
