"""A batch of many pairs in eight shares, one after the other: what all but the registration reads, writes and holds.

    python -m benchmarks.scaling.batch 10000

Goes through `cst_core.register_batch` as `cst register --pairs --shard` does. The pairs are of 200 files of 16 KiB; in
the place of a registration one file is copied. Prints one JSON object. Bytes are those that the process asked for, of a
pair, beyond the 16 KiB that the copy reads and writes; seconds are the processor's, of a pair. The files lie in memory
where there is such a folder: how long a disk takes to say that all is written depends on the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.scaling.points import io_bytes, resident_mb
from cst_core.batch_summary import finished, summarise
from cst_core.formats.pair_list import Listed, read_pairs
from cst_core.models import Model
from cst_core.plugin import RegisterRequest
from cst_core.register_batch import Batch, register_batch
from cst_core.shard import Shard
from cst_image.config import ImageConfig
from cst_image.plugin import ImagePlugin

FILES, BYTES, SHARES = 200, 2**14, 8


class Copying(ImagePlugin):
    """Registers by copying the moving file."""

    def register_files(self, model: Model, request: RegisterRequest, folder: Path) -> Mapping[str, Any]:
        """As little as a result may hold."""
        del model
        (folder / "warped.bin").write_bytes(request.moving.read_bytes())
        return {"initial": {}, "final": {"dice": 0.5}, "seconds": {"total": 0.0}, "notes": [], "files": {}}


def main() -> None:
    """Measure one number of pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        print(json.dumps(simulated(Path(name), options.pairs)))


def simulated(folder: Path, n: int) -> dict[str, Any]:
    """All shares in turn, then all of them again with everything to be kept, and the summary."""
    fill(folder, n)
    plugin = Copying()
    weights = folder / "weights"
    weights.write_bytes(os.urandom(64 * BYTES))
    model = Model(torch.nn.Identity(), plugin.backend(ImageConfig(), "cpu"), ImageConfig(), weights, {}, "copy", {})
    batch = Batch(plugin, model, str(weights), affine=True, device="cpu", resume=True, overwrite=False)
    out = folder / "out"
    start = resident_mb()
    found: dict[str, Any] = {"start_mb": start, "shares": SHARES}
    for what in ("done", "kept"):
        begin, before = time.process_time(), io_bytes()
        for number in range(1, SHARES + 1):
            pairs = read_pairs(folder / "pairs.csv")
            became = register_batch(batch, pairs, out, lambda _: None, Shard(number, SHARES))
            assert set(became.values()) == {what}
        read, written = (after - b for after, b in zip(io_bytes(), before, strict=True))
        # the copy's own, once read and once written
        copied = BYTES * n if what == "done" else 0
        found |= {
            f"{what}_s": (time.process_time() - begin) / n,
            f"{what}_read_bytes": (read - copied) / n,
            f"{what}_written_bytes": (written - copied) / n,
            f"{what}_mb": resident_mb() - start,
        }
    begin, (before, _) = time.process_time(), io_bytes()
    pairs = read_pairs(folder / "pairs.csv")
    assert finished(pairs, out) == n
    assert summarise(pairs, out).complete == n
    found |= {"summary_s": time.process_time() - begin, "summary_read_bytes": (io_bytes()[0] - before) / n}
    return found | {"summary_mb": resident_mb() - start, "peak_mb": resident_mb()}


def fill(folder: Path, n: int) -> list[Listed]:
    """Files of random bytes and the list of the first ``n`` pairs of them."""
    for number in range(FILES):
        (folder / f"s{number:03d}.bin").write_bytes(os.urandom(BYTES))
    lines = [f"{a:03d}_{b:03d},s{a:03d}.bin,s{b:03d}.bin" for a, b in islice(combinations(range(FILES), 2), n)]
    if len(lines) < n:
        raise SystemExit(f"pairs: {FILES} files make {len(lines)} pairs, asked for {n}")
    (folder / "pairs.csv").write_text("\n".join(["id,fixed,moving", *lines]))
    return read_pairs(folder / "pairs.csv")


if __name__ == "__main__":
    main()
