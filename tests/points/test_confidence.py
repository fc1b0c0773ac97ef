import math

import pytest
import torch

from cst_points.backend import PointsBackend
from cst_points.cloud import CloudPair
from cst_points.confidence import at_points, doubt, relative_entropy, residual, spread
from cst_points.config import PointsConfig
from cst_points.phantom import lung_phantom

QUICK = PointsConfig(first_towers=2, candidates=64, rounds=4, neighbours_moving=20, second_candidates=16)


def test_spread_of_two_equal_places_is_half_their_distance():
    places = torch.tensor([[[0.0, 0.0, 0.0], [6.0, 0.0, 8.0]], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
    probability = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    torch.testing.assert_close(spread(probability, places), torch.tensor([5.0, 0.0]))


def test_relative_entropy_of_known_beliefs():
    probability = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
    expected = torch.tensor([1.0, 0.0, math.log(2) / math.log(4)])
    torch.testing.assert_close(relative_entropy(probability), expected)
    assert relative_entropy(torch.ones(3, 1)).tolist() == [0.0, 0.0, 0.0]


def test_values_between_keypoints():
    keypoints = torch.tensor([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    values = torch.tensor([1.0, 5.0])
    found = at_points(keypoints, values, torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([1.0, 3.0, 2.0]), atol=2e-3, rtol=0)


@pytest.fixture(scope="module")
def registered():
    case = lung_phantom(1)[0]
    backend = PointsBackend(QUICK)
    network = backend.untrained(0)
    return case, backend, network, backend.register(network, case.pair).refined


def test_what_ships_is_the_first_of_all_measures(registered):
    case, backend, network, field = registered
    found = doubt(backend, network, case.pair, field)
    torch.testing.assert_close(residual(backend, network, case.pair, field), found.residual)
    assert all(values.shape == (len(case.pair.fixed),) and bool((values >= 0).all()) for values in found)
    assert 0 < float(found.spread.mean()) < 20


def test_a_wrong_partner_is_seen(registered):
    case, backend, network, field = registered
    right = residual(backend, network, case.pair, field).mean()
    other = lung_phantom(2)[1].pair.moving
    wrong_pair = CloudPair(case.pair.fixed, other, case.pair.origin, case.pair.half_extent)
    wrong = residual(backend, network, wrong_pair, backend.register(network, wrong_pair).refined).mean()
    assert wrong > 1.5 * right


def test_a_field_that_is_off_where_it_was_moved_is_seen_there(registered):
    case, backend, network, field = registered
    right = residual(backend, network, case.pair, field)
    far = case.pair.fixed[:, 2] > case.pair.fixed[:, 2].quantile(0.8)
    off = field.clone()
    off[0, far] += 5.0
    seen = residual(backend, network, case.pair, off)
    assert seen[far].mean() > 1.3 * right[far].mean()
