"""Nearest neighbours three ways: the k-d tree that serves on the CPU, a KeOps reduction, plain torch.

    python benchmarks/neighbours.py [--threads N] [--repeats 3] [--json benchmarks/results/neighbours.json]

Points are uniform in a cube, each asked for its k nearest among all. KeOps' and torch's work does not depend on where
the points lie; the tree's hardly does. KeOps counts its threads by OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import io
import time
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from record import circumstances, fastest, write
from torch import Tensor

from cst_points.knn import keops_works, nearest_keops, nearest_torch, nearest_tree

SIZES = (1300, 3000, 50_000)  # fixed and moving keypoints of a COPDGene pair; a whole lung's vessels
NEIGHBOURS = (10, 40, 256)
MOST_FOR_TORCH = 3000
MOST_INSERTIONS = 1e9  # N^2 k / 256 past this takes KeOps minutes


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3, help="the fastest is reported")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with_keops = keops_works("cpu")
    rows = []
    print(f"{'N':>8}{'k':>6}{'tree, s':>12}{'KeOps, s':>12}{'torch, s':>12}{'compiling, s':>14}")
    for k in NEIGHBOURS:
        compiling = None
        for n in SIZES:
            points = torch.rand(n, 3, generator=torch.Generator().manual_seed(n))
            if with_keops and compiling is None:
                compiling = compile_seconds(points[:300], k)
            row = {"n": n, "k": k, **seconds(points, k, options.repeats, with_keops), "compiling": compiling}
            rows.append(row)
            print(
                f"{n:8d}{k:6d}" + "".join(f"{cell(row[way]):>12}" for way in WAYS) + f"{cell(compiling):>14}",
                flush=True,
            )
    write({"rows": rows, "repeats": options.repeats, "circumstances": circumstances(options.threads)}, options.json)


WAYS = {"tree": nearest_tree, "keops": nearest_keops, "torch": nearest_torch}


def seconds(points: Tensor, k: int, repeats: int, with_keops: bool) -> dict[str, float | None]:
    """Seconds of each way, None where it is left out; all that run must agree on all but ties."""
    n = len(points)
    left_out = {"keops": not with_keops or n * n * k / 256 > MOST_INSERTIONS, "torch": n > MOST_FOR_TORCH}
    expected, found = nearest_tree(points, points, k), {}
    for name, way in WAYS.items():
        if left_out.get(name):
            found[name] = None
            continue
        agree = float((way(points, points, k) == expected).double().mean())
        if agree < 0.999:
            raise RuntimeError(f"{name} disagrees with the tree on {1 - agree:.1%} of the neighbours (N={n}, k={k})")
        found[name] = fastest(lambda way=way: way(points, points, k), repeats)
    return found


def compile_seconds(points: Tensor, k: int) -> float:
    """KeOps' first call for a k, once for all; next to nothing where an earlier run's cache is found."""
    start = time.perf_counter()
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nearest_keops(points, points, k)
    return time.perf_counter() - start


def cell(value: Any) -> str:
    """A figure of the table."""
    return "-" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    main()
