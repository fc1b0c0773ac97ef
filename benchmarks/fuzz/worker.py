"""One reader, one input after the other, in a process of its own that is replaced when it dies."""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import zlib
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from benchmarks.fuzz.mutations import HOSTILE, mutated
from benchmarks.fuzz.readers import Reader
from benchmarks.fuzz.sandbox import Sandbox

SECONDS = 5.0
"""For one file; the slowest valid one takes a fiftieth."""
MEMORY_MB = 300
"""By which the process may grow for one file of a few kilobytes."""
DEAD_SECONDS = 30.0
"""Without a word from the process: it hangs where no signal is heard."""


class Outcome(NamedTuple):
    """What one input did."""

    number: int
    kind: str
    """``read``, the class of a documented error, or ``finding``."""
    text: str = ""
    """Of a finding."""


def content(reader: Reader, seed: int, index: int) -> bytes:
    """The input of this number: the same whatever came before it."""
    if index < len(HOSTILE):
        return HOSTILE[index]
    draw = random.Random(zlib.crc32(f"{reader.name}/{reader.file}/{seed}/{index}".encode()))
    return mutated(draw.choice(reader.seeds), reader.seeds, draw)


def outcomes(reader: Reader, number: int, seed: int) -> Iterator[Outcome]:
    """Of inputs 0 to ``number - 1``; a process that dies or hangs is replaced, and its input is a finding."""
    context = multiprocessing.get_context("fork")
    start = 0
    while start < number:
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=work, args=(reader, seed, start, number, theirs))
        worker.start()
        theirs.close()
        for outcome in received(ours):
            start = outcome.number + 1
            yield outcome
        if start < number:
            worker.join(1.0)
            hangs = worker.is_alive()
            worker.kill()
            worker.join()
            yield Outcome(start, "finding", "hangs" if hangs else f"the process died (exit code {worker.exitcode})")
            start += 1
        worker.join()


def received(connection: Connection) -> Iterator[Outcome]:
    """What the worker sends, until it ends or says nothing any more."""
    try:
        while connection.poll(DEAD_SECONDS):
            yield connection.recv()
    except EOFError:
        return


def work(reader: Reader, seed: int, start: int, stop: int, connection: Connection) -> None:
    """In a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "inside")
        folder.mkdir()
        for file, data in reader.beside.items():
            (folder / file).write_bytes(data)
        sandbox = Sandbox(folder, SECONDS, MEMORY_MB)
        for index in range(start, stop):
            path = folder / reader.file
            path.write_bytes(content(reader, seed, index))
            kind, text = sandbox.try_out(lambda path=path: reader.read(path), path)
            connection.send(Outcome(index, kind, text))
    connection.close()
