"""Seconds of each step of the image backend, against a textbook version of itself and against what the machine allows.

    python benchmarks/speed_image.py [--sizes 192x160x256 96x80x128] [--threads N] [--repeats 5]
                                     [--json benchmarks/results/speed_image.json]

The paper's network, untrained, on a smooth random volume and its deformed self; no data are needed. A step's floor
is the longer of two times: its operations at the rate of a matrix product, the bytes that it must at least move at the
rate of a copy, both measured in the same run. A multiply-add is two operations. Steps whose data fit into the cache may
be above the floor. ``deviation``: root mean square of the difference from the textbook version, over that of its
values; the JSON has the largest difference as well, which for gradients is large wherever a position rounds into the
next voxel: there linear interpolation has a kink.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numba
import torch
from image_steps import Step, make_pair, steps
from record import circumstances, fastest, peak_mb, write

from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig


def main() -> None:
    """Measure, print tables, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["192x160x256", "96x80x128"], help="voxels")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5, help="the fastest is reported; textbook versions run twice")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    numba.set_num_threads(options.threads)
    result: dict[str, Any] = {"repeats": options.repeats, "circumstances": circumstances(options.threads)}
    for size in options.sizes:
        x, y, z = map(int, size.split("x"))
        result[size] = measure((x, y, z), options.repeats)
    write(result, options.json)


@torch.no_grad()
def measure(shape: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """Every step and one whole pair at one size."""
    backend = ImageBackend(ImageConfig(first_towers=1))  # the paper's network, steps and reach; standardised features
    network, pair = backend.untrained(0).eval(), make_pair(shape)
    whole = fastest(lambda: backend.register(network, pair), 2)
    memory = peak_mb(lambda: backend.register(network, pair))
    machine = rates()
    print(f"{'x'.join(map(str, shape))}: {machine['GFLOP/s']:.0f} GFLOP/s, {machine['GB/s']:.1f} GB/s")
    print(
        f"{'':34}{'s':>9}{'textbook':>10}{'ratio':>8}{'GFLOP':>9}{'MB':>8}{'floor':>8}{'of pair':>9}{'deviation':>11}"
    )
    rows: dict[str, dict[str, float | None]] = {}
    for step in steps(backend, network, pair):
        rows[step.name] = row = measure_step(step, machine, repeats, whole)
        cells = (("s", "9.4f"), ("textbook", "10.3f"), ("ratio", "8.1f"), ("GFLOP", "9.3f"), ("MB", "8.1f"))
        shares = (("share of floor", "8.0%"), ("share of pair", "9.1%"), ("deviation", "11.1e"))
        line = "".join(cell(row[key], form) for key, form in (*cells, *shares))
        print(f"{step.name:34}{line}", flush=True)
    print(f"{'one pair, whole':34}{whole:9.4f}   {memory:.0f} MB\n", flush=True)
    return {"machine": machine, "steps": rows, "pair": {"s": whole, "MB": memory}}


def measure_step(step: Step, machine: dict[str, float], repeats: int, whole: float) -> dict[str, float | None]:
    """One row of the table."""
    found = step.ours().clone()  # compiles; the Adam update goes on in place
    seconds = fastest(step.ours, repeats)
    floor = max(step.operations / machine["GFLOP/s"], 4.0 * step.numbers / machine["GB/s"]) / 1e9
    row: dict[str, float | None] = {
        "s": seconds,
        "GFLOP": step.operations / 1e9,
        "MB": 4.0 * step.numbers / 1e6,
        "share of floor": floor / seconds,
        "share of pair": step.times * seconds / whole if step.times else None,
        "textbook": None,
        "ratio": None,
        "deviation": None,
        "largest deviation": None,
        "largest value": None,
    }
    if step.textbook is not None:
        expected = step.textbook()
        plain = fastest(step.textbook, 2)
        difference = found - expected
        row |= {"textbook": plain, "ratio": plain / seconds, "deviation": float(difference.norm() / expected.norm())}
        row |= {"largest deviation": float(difference.abs().max()), "largest value": float(expected.abs().max())}
    return row


def rates() -> dict[str, float]:
    """What this machine does at most: multiply-adds of a matrix product (two operations each), bytes of a copy."""
    a, memory = torch.rand(1024, 1024), torch.rand(2**26)
    copy = torch.empty_like(memory)
    seconds = fastest(lambda: a @ a, 20), fastest(lambda: copy.copy_(memory), 5)
    return {"GFLOP/s": 2 * len(a) ** 3 / seconds[0] / 1e9, "GB/s": 2 * 4 * len(memory) / seconds[1] / 1e9}


def cell(value: float | None, form: str) -> str:
    """A figure of the table; a dash where there is none."""
    return format("-", f">{form.split('.')[0].rstrip('%ef')}") if value is None else format(value, form)


if __name__ == "__main__":
    main()
