"""g for points: a graph CNN on clouds of any size, several a batch (Sec. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import batch_norm, leaky_relu
from torch_geometric.data import Batch, Data

from cst_points.graph import feature_edges

_SLOPE = 0.2  # of every LeakyReLU, as in the dynamic graph CNN (Wang et al. 2019) that EdgeConv comes from


def cloud_graph(points: Float[Tensor, "N 3"], neighbours: int) -> Data:
    """A cloud in normalised coordinates with its kNN graph, as torch-geometric batches it."""
    # PyG concatenates attributes called *_index along their last dimension and shifts them by the nodes before
    return Data(pos=points, neighbour_index=feature_edges(points, neighbours).T.contiguous(), num_nodes=len(points))


class GraphCNN(nn.Module):
    """Three EdgeConvs 3->32->32->64, then 64->64, instance norm, 64->C (Sec. 3).

    ``towers`` networks of this kind run side by side on the same graph and their features are concatenated: with random
    weights, the wider the better; a mode of its own for the first labels. Trained ones are `pooled`.
    """

    def __init__(self, features: int = 64, widths: Sequence[int] = (32, 32, 64), towers: int = 1) -> None:
        super().__init__()
        self.towers = nn.ModuleList(_Tower(features, widths) for _ in range(towers))

    def forward(self, clouds: Sequence[Data]) -> list[Float[Tensor, "N C"]]:
        """Features ``(N_i, towers * features)`` of each cloud; clouds of a batch share the number of neighbours."""
        batch = Batch.from_data_list(list(clouds))
        sizes = [len(cloud["pos"]) for cloud in clouds]
        points, neighbour_index = batch["pos"], batch["neighbour_index"]
        features = torch.cat([tower(points, neighbour_index, sizes) for tower in self.towers], 1)
        return list(features.split(sizes))


def pooled(networks: Sequence[GraphCNN]) -> GraphCNN:
    """The towers of several trained networks side by side: of towers of equal width, the data cost is their mean.

    Networks of different seeds have learned the same labels and fail in different places.
    """
    one = deepcopy(networks[0])
    one.towers = nn.ModuleList(deepcopy(tower) for network in networks for tower in network.towers)
    return one


class _Tower(nn.Module):
    def __init__(self, features: int, widths: Sequence[int]) -> None:
        super().__init__()
        inputs = (3, *widths[:-1])
        self.convs = nn.ModuleList(EdgeConv(i, o) for i, o in zip(inputs, widths, strict=True))
        self.hidden = nn.Linear(widths[-1], features)
        self.out = nn.Linear(features, features)

    def forward(self, x: Tensor, neighbour_index: Tensor, sizes: list[int]) -> Tensor:
        for conv in self.convs:
            x = conv(x, neighbour_index, sizes)
        return self.out(instance_norm(self.hidden(x), sizes))


class EdgeConv(nn.Module):
    """Max over neighbours j of MLP(x_i, x_j - x_i): three linear layers, each with instance norm and LeakyReLU.

    The first layer is linear in both arguments, W (x_i, x_j - x_i) = (W1 - W2) x_i + W2 x_j: two products a node
    instead of one an edge, and the ``(N, k, 2C)`` array of pairs is never made.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * inputs, outputs)
        self.second = nn.Linear(outputs, outputs)
        self.third = nn.Linear(outputs, outputs)

    def forward(
        self, x: Float[Tensor, "N C"], neighbour_index: Int[Tensor, "k N"], sizes: list[int]
    ) -> Float[Tensor, "N D"]:
        k = neighbour_index.shape[0]
        own, other = self.first.weight.chunk(2, dim=1)
        at_i = nn.functional.linear(x, own - other, self.first.bias)
        at_j = nn.functional.linear(x, other)
        # index_select, not indexing: its gradient is summed in a fixed order, so that training repeats to the bit
        edges = rearrange(at_j.index_select(0, neighbour_index.T.reshape(-1)), "(n k) c -> n k c", k=k)
        edges = rearrange(edges + at_i.unsqueeze(1), "n k c -> (n k) c")
        edge_sizes = [n * k for n in sizes]
        edges = leaky_relu(instance_norm(edges, edge_sizes), _SLOPE)
        edges = leaky_relu(instance_norm(self.second(edges), edge_sizes), _SLOPE)
        edges = leaky_relu(instance_norm(self.third(edges), edge_sizes), _SLOPE)
        return rearrange(edges, "(n k) c -> n k c", k=k).amax(1)


def instance_norm(x: Float[Tensor, "R C"], sizes: Sequence[int]) -> Float[Tensor, "R C"]:
    """Each channel to mean 0, variance 1 over the rows of one cloud; ``sizes`` rows a cloud, in order.

    Over one cloud's rows this is what batch norm in training mode computes, and its kernel takes channels last.
    """
    # one row has no variance to divide by
    clouds = x.split(list(sizes))
    parts = [batch_norm(rows, None, None, training=True) if len(rows) > 1 else rows * 0 for rows in clouds]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
