"""Seconds and memory of one registration of keypoints: parts of two presets, each step of ``best`` and its floor.

    python -m benchmarks.speed.points [--data FOLDER] [--threads N] [--points N]
        [--json benchmarks/results/speed_points.json]

One pair of the size of the COPDGene cases: the phantom's first, or the first of the public keypoint release. Floors,
textbook versions and deviations as `image.py` has them; the published message loop in plain torch runs whole too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numba
import torch
from torch import Tensor

from benchmarks.record import circumstances, fastest, peak_mb, write
from benchmarks.speed.machine import rates
from benchmarks.speed.point_steps import FUSED, steps
from benchmarks.speed.step import Row, measured
from benchmarks.speed.textbook_points import published_loop
from cst_core.loss import field_error
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.config import PRESETS, PointsConfig
from cst_points.data import read_dataset
from cst_points.graph import message_graph
from cst_points.lbp import beliefs, data_cost, nearest_candidates, read_out
from cst_points.network import cloud_graph
from cst_points.refine import refine

STEPS_OF = "best"
"""The preset whose steps are held against their floors."""


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="phantom", help="phantom, or the folder of the public keypoint release")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5, help="the fastest is reported; the plain loop runs once")
    parser.add_argument("--points", type=int, help="of both clouds, the first so many; default: all")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    numba.set_num_threads(options.threads)
    case = read_dataset(options.data).test[0]
    pair = first_points(case.pair, options.points)
    small = first_points(pair, 200)
    print(f"{case.id}: {len(pair.fixed)} fixed, {len(pair.moving)} moving keypoints; {options.threads} threads")
    presets: dict[str, dict[str, float]] = {}
    for name in ("paper", "best"):
        backend = PointsBackend(PointsConfig(**PRESETS[name].backend))
        measure(backend, small, 1)  # compiles
        presets[name] = measure(backend, pair, options.repeats)
    print(f"{'seconds':48}{'paper':>12}{'best':>12}")
    for part, value in presets["paper"].items():
        print(f"{part:48}{value:12.4g}{presets['best'][part]:12.4g}")
    machine = rates()
    print(f"{machine['GFLOP/s']:.0f} GFLOP/s, {machine['GB/s']:.1f} GB/s")
    rows = measure_steps(pair, machine, options.repeats, presets[STEPS_OF]["register, whole"])
    loop = message_loop(pair, machine, options.repeats)
    for key, value in loop.items():
        print(f"{key:48}{value:12.4g}")
    size = {"case": case.id, "fixed": len(pair.fixed), "moving": len(pair.moving), "repeats": options.repeats}
    made = {"machine": machine, "steps": rows, "messages": loop, "circumstances": circumstances(options.threads)}
    write(size | presets | made, options.json)


def first_points(pair: CloudPair, most: int | None) -> CloudPair:
    """The first points of both clouds."""
    return CloudPair(pair.fixed[:most], pair.moving[:most], pair.origin, pair.half_extent)


@torch.no_grad()
def measure_steps(pair: CloudPair, machine: dict[str, float], repeats: int, whole: float) -> dict[str, Row]:
    """Every step of one preset."""
    backend = PointsBackend(PointsConfig(**PRESETS[STEPS_OF].backend))
    return measured(steps(backend, backend.new_network(0).eval(), pair), machine, repeats, whole)


def measure(backend: PointsBackend, pair: CloudPair, repeats: int) -> dict[str, float]:
    """Seconds of each part, and the memory that registration and training need on top of data and program."""
    config, network = backend.config, backend.new_network(0).eval()
    fixed, moving = pair.normalised()
    clouds = ((fixed, config.neighbours_fixed), (moving, config.neighbours_moving))
    with torch.no_grad():
        features = backend.features(network, [pair])[0]
        graphs = [cloud_graph(*cloud) for cloud in clouds]
        graph = message_graph(fixed, config.graph_neighbours)
        near = nearest_candidates(fixed, moving, config.candidates)
        cost = data_cost(*features, near.partner)
        field = backend.solve(pair, *features, backend.effort)

        def messages() -> Tensor:
            belief = beliefs(cost, near.displacement, graph, config.weight, config.rounds)
            return read_out(belief, near.displacement, config.sharpness)

        def train() -> None:
            with torch.enable_grad():
                field_error(backend.predict(network, [pair])[0], field).backward()

        parts: dict[str, Callable[[], object]] = {
            "graphs": lambda: ([cloud_graph(*one) for one in clouds], message_graph(fixed, config.graph_neighbours)),
            "network": lambda: [network([one]) for one in graphs],
            "candidates": lambda: nearest_candidates(fixed, moving, config.candidates),
            "data cost": lambda: data_cost(*features, near.partner),
            "messages and read-out": messages,
            "refinement": lambda: refine(backend, network, pair, features, field),
            "register, whole": lambda: backend.register(network, pair),
            "training pass of one pair": train,
        }
        memory = {f"MB, {name}": peak_mb(parts[name]) for name in ("register, whole", "training pass of one pair")}
        return {name: fastest(part, repeats) for name, part in parts.items()} | memory


@torch.no_grad()
def message_loop(pair: CloudPair, machine: dict[str, float], repeats: int) -> dict[str, float]:
    """The published loop in plain torch, once, on the same threads; and what the arithmetic alone must take."""
    config = PointsConfig(**PRESETS["paper"].backend)
    fixed, moving = pair.normalised()
    near = nearest_candidates(fixed, moving, config.candidates)
    graph = message_graph(fixed, config.graph_neighbours)
    cost = torch.rand(near.partner.shape, generator=torch.Generator().manual_seed(0))
    ours = fastest(lambda: beliefs(cost, near.displacement, graph, config.weight, rounds=4), repeats)
    plain = fastest(lambda: published_loop(cost, near.displacement, graph, config.weight, rounds=5), 1)
    terms = len(graph.source) * cost.shape[1] ** 2 * 4
    least = terms * FUSED / machine["GFLOP/s"] / 1e9
    return {
        "plain torch, published loop, 5 rounds, s": plain,
        "ours, the same answer in 4 rounds, s": ours,
        "ratio": plain / ours,
        "ratio a round": plain / 5 / (ours / 4),
        "terms: edges x K x K x 4": terms,
        "s of its multiply-adds": least,
        "share of that rate": least / ours,
    }


if __name__ == "__main__":
    main()
