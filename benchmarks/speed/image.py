"""Seconds of each step of the image backend, against a textbook version of itself and against what the machine allows.

    python -m benchmarks.speed.image [--sizes 192x160x256 96x80x128] [--threads N] [--repeats 5]
        [--train-sizes 96x80x128] [--json benchmarks/results/speed_image.json]

The paper's network, untrained, on a smooth random volume and its deformed self; no data are needed. A step's floor
is the longer of two times: its operations at the rate of fused multiply-adds (`machine.py`), the bytes that it must at
least move at the rate of a copy or a sum, all measured in the same run. A multiply-add is two operations. Steps whose
data fit into the cache may be above the floor. ``deviation``: root mean square of the difference from the textbook
version, over that of its values; the JSON has the largest difference as well, which for gradients is large wherever a
position rounds into the next voxel: there linear interpolation has a kink.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numba
import torch

from benchmarks.record import circumstances, fastest, peak_mb, write
from benchmarks.speed.image_steps import steps
from benchmarks.speed.machine import rates
from benchmarks.speed.smooth_pair import make_pair
from benchmarks.speed.step import measured
from cst_core.loss import field_error
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig


def main() -> None:
    """Measure, print tables, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["192x160x256", "96x80x128"], help="voxels")
    parser.add_argument("--train-sizes", nargs="*", default=["96x80x128"], help="of which a training pass is timed")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5, help="the fastest is reported; textbook versions run twice")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    numba.set_num_threads(options.threads)
    result: dict[str, Any] = {"repeats": options.repeats, "circumstances": circumstances(options.threads)}
    for size in options.sizes:
        result[size] = measure(shape_of(size), options.repeats)
    for size in options.train_sizes:
        passed = measure_training(shape_of(size), options.repeats)
        result.setdefault(size, {})["training pass of one pair"] = passed
        print(f"training pass of one pair, {size}: {passed['s']:.3f} s, {passed['MB']:.0f} MB", flush=True)
    write(result, options.json)


def shape_of(size: str) -> tuple[int, int, int]:
    """``192x160x256`` as numbers."""
    x, y, z = map(int, size.split("x"))
    return x, y, z


@torch.no_grad()
def measure(shape: tuple[int, int, int], repeats: int) -> dict[str, Any]:
    """Every step and one whole pair at one size."""
    backend = ImageBackend(ImageConfig(first_towers=1))  # the paper's network, steps and reach; standardised features
    network, pair = backend.untrained(0).eval(), make_pair(shape)
    whole = fastest(lambda: backend.register(network, pair), 2)
    half = ImageBackend(backend.config.model_copy(update={"precision": "bfloat16"}))
    whole_half = fastest(lambda: half.register(network, pair), 2)
    memory = peak_mb(lambda: backend.register(network, pair))
    machine = rates()
    print(f"{'x'.join(map(str, shape))}: {machine['GFLOP/s']:.0f} GFLOP/s, {machine['GB/s']:.1f} GB/s")
    rows = measured(steps(backend, network, pair), machine, repeats, whole)
    print(f"{'one pair, whole':38}{whole:9.4f}   {memory:.0f} MB; in bfloat16 {whole_half:.4f} s\n", flush=True)
    return {"machine": machine, "steps": rows, "pair": {"s": whole, "MB": memory, "bfloat16, s": whole_half}}


def measure_training(shape: tuple[int, int, int], repeats: int) -> dict[str, float]:
    """Prediction, loss and gradient of one pair, as a step of training takes for each of its batch."""
    backend = ImageBackend(ImageConfig(first_towers=1))
    network, pair = backend.new_network(0), make_pair(shape)
    with torch.no_grad():
        label = torch.zeros_like(backend.predict(network, [pair])[0])

    def train() -> None:
        field_error(backend.predict(network, [pair])[0], label, margin=2).backward()

    return {"s": fastest(train, repeats), "MB": peak_mb(train)}


if __name__ == "__main__":
    main()
