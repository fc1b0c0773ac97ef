"""Belief propagation: exact on trees, the published loop with one round less, steady in float32."""

import itertools

import pytest
import torch
from torch import Tensor

from cst_points.graph import MessageGraph, edges_to_graph, message_graph
from cst_points.lbp import beliefs, data_cost, nearest_candidates, read_out


def random(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def relative(belief: Tensor) -> Tensor:
    """Beliefs are defined up to a constant a keypoint."""
    return belief - belief.amin(1, keepdim=True)


def plain(
    cost: Tensor, displacement: Tensor, graph: MessageGraph, weight: float, rounds: int, *, published: bool = False
) -> Tensor:
    """The message loop as one writes it down: node pairs, no subtraction of minima.

    ``published``: as the authors' code, which reads the beliefs from the messages before the last update.
    """
    edges = list(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
    messages = {edge: torch.zeros_like(cost[0]) for edge in edges}

    def incoming(node: int) -> Tensor:
        return sum((messages[i, j] for i, j in edges if j == node), torch.zeros_like(cost[0]))

    belief = cost
    for _ in range(rounds):
        belief = torch.stack([cost[i] + incoming(i) for i in range(len(cost))])
        updated = {}
        for i, j in edges:
            pairwise = weight * (displacement[i][:, None] - displacement[j][None]).square().sum(2)
            updated[i, j] = (cost[i] + incoming(i) - messages[j, i])[:, None].add(pairwise).amin(0)
        messages = updated
    return belief if published else torch.stack([cost[i] + incoming(i) for i in range(len(cost))])


def min_marginals(cost: Tensor, displacement: Tensor, graph: MessageGraph, weight: float) -> Tensor:
    """By trying every joint choice of candidates."""
    n, k = cost.shape
    best = torch.full_like(cost, torch.inf)
    for choice in itertools.product(range(k), repeat=n):
        at = displacement[torch.arange(n), list(choice)]
        smoothness = (at[graph.source] - at[graph.target]).square().sum() / 2  # every pair is two edges
        energy = cost[torch.arange(n), list(choice)].sum() + weight * smoothness
        for node, a in enumerate(choice):
            best[node, a] = min(best[node, a], energy)
    return best


PATH = [[0, 1, 2, 3], [1, 2, 3, 4]]
STAR = [[0, 0, 0, 0], [1, 2, 3, 4]]


@pytest.mark.parametrize(("edges", "rounds"), [(PATH, 4), (STAR, 2), (PATH, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_on_trees(edges, rounds, dtype):
    graph = edges_to_graph(torch.tensor(edges), 5)
    cost, displacement = random(0, 5, 4), random(1, 5, 4, 3)
    exact = min_marginals(cost, displacement, graph, weight=2.0)
    ours = beliefs(cost.to(dtype), displacement.to(dtype), graph, 2.0, rounds)
    assert torch.allclose(relative(ours).double(), relative(exact), atol=1e-6 if dtype == torch.float32 else 1e-12)


def test_needs_as_many_rounds_as_the_tree_is_wide():
    graph = edges_to_graph(torch.tensor(PATH), 5)
    cost, displacement = random(0, 5, 4), random(1, 5, 4, 3)
    exact = min_marginals(cost, displacement, graph, weight=2.0)
    assert not torch.allclose(relative(beliefs(cost, displacement, graph, 2.0, 1)), relative(exact), atol=1e-3)


@pytest.fixture(scope="module")
def loopy():
    points = random(2, 40, 3) * 2 - 1
    return random(3, 40, 8), random(4, 40, 8, 3) * 0.2, message_graph(points, 4)


def test_published_five_rounds_are_four(loopy):
    cost, displacement, graph = loopy
    published = plain(cost, displacement, graph, 10.0, 5, published=True)
    four, five = (beliefs(cost, displacement, graph, 10.0, rounds) for rounds in (4, 5))
    assert torch.allclose(relative(four), relative(published), rtol=0, atol=1e-9)
    assert not torch.allclose(relative(five), relative(published), rtol=0, atol=1e-3)
    theirs = read_out(published, displacement, 50.0)
    assert torch.allclose(read_out(four, displacement, 50.0), theirs, rtol=0, atol=1e-9)
    assert not torch.allclose(read_out(five, displacement, 50.0), theirs, rtol=0, atol=1e-4)


def test_subtracting_minima_changes_no_difference_and_no_gradient(loopy):
    cost, displacement, graph = loopy
    results = []
    for run in (beliefs, plain):
        leaf = cost.clone().requires_grad_()
        belief = run(leaf, displacement, graph, 3.0, 4)
        read_out(belief, displacement, 5.0).square().sum().backward()
        results.append((relative(belief.detach()), leaf.grad))
    (ours, gradient), (theirs, gradient_of_theirs) = results
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-9)
    assert gradient.abs().max() > 1e-3
    assert torch.allclose(gradient, gradient_of_theirs, rtol=0, atol=1e-9)


def test_gradient_of_beliefs():
    graph = edges_to_graph(torch.tensor([[0, 1, 2], [1, 2, 0]]), 3)
    cost, displacement = random(5, 3, 4).requires_grad_(), random(6, 3, 4, 3)
    assert torch.autograd.gradcheck(
        lambda c: read_out(beliefs(c, displacement, graph, 2.0, 3), displacement, 5.0), (cost,)
    )


def test_many_rounds_in_single_precision(loopy):
    cost, displacement, graph = loopy
    exact = relative(beliefs(cost, displacement, graph, 10.0, 30))
    ours = relative(beliefs(cost.float(), displacement.float(), graph, 10.0, 30)).double()
    scale = exact.abs().max()
    assert scale.isfinite()
    assert (ours - exact).abs().max() < 1e-4 * scale
    growing = relative(plain(cost.float(), displacement.float(), graph, 10.0, 12)).double()
    there = relative(beliefs(cost, displacement, graph, 10.0, 12))
    assert (growing - there).abs().max() > 0.1 * there.abs().max()  # why minima are subtracted


def test_no_rounds_and_no_edges_leave_the_cost(loopy):
    cost, displacement, graph = loopy
    assert torch.equal(beliefs(cost, displacement, graph, 10.0, 0), cost)
    alone = message_graph(torch.zeros(1, 3), 10)
    assert torch.equal(beliefs(cost[:1], displacement[:1], alone, 10.0, 3), cost[:1])


def test_regulariser_pulls_an_outlier_to_its_neighbours():
    graph = edges_to_graph(torch.tensor(STAR), 5)
    displacement = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]).expand(5, 2, 3)
    cost = torch.tensor([[1.0, 0.9], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])  # the centre would rather go to 1
    assert beliefs(cost, displacement, graph, 1e-6, 3)[0].argmin() == 1
    assert beliefs(cost, displacement, graph, 1.0, 3)[0].argmin() == 0


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_data_cost_is_the_mean_squared_difference(offset):
    fixed, moving = (random(seed, 30, 6, dtype=torch.float32) + offset for seed in (7, 8))
    index = torch.randint(0, 30, (30, 12), generator=torch.Generator().manual_seed(9))
    weights = random(10, 30, 12)
    f, m, f64, m64 = (part.clone().requires_grad_() for part in (fixed, moving, fixed.double(), moving.double()))
    cost = data_cost(f, m, index)
    naive = (f64.unsqueeze(1) - m64[index]).square().mean(2)
    assert torch.allclose(cost.double(), naive, rtol=0, atol=1e-6)
    (cost * weights).sum().backward()
    (naive * weights).sum().backward()
    assert torch.allclose(f.grad.double(), f64.grad, atol=1e-5)
    assert torch.allclose(m.grad.double(), m64.grad, atol=1e-5)


def test_data_cost_in_blocks_equals_at_once():
    fixed, moving = random(7, 1100, 64, dtype=torch.float32), random(8, 150, 64, dtype=torch.float32)
    index = torch.randint(0, 150, (1100, 128), generator=torch.Generator().manual_seed(9))  # 1024 rows a block
    at_once = data_cost(fixed, moving, index)
    with torch.no_grad():
        blocks = data_cost(fixed, moving, index)
    assert torch.allclose(blocks, at_once, rtol=0, atol=1e-6)
    assert torch.allclose(blocks[1090], (fixed[1090] - moving[index[1090]]).square().mean(1), atol=1e-6)


def test_data_cost_is_exact_where_channels_lie_far_apart():
    """Each channel is centred on its own middle: one for all would leave 300^2 where digits are lost."""
    offset = torch.tensor([300.0, -300.0, 100.0, -100.0, 0.0, 0.0])
    fixed, moving = (random(seed, 30, 6, dtype=torch.float32) + offset for seed in (7, 8))
    index = torch.randint(0, 30, (30, 12), generator=torch.Generator().manual_seed(9))
    naive = (fixed.double().unsqueeze(1) - moving.double()[index]).square().mean(2)
    assert torch.allclose(data_cost(fixed, moving, index).double(), naive, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("rows", "k", "channels", "blocks"), [(1100, 128, 64, [1024, 76]), (3, 4096, 2049, [1, 1, 1])])
def test_gathered_features_are_bounded_where_no_gradient_is_asked_for(rows, k, channels, blocks, monkeypatch):
    """2^23 numbers at once, or one keypoint's; with a gradient, which keeps them all anyway, in one go."""
    seen, multiply = list[int](), torch.bmm

    def counted(gathered: Tensor, features: Tensor) -> Tensor:
        seen.append(len(gathered))
        return multiply(gathered, features)

    monkeypatch.setattr(torch, "bmm", counted)
    fixed, moving = random(7, rows, channels, dtype=torch.float32), random(8, 5, channels, dtype=torch.float32)
    index = torch.randint(0, 5, (rows, k), generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        data_cost(fixed, moving, index)
    assert seen == blocks
    seen.clear()
    data_cost(fixed, moving, index)
    assert seen == [rows]


def test_candidates_are_the_nearest_and_lead_to_them():
    fixed, moving = random(11, 20, 3), random(12, 50, 3)
    found = nearest_candidates(fixed, moving, 5)
    distance = torch.cdist(fixed, moving)
    assert torch.equal(found.partner, distance.argsort(1)[:, :5])
    assert torch.allclose(fixed[:, None] + found.displacement, moving[found.partner])


def test_candidates_clamp_to_the_cloud():
    found = nearest_candidates(random(11, 20, 3), random(12, 7, 3), 256)
    assert found.partner.shape == (20, 7)
    assert found.displacement.shape == (20, 7, 3)


def test_read_out_is_the_expectation():
    belief, displacement = random(14, 6, 9), random(15, 6, 9, 3)
    p = torch.exp(-7.0 * belief)
    expected = (p.unsqueeze(2) * displacement).sum(1) / p.sum(1, keepdim=True)
    assert torch.allclose(read_out(belief, displacement, 7.0), expected)
    assert torch.allclose(read_out(belief + 100.0, displacement, 7.0), expected)  # a constant says nothing
    nearly = displacement[torch.arange(6), belief.argmin(1)]
    assert torch.allclose(read_out(belief, displacement, 1e6), nearly)
