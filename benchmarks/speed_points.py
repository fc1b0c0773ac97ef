"""Seconds and memory of each part of one registration of keypoints, against the published message loop in plain torch.

    python benchmarks/speed_points.py [--data FOLDER] [--threads N] [--json benchmarks/results/speed_points.json]

One pair of the size of the COPDGene cases: the phantom's first, or the first of the public keypoint release.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numba
import torch
from record import circumstances, fastest, peak_mb, write
from torch import Tensor

from cst_core.loss import field_error
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.config import PRESETS, PointsConfig
from cst_points.data import read_dataset
from cst_points.graph import MessageGraph, message_graph
from cst_points.lbp import beliefs, data_cost, nearest_candidates, read_out
from cst_points.network import cloud_graph
from cst_points.refine import refine

PLAIN_EDGES = 64  # a block of the plain loop: 50 MB of differences at K = 256
FLOPS, FUSED = 7, 3  # of a term of the min-convolution: three fused multiply-adds (two FLOPs each) and a minimum


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="phantom", help="phantom, or the folder of the public keypoint release")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5, help="the fastest is reported; the plain loop runs once")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    numba.set_num_threads(options.threads)
    case = read_dataset(options.data).test[0]
    pair = case.pair
    small = CloudPair(pair.fixed[:100], pair.moving[:200], pair.origin, pair.half_extent)
    print(f"{case.id}: {len(pair.fixed)} fixed, {len(pair.moving)} moving keypoints; {options.threads} threads")
    presets: dict[str, dict[str, float]] = {}
    for name in ("paper", "best"):
        backend = PointsBackend(PointsConfig(**PRESETS[name].backend))
        measure(backend, small, 1)  # compiles
        presets[name] = measure(backend, pair, options.repeats)
    print(f"{'seconds':48}{'paper':>12}{'best':>12}")
    for part, value in presets["paper"].items():
        print(f"{part:48}{value:12.4g}{presets['best'][part]:12.4g}")
    loop = message_loop(pair, options.repeats)
    for key, value in loop.items():
        print(f"{key:48}{value:12.4g}")
    size = {"case": case.id, "fixed": len(pair.fixed), "moving": len(pair.moving), "repeats": options.repeats}
    write(size | presets | {"messages": loop, "circumstances": circumstances(options.threads)}, options.json)


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
def message_loop(pair: CloudPair, repeats: int) -> dict[str, float]:
    """The published loop in plain torch, once, on the same threads; and what the arithmetic alone must take."""
    config = PointsConfig(**PRESETS["paper"].backend)
    fixed, moving = pair.normalised()
    near = nearest_candidates(fixed, moving, config.candidates)
    graph = message_graph(fixed, config.graph_neighbours)
    cost = torch.rand(near.partner.shape, generator=torch.Generator().manual_seed(0))
    ours = fastest(lambda: beliefs(cost, near.displacement, graph, config.weight, rounds=4), repeats)
    plain = fastest(lambda: published_loop(cost, near.displacement, graph, config.weight, rounds=5), 1)
    edges, k = len(graph.source), cost.shape[1]
    terms = edges * k * k * 4
    # the rate of fused multiply-adds, from a matrix product, which is little else
    a = torch.rand(512, 512)
    rate = 512**3 / fastest(lambda: a @ a, 50)
    memory = torch.rand(2**26)
    bandwidth = 2 * 4 * len(memory) / fastest(memory.clone, 3)
    least = 2 * 4 * edges * k * 4  # bytes: h read, message written, 4 rounds; candidates stay in the cache
    return {
        "plain torch, published loop, 5 rounds, s": plain,
        "ours, the same answer in 4 rounds, s": ours,
        "ratio": plain / ours,
        "ratio a round": plain / 5 / (ours / 4),
        "terms: edges x K x K x 4": terms,
        "GFLOP": terms * FLOPS / 1e9,
        "MB moved at least": least / 1e6,
        "s to move them": least / bandwidth,
        "s of multiply-adds at a matrix product's rate": terms * FUSED / rate,
        "share of that rate": terms * FUSED / rate / ours,
    }


def published_loop(cost: Tensor, displacement: Tensor, graph: MessageGraph, weight: float, rounds: int) -> Tensor:
    """As published: every node pair's K x K distances made anew, beliefs read before the last update."""
    message, belief = cost.new_zeros(len(graph.source), cost.shape[1]), cost
    for _ in range(rounds):
        belief = cost.index_add(0, graph.target, message)
        updated = []
        for edges in torch.arange(len(graph.source)).split(PLAIN_EDGES):
            i, j = graph.source[edges], graph.target[edges]
            pairwise = (displacement[i].unsqueeze(2) - displacement[j].unsqueeze(1)).square().sum(3)
            h = belief[i] - message[graph.reverse[edges]]
            updated.append((h.unsqueeze(2) + weight * pairwise).amin(1))
        message = torch.cat(updated)
    return belief


if __name__ == "__main__":
    main()
