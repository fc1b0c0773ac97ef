"""g for points: the factored EdgeConv is the textbook's, and a batch is its clouds."""

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from cst_points.lbp import data_cost
from cst_points.network import EdgeConv, GraphCNN, cloud_graph, instance_norm, pooled


def cloud(n: int, seed: int) -> Tensor:
    return torch.rand(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def network(seed: int = 0, towers: int = 1) -> GraphCNN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GraphCNN(features=8, widths=(4, 6, 8), towers=towers).double()


def normalised(x: Tensor) -> Tensor:
    """Instance norm by hand, over all leading axes of one cloud."""
    flat = x.reshape(-1, x.shape[-1])
    return (x - flat.mean(0)) / (flat.var(0, unbiased=False) + 1e-5).sqrt()


def textbook(conv: EdgeConv, x: Tensor, neighbours: Tensor) -> Tensor:
    """Explicit pairs (x_i, x_j - x_i), an MLP on each, the maximum over j."""
    own = x.unsqueeze(1).expand(-1, neighbours.shape[1], -1)
    edges = torch.cat([own, x[neighbours] - own], 2)
    for layer in (conv.first, conv.second, conv.third):
        edges = leaky_relu(normalised(layer(edges)), 0.2)
    return edges.amax(1)


def test_edgeconv_equals_the_textbook():
    conv = EdgeConv(3, 5).double()
    points = cloud(40, 1)
    neighbours = cloud_graph(points, 6).neighbour_index.T
    assert neighbours.shape == (40, 6)
    assert torch.allclose(conv(points, neighbours.T, [40]), textbook(conv, points, neighbours), atol=1e-10)


def test_network_equals_the_textbook():
    net, points = network(), cloud(40, 1)
    graph = cloud_graph(points, 6)
    (tower,) = net.towers
    x = points
    for conv in tower.convs:
        x = textbook(conv, x, graph.neighbour_index.T)
    expected = tower.out(normalised(tower.hidden(x)))
    (features,) = net([graph])
    assert torch.allclose(features, expected, atol=1e-9)


def test_layers_are_the_papers():
    (tower,) = GraphCNN().towers
    shapes = [(conv.first.in_features, conv.third.out_features) for conv in tower.convs]
    assert shapes == [(6, 32), (64, 32), (64, 64)]
    assert (tower.hidden.in_features, tower.hidden.out_features, tower.out.out_features) == (64, 64, 64)


def test_ragged_batch_equals_each_cloud_alone():
    net = network()
    graphs = [cloud_graph(cloud(n, n) * n / 40, 6) for n in (30, 55, 41)]
    together = net(graphs)
    assert [tuple(features.shape) for features in together] == [(30, 8), (55, 8), (41, 8)]
    for features, graph in zip(together, graphs, strict=True):
        assert torch.allclose(features, net([graph])[0], atol=1e-10)


def test_instance_norm_is_a_clouds_own():
    x = torch.cat([cloud(20, 1) * 5 + 3, cloud(30, 2) * 0.5 - 7])
    first, second = instance_norm(x, [20, 30]).split([20, 30])
    for part in (first, second):
        assert torch.allclose(part.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-12)
        assert torch.allclose(part.var(0, unbiased=False), torch.ones(3, dtype=torch.float64), atol=1e-3)
    assert torch.equal(first, instance_norm(x[:20], [20]))


def test_instance_norm_of_one_row_is_zero():
    assert torch.equal(instance_norm(cloud(1, 1), [1]), torch.zeros(1, 3, dtype=torch.float64))


def test_evaluation_mode_changes_nothing():
    net, graph = network(), cloud_graph(cloud(30, 1), 6)
    assert torch.equal(net.train()([graph])[0], net.eval()([graph])[0])


def test_towers_are_concatenated():
    wide, graph = network(towers=3), cloud_graph(cloud(30, 1), 6)
    (features,) = wide([graph])
    assert features.shape == (30, 24)
    for number, part in enumerate(features.split(8, 1)):
        alone = network(seed=9)
        alone.towers[0].load_state_dict(wide.towers[number].state_dict())
        assert torch.equal(part, alone([graph])[0])
    assert not torch.allclose(features[:, :8], features[:, 8:16])


def test_pooled_networks_have_the_mean_of_their_data_costs():
    parts, graphs = [network(seed=1), network(seed=2, towers=2)], [cloud_graph(cloud(n, n), 6) for n in (30, 41)]
    partner = torch.arange(41).expand(30, -1)
    both = pooled(parts)
    costs = [data_cost(*net(graphs), partner) for net in (*parts, both)]
    assert torch.allclose(costs[2], (costs[0] + 2 * costs[1]) / 3, atol=1e-10)
    assert not torch.allclose(costs[0], costs[1], atol=1e-3)
    with torch.no_grad():
        both.towers[0].out.weight.zero_()  # the parts are not touched
    assert parts[0].towers[0].out.weight.abs().sum() > 0


def test_order_of_points_does_not_matter():
    net, points = network(), cloud(40, 1)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(3))
    (features,), (shuffled,) = net([cloud_graph(points, 6)]), net([cloud_graph(points[order], 6)])
    assert torch.allclose(shuffled, features[order], atol=1e-10)
    assert not torch.allclose(shuffled, features)


def test_neighbours_clamp_to_the_cloud():
    (features,) = network()([cloud_graph(cloud(4, 1), 40)])
    assert features.shape == (4, 8)
    assert features.isfinite().all()


def test_gradients_repeat_to_the_bit():
    net = network().float()
    graphs = [cloud_graph(cloud(n, n).float(), 10) for n in (150, 120)]
    weights = [cloud(n, n)[:, :1].float() for n in (150, 120)]

    def gradients() -> list[Tensor]:
        net.zero_grad()
        sum((w * features.square()).sum() for w, features in zip(weights, net(graphs), strict=True)).backward()
        return [parameter.grad.clone() for parameter in net.parameters()]

    first = gradients()
    assert all(gradient.isfinite().all() for gradient in first)
    assert sum(float(gradient.abs().sum()) for gradient in first) > 0
    assert all(torch.equal(a, b) for a, b in zip(first, gradients(), strict=True))
