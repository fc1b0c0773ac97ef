"""The steps of registering one pair of clouds: ours, a textbook's, and what either cannot do without."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from benchmarks.speed import textbook_points as textbook
from benchmarks.speed.step import Step
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.graph import message_graph
from cst_points.knn import nearest
from cst_points.lbp import beliefs, data_cost, nearest_candidates, read_out
from cst_points.min_convolution import min_convolution
from cst_points.network import GraphCNN, cloud_graph
from cst_points.tps import Spline, distance_product, fit_reference, fit_spline

DISTANCE = 8  # operations of a squared distance in 3D: three differences, squared and added
INDEX = 2  # float32 numbers that an index of 64 bits is as large as
FUSED = 6  # operations of a term of the min-convolution that multiply-adds can do; its minimum comes on top


def steps(backend: PointsBackend, network: GraphCNN, pair: CloudPair) -> list[Step]:
    """All steps of the preset ``best``, each on what the steps before it give for this pair."""
    config = backend.config
    fixed, moving = pair.normalised()
    made = network_steps(backend, network, fixed, moving)
    made.append(
        Step(
            f"message graph, {config.graph_neighbours} neighbours",
            lambda: message_graph(fixed, config.graph_neighbours).source,
            None,
            *neighbours_floor(fixed, fixed, config.graph_neighbours + 1),
            2 if config.second_warp else 1,
        )
    )
    features = backend.features(network, [pair])[0]
    efforts = [config.candidates, *([config.second_candidates] if config.second_warp else [])]
    for candidates in efforts:
        made += solver_steps(backend, fixed, moving, features, candidates)
    splines = (config.smooth + config.second_warp) * 1
    return made + spline_steps(fixed, backend.solve(pair, *features, backend.effort).T, config.smoothing, splines)


def network_steps(backend: PointsBackend, network: GraphCNN, fixed: Tensor, moving: Tensor) -> list[Step]:
    """g on both clouds."""
    neighbours = backend.config.neighbours_fixed, backend.config.neighbours_moving
    made = []
    for name, cloud, k in zip(("fixed", "moving"), (fixed, moving), neighbours, strict=True):
        graph = cloud_graph(cloud, k)
        near = graph["neighbour_index"].T
        made += [
            Step(
                f"feature graph, {name}, {near.shape[1]} neighbours",
                lambda cloud=cloud, k=k: nearest(cloud, cloud, k),
                lambda cloud=cloud, k=k: textbook.nearest(cloud, cloud, k),
                *neighbours_floor(cloud, cloud, k),
                1,
                distances(cloud, cloud),
            ),
            Step(
                f"network, {name} cloud",
                lambda graph=graph: network([graph])[0],
                lambda cloud=cloud, near=near: textbook.features(network, cloud, near),
                *network_floor(network, len(near), near.shape[1]),
                1,
            ),
        ]
    return made


def solver_steps(
    backend: PointsBackend, fixed: Tensor, moving: Tensor, features: tuple[Tensor, Tensor], candidates: int
) -> list[Step]:
    """h with so many candidates."""
    config, channels = backend.config, features[0].shape[1]
    near = nearest_candidates(fixed, moving, candidates)
    cost = data_cost(*features, near.partner)
    graph = message_graph(fixed, config.graph_neighbours)
    loop = cost, near.displacement, graph, config.weight
    scaled = (near.displacement * config.weight**0.5).transpose(1, 2).contiguous()
    h, belief = cost[graph.source], beliefs(*loop, config.rounds)
    (n, k), edges = cost.shape, len(graph.source)
    terms, sent = FUSED * edges * k * k, 2 * edges * k + 3 * n * k
    said = f"{k} candidates"
    return [
        Step(
            f"nearest, {said}",
            lambda: nearest(fixed, moving, k),
            lambda: textbook.nearest(fixed, moving, k),
            *neighbours_floor(fixed, moving, k),
            1,
            distances(fixed, moving),
        ),
        Step(
            f"data cost, {said}",
            lambda: data_cost(*features, near.partner),
            lambda: textbook.data_cost(*features, near.partner),
            2 * n * k * channels,
            (len(fixed) + len(moving)) * channels + n * k * (INDEX + 1),
            1,
        ),
        Step(
            f"a round of messages, {said}",
            lambda: beliefs(*loop, 1),
            lambda: textbook.one_round(*loop),
            terms,
            sent + 2 * n * k,
            config.rounds,
            lambda found: found - found.amin(1, keepdim=True),
        ),
        Step(
            f"its min-convolution, {said}",
            lambda: min_convolution(h, scaled, graph.source, graph.target),
            None,
            terms,
            sent,
        ),
        Step(
            f"read-out, {said}",
            lambda: read_out(belief, near.displacement, config.sharpness),
            lambda: textbook.read_out(belief, near.displacement, config.sharpness),
            10 * n * k,
            n * (4 * k + 3),
            1,
        ),
    ]


def spline_steps(points: Tensor, values: Tensor, smoothing: float, times: int) -> list[Step]:
    """The smoothing spline and its values; in float64, of which a number is two, as is an operation."""
    n, spline = len(points), fit_spline(points, values, smoothing)
    exact = points.double(), values.double()
    polynomial = spline._replace(weights=torch.zeros_like(spline.weights))

    def written_out(made: Spline) -> Tensor:
        return polynomial(points) - textbook.distance_product(points, made.centres, made.weights)

    return [
        Step(
            "spline, fit",
            lambda: fit_spline(points, values, smoothing).weights,
            lambda: fit_reference(*exact, smoothing)[0].float(),
            2 * n**3 / 3 + DISTANCE * n**2,
            2 * n**2,
            times,
        ),
        Step(
            "spline, values at the keypoints",
            lambda: polynomial(points) - distance_product(points, spline.centres, spline.weights),
            lambda: written_out(spline),
            (DISTANCE + 2 * values.shape[1]) * n**2,
            n * (6 + values.shape[1]),
            times,
        ),
    ]


def neighbours_floor(queries: Tensor, points: Tensor, k: int) -> tuple[float, float]:
    """Of the distances to the neighbours alone: a tree needs more, brute force all."""
    n = len(queries)
    return float(DISTANCE * n * k), float(3 * (n + len(points)) + INDEX * n * k)


def network_floor(network: GraphCNN, nodes: int, neighbours: int) -> tuple[float, float]:
    """Operations of the linear layers, the first of an EdgeConv a node, and numbers: points, graph, features."""
    operations, features = 0.0, 0
    for tower in network.towers:
        for module in tower.modules():
            if isinstance(module, nn.Linear):
                operations += 2.0 * module.in_features * module.out_features * nodes
        for conv in tower.convs:  # pyright: ignore[reportGeneralTypeIssues]
            width = conv.second.in_features
            operations += 2 * 2.0 * width * width * nodes * (neighbours - 1)
        features += cast("nn.Linear", tower.out).out_features
    return operations, float(nodes * (3 + INDEX * neighbours + features))


def distances(queries: Tensor, points: Tensor) -> Callable[[Tensor], Tensor]:
    """Of neighbours: which of two equally near ones comes first is nobody's mistake."""
    return lambda found: (queries[:, None] - points[found]).norm(dim=2)
