"""Every step's result is its textbook version's, and no floor needs more than is there."""

from __future__ import annotations

import pytest
import torch

from benchmarks.speed.image_steps import steps as image_steps
from benchmarks.speed.machine import rates
from benchmarks.speed.point_steps import FUSED, network_floor
from benchmarks.speed.point_steps import steps as point_steps
from benchmarks.speed.smooth_pair import make_pair
from benchmarks.speed.step import Step, measure
from benchmarks.speed.textbook_points import published_loop
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_points.backend import PointsBackend
from cst_points.config import PointsConfig
from cst_points.graph import message_graph
from cst_points.lbp import beliefs, nearest_candidates
from cst_points.phantom import lung_phantom

MACHINE = {"GFLOP/s": 100.0, "GB/s": 10.0}


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def clouds(points: int):
    pair = lung_phantom(1)[0].pair
    return type(pair)(pair.fixed[:points], pair.moving[: 2 * points], pair.origin, pair.half_extent)


def agrees(step: Step) -> bool:
    assert step.textbook is not None
    ours, theirs = step.compared(step.ours().clone()), step.compared(step.textbook())
    return bool((ours - theirs).norm() <= 1e-3 * theirs.norm())


def test_steps_of_clouds_are_their_textbooks():
    backend = PointsBackend(PointsConfig(candidates=24, second_candidates=8, rounds=3))
    made = point_steps(backend, backend.new_network(0).eval(), clouds(60))
    assert [step.name for step in made if step.textbook is not None and not agrees(step)] == []
    assert sum(step.textbook is not None for step in made) == 14
    assert {step.name: step.times for step in made}["a round of messages, 24 candidates"] == 3


@pytest.mark.parametrize("rounds", [1, 3])
def test_every_round_of_adam_counts_in_the_shares_of_volumes(rounds: int) -> None:
    config = ImageConfig(first_towers=1, channels=(2, 2, 2), strides=(2, 1, 2), features=2, adam_rounds=rounds)
    backend = ImageBackend(config)
    made = image_steps(backend, backend.untrained(0).eval(), make_pair((24, 24, 24)))
    times = {step.name: step.times for step in made}
    assert times["instance optimisation, 50 steps"] == times["warp, one volume"] == rounds
    assert times["its blocks for Adam, one volume"] == rounds - 1
    assert times["features for Adam, one volume"] == 2 * rounds


def test_steps_of_volumes_are_their_textbooks():
    backend = ImageBackend(ImageConfig(first_towers=1, channels=(4, 8, 8, 8, 8)))
    made = image_steps(backend, backend.untrained(0).eval(), make_pair((32, 24, 40)))
    first = [step for step in made if step.textbook is not None and "gradient" not in step.name]
    assert [step.name for step in first if not agrees(step)] == []


def test_the_published_loop_is_ours_one_round_later():
    pair = clouds(40)
    fixed, moving = pair.normalised()
    near, graph = nearest_candidates(fixed, moving, 12), message_graph(fixed, 5)
    cost = torch.rand(near.partner.shape, generator=torch.Generator().manual_seed(0))
    ours = beliefs(cost, near.displacement, graph, 10.0, 3)
    theirs = published_loop(cost, near.displacement, graph, 10.0, 4)
    assert torch.allclose(ours - ours.amin(1, True), theirs - theirs.amin(1, True), atol=1e-4)


def test_operations_by_hand():
    network = PointsBackend(PointsConfig()).new_network(0)
    a_node = 2 * (6 * 32 + 64 * 32 + 64 * 64 + 64 * 64 + 64 * 64)
    an_edge = 2 * 2 * (32 * 32 + 32 * 32 + 64 * 64)
    assert network_floor(network, 7, 10)[0] == 7 * a_node + 70 * an_edge
    backend = PointsBackend(PointsConfig(candidates=24, second_candidates=8))
    pair = clouds(60)
    edges = len(message_graph(pair.normalised()[0], 10).source)
    made = {step.name: step for step in point_steps(backend, backend.new_network(0).eval(), pair)}
    assert made["a round of messages, 24 candidates"].operations == FUSED * edges * 24**2


def test_a_share_is_of_the_floor():
    x = torch.ones(4)
    row = measure(Step("s", lambda: x + 1, lambda: x * 2, 5e8, 1e6, 2), MACHINE, 1, 1.0)
    assert row["s"] is not None
    assert row["share of floor"] == pytest.approx(5e-3 / row["s"])
    assert row["share of pair"] == pytest.approx(2 * row["s"])
    assert row["deviation"] == 0.0


def test_the_machine_is_at_least_as_fast_as_a_library():
    found = rates()
    assert found["GFLOP/s"] >= found["GFLOP/s, matrix product"] > 0
    assert found["GB/s"] >= found["GB/s, copy"] > 0
