"""Graphs on clouds: the message graph is symmetric, simple and knows the way back."""

import pytest
import torch
from torch import Tensor

from cst_points.graph import MessageGraph, edges_to_graph, feature_edges, message_graph


def cloud(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, generator=torch.Generator().manual_seed(seed))


def pairs(graph: MessageGraph) -> list[tuple[int, int]]:
    return list(zip(graph.source.tolist(), graph.target.tolist(), strict=True))


def check_consistent(graph: MessageGraph) -> None:
    edges = pairs(graph)
    assert edges == sorted(set(edges))  # sorted, no doubles
    assert all(i != j for i, j in edges)
    assert set(edges) == {(j, i) for i, j in edges}
    assert [edges[e] for e in graph.reverse.tolist()] == [(j, i) for i, j in edges]
    assert torch.equal(graph.reverse[graph.reverse], torch.arange(len(edges)))


@pytest.mark.parametrize("k", [1, 4, 10])
def test_message_graph_is_the_symmetric_closure(k):
    points = cloud(60)
    graph = message_graph(points, k)
    distance = (points[:, None] - points[None]).square().sum(2)
    distance.fill_diagonal_(torch.inf)
    expected = {(i, j) for i, row in enumerate(distance.argsort(1)[:, :k].tolist()) for j in row}
    assert set(pairs(graph)) == expected | {(j, i) for i, j in expected}
    check_consistent(graph)
    assert len(graph.source) > 60 * k  # who is near to me need not have me near


@pytest.mark.parametrize("copies", [2, 30])
def test_duplicate_points(copies):
    points = torch.cat([cloud(20), cloud(1, 1).expand(copies, 3)])
    graph = message_graph(points, 5)
    check_consistent(graph)
    assert len(graph.source.unique()) == len(points)  # nobody is left alone


@pytest.mark.parametrize("n", [1, 2, 5])
def test_neighbours_clamp_to_the_cloud(n):
    graph = message_graph(cloud(n), 10)
    check_consistent(graph)
    assert len(graph.source) == n * (n - 1)  # everyone with everyone
    assert feature_edges(cloud(n), 10).shape == (n, n)


def test_edges_to_graph():
    graph = edges_to_graph(torch.tensor([[2, 0, 1], [0, 2, 3]]), 4)
    assert pairs(graph) == [(0, 2), (1, 3), (2, 0), (3, 1)]
    assert graph.reverse.tolist() == [2, 3, 0, 1]


def test_feature_neighbourhoods_begin_with_the_point_itself():
    edges = feature_edges(cloud(50), 7)
    assert edges.shape == (50, 7)
    assert edges[:, 0].tolist() == list(range(50))
