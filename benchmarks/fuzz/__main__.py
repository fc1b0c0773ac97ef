"""Damaged, foreign and hostile files into every reader: nothing may come out but an error that says what is wrong.

    python -m benchmarks.fuzz [--inputs 100000] [--seed 0] [--only WORD] [--json benchmarks/results/fuzz.json]

Valid files are damaged (`mutations.py`) and read by every reader (`readers.py`), each in a process of its own
that may write nowhere but in its folder (audit hook, and the folder is looked at), has little more memory than it began
with, and a few seconds a file. Counted are files that could be read all the same and errors by their class; anything
else is a finding: another exception, an error that does not name the file in one line, seconds, memory, files, programs
started, a crash. Exit code 1 if there is any; ``--keep FOLDER`` keeps their inputs. The same seed makes the same files.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from benchmarks.fuzz.readers import Reader, readers
from benchmarks.fuzz.worker import MEMORY_MB, SECONDS, content, outcomes
from benchmarks.record import circumstances, write


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
            findings[outcome.text] = outcome.number
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
                name = f"{reader.name.replace(' ', '-').replace('/', '-')}-{outcome.number}-{reader.file}"
                (keep / name).write_bytes(content(reader, seed, outcome.number))
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


if __name__ == "__main__":
    main()
