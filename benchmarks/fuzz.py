"""Damaged, foreign and hostile files into every reader: nothing may come out but an error that says what is wrong.

    python -m benchmarks.fuzz [--inputs 100000] [--seed 0] [--only WORD] [--json benchmarks/results/fuzz.json]

Valid files are damaged (`fuzz_mutations.py`) and read by every reader (`fuzz_readers.py`), each in a process of its own
that may write nowhere but in its folder (audit hook, and the folder is looked at), has little more memory than it began
with, and a few seconds a file. Counted are files that could be read all the same and errors by their class; anything
else is a finding: another exception, an error that does not name the file in one line, seconds, memory, files, programs
started, a crash. Exit code 1 if there is any; ``--keep FOLDER`` keeps their inputs. The same seed makes the same files.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import random
import re
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.fuzz_mutations import HOSTILE, mutated
from benchmarks.fuzz_readers import Reader, readers
from benchmarks.fuzz_sandbox import Sandbox
from benchmarks.record import circumstances, write

SECONDS = 5.0
"""For one file; the slowest valid one takes a fiftieth."""
MEMORY_MB = 300
"""By which the process may grow for one file of a few kilobytes."""
DEAD_SECONDS = 30.0
"""Without a word from the process: it hangs where no signal is heard."""


class Outcome(NamedTuple):
    """What one input did."""

    index: int
    kind: str
    """``read``, the class of a documented error, or ``finding``."""
    text: str = ""
    """Of a finding."""


def main() -> None:
    """Fuzz, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="readers whose name holds this word")
    parser.add_argument("--keep", type=Path, help="inputs of findings are written there")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [reader for reader in readers() if options.only in reader.name]
    rows, began = list[dict[str, Any]](), time.monotonic()
    each = options.inputs / sum(reader.share for reader in chosen)
    print(f"{'reader':32}{'inputs':>8}{'read':>8}{'s':>7}  errors")
    for reader in chosen:
        rows.append(row_of(reader, math.ceil(each * reader.share), options.seed, options.keep))
        print(shown(rows[-1]), flush=True)
    found = sum(len(row["findings"]) for row in rows)
    total = sum(row["inputs"] for row in rows)
    print(f"{total} inputs, {found} findings, {time.monotonic() - began:.0f} s")
    result = {"seed": options.seed, "inputs": total, "findings": found, "rows": rows}
    write(result | {"limits": limits(), "circumstances": circumstances(1)}, options.json)
    sys.exit(1 if found else 0)


def limits() -> dict[str, float]:
    """What a file may take."""
    return {"seconds": SECONDS, "memory_mb": MEMORY_MB}


def row_of(reader: Reader, number: int, seed: int, keep: Path | None) -> dict[str, Any]:
    """Counts and findings of one reader; of findings with the same text one is kept."""
    began = time.monotonic()
    counts, findings, known = Counter[str](), dict[str, int](), set[str]()
    for outcome in outcomes(reader, number, seed):
        counts[outcome.kind] += 1
        what = re.sub(r"0x\w+|\d+|/\S+|'.*?'", "#", outcome.text.split(" (")[0]) + outcome.text.partition(" (")[2]
        if outcome.kind == "finding" and what not in known:
            known.add(what)
            findings[outcome.text] = outcome.index
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
                name = f"{reader.name.replace(' ', '-').replace('/', '-')}-{outcome.index}-{reader.file}"
                (keep / name).write_bytes(content(reader, seed, outcome.index))
    return {
        "reader": reader.name,
        "file": reader.file,
        "inputs": number,
        "read": counts.pop("read", 0),
        "errors": dict(sorted(counts.items())),
        "seconds": round(time.monotonic() - began, 1),
        "findings": [{"index": index, "what": text} for text, index in findings.items()],
    }


def shown(row: dict[str, Any]) -> str:
    """One line, and one for each finding."""
    errors = ", ".join(f"{kind} {count}" for kind, count in row["errors"].items())
    name = f"{row['reader']} {row['file'][row['file'].find('.') :]}" if "volume" in row["reader"] else row["reader"]
    lines = [f"{name:32}{row['inputs']:8d}{row['read']:8d}{row['seconds']:7.1f}  {errors}"]
    return "\n".join(lines + [f"    {one['index']}: {one['what']}" for one in row["findings"]])


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
            start = outcome.index + 1
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


if __name__ == "__main__":
    main()
