import numpy as np
import pytest
import torch

from cst_core.field import Grid
from cst_image.preparation.affine_descent import descend
from cst_image.preparation.thumbnail import thumbnail

EYE = torch.eye(4, dtype=torch.float64)


@pytest.fixture(scope="module")
def small(torso):
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = (-190, -140, -200)
    grid = Grid.from_affine((76, 56, 80), affine)
    return lambda matrix: thumbnail(torso(grid, matrix), grid, "torso")


def test_a_known_affine_map_is_found(small):
    truth = np.eye(4)
    truth[:3, :3] = np.array([[1.04, 0.08, 0.0], [-0.08, 0.97, 0.03], [0.02, -0.03, 1.06]])
    truth[:3, 3] = (9, -6, 12)
    # fixed(x) = torso(truth x), moving(y) = torso(y): y = truth x
    found = descend(small(truth), small(np.eye(4)), EYE)
    points = np.random.default_rng(0).uniform(-90, 90, (50, 3))
    expected = points @ truth[:3, :3].T + truth[:3, 3]
    got = points @ found.matrix[:3, :3].numpy().T + found.matrix[:3, 3].numpy()
    assert np.linalg.norm(got - expected, axis=1).mean() < 1.0  # of voxels of 5 mm
    assert found.after < 0.3 * found.before


def test_what_is_right_already_stays(small):
    one = small(np.eye(4))
    found = descend(one, one, EYE)
    torch.testing.assert_close(found.matrix, EYE)
    assert found.before == pytest.approx(found.after, abs=1e-6) == pytest.approx(0, abs=1e-6)


def test_a_start_that_shares_nothing_is_returned_as_it_is(small):
    one = small(np.eye(4))
    far = EYE.clone()
    far[2, 3] = 1000.0
    torch.testing.assert_close(descend(one, one, far).matrix, far)
