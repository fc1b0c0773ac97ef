from __future__ import annotations

import io

from rich.console import Console

from cst_core.event import Event
from cst_core.progress import LiveProgress, Pace, PlainProgress, clock_time


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def step(done: int, stage: int = 1) -> Event:
    return Event("step", stage, done, 100, 1.5, 1e-3)


def test_pace():
    clock = Clock()
    pace = Pace(stages=3, batch_size=4, clock=clock)
    pace.update(step(50))  # a resumed run: those fifty took no time here
    assert pace.pairs_a_second is None
    clock.now = 10.0
    pace.update(step(70))
    assert pace.pairs_a_second == 8.0
    assert pace.seconds_left(step(70)) == 0.5 * (30 + 200)
    clock.now = 500.0
    pace.update(step(20, stage=2))  # making labels is not counted as steps
    assert pace.pairs_a_second == 8.0


def test_a_line_at_most_every_ten_seconds():
    clock, said = Clock(), []
    with PlainProgress(Pace(3, 4, clock), said.append, clock) as progress:
        for second in range(0, 30, 2):
            clock.now = float(second)
            progress.watch(step(second))
        progress.line("stage 1: done")
    assert said == [
        "stage 1: iteration 10/100, loss 1.500 mm, 4.0 pairs/s, 4:50 left",
        "stage 1: iteration 20/100, loss 1.500 mm, 4.0 pairs/s, 4:40 left",
        "stage 1: done",
    ]


def test_live_bar():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with LiveProgress(Pace(3, 4), console) as progress:
        progress.watch(Event("label", 1, 3, 7, 0.1))
        progress.watch(step(40))
        progress.line("stage [1]: done")
    text = console.file.getvalue()
    assert "iteration 40/100, loss 1.500 mm" in text
    assert "stage [1]: done" in text


def test_clock_time():
    assert [clock_time(s) for s in (0.4, 61.0, 3725.0)] == ["0:00", "1:01", "1:02:05"]
