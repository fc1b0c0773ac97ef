"""What CUDA computes for clouds against the CPU; beside it the same torch code in double precision on the CPU.

Tolerances: neighbours exactly; data costs, beliefs and splines 1e-4 of the largest value; gradients 1e-3, of networks
a cosine of 0.999; a registration 0.05 mm in the mean. Message rounds take the cheapest of near ties, so single
keypoints may differ by more.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from cst_core.config import TrainConfig
from cst_core.training import self_train
from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.config import PointsConfig
from cst_points.dense import dense_field, dense_spline
from cst_points.graph import message_graph
from cst_points.knn import nearest
from cst_points.lbp import beliefs, data_cost, nearest_candidates, read_out
from cst_points.network import cloud_graph
from cst_points.tps import distance_product, distance_product_keops, fit_spline

CUDA = pytest.param(lambda tensor: tensor.cuda(), marks=pytest.mark.gpu, id="cuda")
DOUBLE = pytest.param(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor, id="double")
There = Callable[[Tensor], Tensor]
there_ = pytest.mark.parametrize("there", [CUDA, DOUBLE])
SMALL = PointsConfig(first_towers=2, candidates=48, second_candidates=16, rounds=5)


def cloud(n: int, seed: int) -> Tensor:
    return 2.0 * torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)) - 1.0


def features(n: int, seed: int) -> Tensor:
    return torch.randn(n, 16, generator=torch.Generator().manual_seed(seed))


def agree(here: Tensor, there: Tensor, tolerance: float = 1e-4) -> None:
    found, expected = there.detach().cpu().double(), here.detach().double()
    assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


def pair(device: str = "cpu", n: int = 300) -> CloudPair:
    moving = 100.0 * cloud(2 * n, 1)
    fixed = moving[:n] + 4.0 * torch.sin(moving[:n] / 40.0) + 2.0
    return CloudPair(fixed, moving, torch.zeros(3), torch.full((3,), 110.0)).to(device)


@there_
def test_neighbours_and_graphs(there: There):
    points = cloud(200, 0)
    assert torch.equal(nearest(points, points, 12), nearest(there(points), there(points), 12).cpu())
    for here, other in zip(message_graph(points, 8), message_graph(there(points), 8), strict=True):
        assert torch.equal(here, other.cpu())


@there_
def test_solver_and_its_gradients(there: There):
    """Candidates, data cost, messages, read-out; gradients in the features of both clouds."""
    found = []
    for move in (lambda tensor: tensor.clone(), there):
        fixed, moving = move(cloud(120, 0)), move(cloud(200, 1))
        of_fixed, of_moving = (move(features(n, n)).requires_grad_() for n in (120, 200))
        candidates = nearest_candidates(fixed, moving, 40)
        cost = data_cost(of_fixed, of_moving, candidates.partner)
        belief = beliefs(cost, candidates.displacement, message_graph(fixed, 6), 10.0, 4)
        field = read_out(belief, candidates.displacement, 5.0)
        (field * move(cloud(120, 7))).sum().backward()
        found.append((candidates.partner, cost, belief - belief.amin(1, keepdim=True), field, of_fixed, of_moving))
    here, other = found
    assert torch.equal(here[0], other[0].cpu())
    for one, two in zip(here[1:4], other[1:4], strict=True):
        agree(one, two)
    for one, two in zip(here[4:], other[4:], strict=True):
        agree(one.grad, two.grad, 1e-3)


@there_
def test_splines(there: There):
    points, values, at = cloud(150, 0), cloud(150, 1), cloud(400, 2)
    for smoothing in (0.0, 0.1):
        here = fit_spline(points, values, smoothing)(at)
        agree(here, fit_spline(there(points), there(values), smoothing)(there(at)))


@pytest.mark.gpu
def test_spline_sums_by_keops_on_cuda():
    points, centres, weights = (cloud(n, n).cuda() for n in (5000, 300, 301))
    agree(
        distance_product(points, centres, weights[:300]).cpu(), distance_product_keops(points, centres, weights[:300])
    )


@pytest.mark.gpu
def test_features_and_their_gradients():
    found = []
    for device in ("cpu", "cuda"):
        network = PointsBackend(SMALL, device).new_network(3)
        (made,) = network([cloud_graph(cloud(200, 0).to(device), 10)])
        made.square().mean().backward()
        gradients = torch.cat([p.grad.cpu().flatten() for p in network.parameters() if p.grad is not None])
        found.append((made.detach().cpu(), gradients))
    agree(found[0][0], found[1][0], 1e-3)
    assert float(torch.cosine_similarity(found[0][1], found[1][1], dim=0)) > 0.999


@pytest.mark.gpu
def test_a_registration_and_its_dense_field():
    found = []
    for device in ("cpu", "cuda"):
        backend = PointsBackend(SMALL, device)
        made = backend.register(backend.untrained(0), pair(device))
        dense = dense_field(pair(device), dense_spline(pair(device), made.refined, SMALL), 10.0)
        assert made.refined.device.type == device
        found.append((made.predicted.cpu(), made.refined.cpu(), dense.vectors.cpu()))
    for here, other in zip(*found, strict=True):
        assert float((here - other).norm(dim=0).mean()) < 0.05


@pytest.mark.gpu
def test_training_on_cuda_ends_like_training_on_the_cpu():
    losses = []
    for device in ("cpu", "cuda"):
        config = TrainConfig(stages=1, iterations=20, batch_size=2, learning_rate=1e-3)
        losses += self_train(PointsBackend(SMALL, device), [pair(device)] * 2, config).losses
    assert losses[1] == pytest.approx(losses[0], rel=0.1)
