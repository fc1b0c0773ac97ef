"""Neighbourhood graphs on a cloud: directed, for features; symmetric, for messages."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cst_points.knn import nearest


class MessageGraph(NamedTuple):
    """A symmetric graph as a list of directed edges, sorted by source, then target."""

    source: Int[Tensor, " E"]
    target: Int[Tensor, " E"]
    reverse: Int[Tensor, " E"]
    """``reverse[e]`` is the edge from ``target[e]`` back to ``source[e]``."""


def message_graph(points: Float[Tensor, "N 3"], neighbours: int) -> MessageGraph:
    """i and j are joined if either is among the other's ``neighbours`` nearest (Sec. 3: 10); no loops, no doubles."""
    n = len(points)
    near = nearest(points, points, min(neighbours + 1, n))
    senders = torch.arange(n, device=points.device).unsqueeze(1).expand_as(near)
    there = near != senders  # a point is its own nearest neighbour, wherever duplicates put it
    i, j = senders[there], near[there]
    return edges_to_graph(torch.stack([i, j]), n)


def edges_to_graph(edges: Int[Tensor, "2 E"], n: int) -> MessageGraph:
    """The symmetric closure of a list of edges between ``n`` nodes."""
    i, j = edges
    codes = torch.cat([i * n + j, j * n + i]).unique()
    source, target = codes.div(n, rounding_mode="floor"), codes % n
    return MessageGraph(source, target, torch.searchsorted(codes, target * n + source))


def feature_edges(points: Float[Tensor, "N 3"], neighbours: int) -> Int[Tensor, "N k"]:
    """For each point its nearest points, itself among them: neighbourhoods of an EdgeConv (Sec. 3: 10 and 40)."""
    return nearest(points, points, min(neighbours, len(points)))
