"""The steps of the points backend as a textbook writes them: whole tensors, every difference written out.

Same results as the backend's own steps up to rounding, which the benchmark checks; plain torch, nothing compiled.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from cst_points.graph import MessageGraph
from cst_points.network import EdgeConv, GraphCNN

PLAIN_EDGES = 64  # a block of the message loop: 50 MB of differences at K = 256
_SLOPE, _EPSILON = 0.2, 1e-5


def nearest(queries: Tensor, points: Tensor, k: int) -> Tensor:
    """Every squared distance, then the k smallest; indices ``(N, k)``."""
    return (queries[:, None] - points).square().sum(2).topk(k, largest=False).indices


def features(network: GraphCNN, points: Tensor, neighbours: Tensor) -> Tensor:
    """The network of one cloud, with the ``(N, k, 2C)`` array of pairs (x_i, x_j - x_i) of every EdgeConv."""
    made = []
    for tower in network.towers:
        x = points
        for layer in tower.convs:  # pyright: ignore[reportGeneralTypeIssues]
            conv = cast("EdgeConv", layer)
            own = x[:, None].expand(-1, neighbours.shape[1], -1)
            edges = torch.cat([own, x[neighbours] - own], dim=2)
            for linear in (conv.first, conv.second, conv.third):
                edges = leaky_relu(_instance_norm(linear(edges)), _SLOPE)
            x = edges.amax(1)
        made.append(tower.out(_instance_norm(tower.hidden(x))))  # pyright: ignore[reportCallIssue]
    return torch.cat(made, dim=1)


def data_cost(fixed: Tensor, moving: Tensor, partner: Tensor) -> Tensor:
    """The moving features of all candidates side by side, ``(N, K, C)``, then the mean squared difference."""
    return (fixed[:, None] - moving[partner]).square().mean(2)


def messages(h: Tensor, displacement: Tensor, graph: MessageGraph, weight: float) -> Tensor:
    """One round as published: every node pair's K x K distances made anew; ``h`` and the messages are ``(E, K)``."""
    sent = []
    for edges in torch.arange(len(graph.source)).split(PLAIN_EDGES):
        i, j = graph.source[edges], graph.target[edges]
        pairwise = (displacement[i].unsqueeze(2) - displacement[j].unsqueeze(1)).square().sum(3)
        sent.append((h[edges].unsqueeze(2) + weight * pairwise).amin(1))
    return torch.cat(sent)


def one_round(cost: Tensor, displacement: Tensor, graph: MessageGraph, weight: float) -> Tensor:
    """Beliefs after the first round, ``(N, K)``."""
    return cost.index_add(0, graph.target, messages(cost[graph.source], displacement, graph, weight))


def published_loop(cost: Tensor, displacement: Tensor, graph: MessageGraph, weight: float, rounds: int) -> Tensor:
    """The loop as published: beliefs are read before the last update."""
    message, belief = cost.new_zeros(len(graph.source), cost.shape[1]), cost
    for _ in range(rounds):
        belief = cost.index_add(0, graph.target, message)
        message = messages(belief[graph.source] - message[graph.reverse], displacement, graph, weight)
    return belief


def read_out(belief: Tensor, displacement: Tensor, sharpness: float) -> Tensor:
    """Every candidate times its probability, then the sum."""
    return (torch.softmax(-sharpness * belief, 1).unsqueeze(2) * displacement).sum(1)


def distance_product(points: Tensor, centres: Tensor, weights: Tensor) -> Tensor:
    """sum_i |x - x_i| w_i, from the ``(Q, N, 3)`` array of differences."""
    return (points[:, None] - centres).square().sum(2).sqrt() @ weights


def _instance_norm(x: Tensor) -> Tensor:
    """Over all but the channels."""
    axes = tuple(range(x.ndim - 1))
    variance, mean = torch.var_mean(x, dim=axes, correction=0)
    return (x - mean) / (variance + _EPSILON).sqrt()
