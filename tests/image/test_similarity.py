import numpy as np
import pytest
import torch

from cst_core.field import Grid
from cst_image.registration.similarity import correlation, local_correlation, seen_by_both


@pytest.fixture
def volume() -> torch.Tensor:
    return torch.randn(12, 11, 10, generator=torch.Generator().manual_seed(0))


def everywhere(volume: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(volume, dtype=torch.bool)


def test_local_correlation_knows_no_scale_and_no_sign(volume):
    inside = everywhere(volume)
    assert local_correlation(volume, volume, inside) == pytest.approx(1.0, abs=1e-3)
    assert local_correlation(volume, 3.0 - 2.0 * volume, inside) == pytest.approx(1.0, abs=1e-3)
    other = torch.randn(volume.shape, generator=torch.Generator().manual_seed(1))
    assert local_correlation(volume, other, inside) < 0.15
    assert local_correlation(torch.zeros_like(volume), volume, inside) == 0.0


def test_what_is_outside_does_not_count(volume):
    inside = everywhere(volume)
    inside[6:] = False
    other = volume.clone()
    other[6:] = 100.0
    assert local_correlation(volume, other, inside) == pytest.approx(local_correlation(volume, volume, inside))
    assert correlation(volume, other, inside) == pytest.approx(1.0)


def test_correlation_is_pearsons(volume):
    other = volume + torch.randn(volume.shape, generator=torch.Generator().manual_seed(1))
    inside = volume > -0.5
    expected = np.corrcoef(volume[inside].numpy(), other[inside].numpy())[0, 1]
    assert correlation(volume, other, inside) == pytest.approx(expected, abs=1e-6)
    assert correlation(volume, torch.ones_like(volume), inside) is None
    assert correlation(volume, other, ~everywhere(volume)) is None


def test_the_moving_scan_is_seen_through_the_map(volume):
    fixed, moving = Grid.of((12, 11, 10), (2.0, 2.0, 2.0)), Grid.of((12, 11, 10), (2.0, 2.0, 2.0))
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[0, 3] = 6.0
    seen, inside = seen_by_both(fixed, moving, volume, None, matrix)
    assert torch.equal(seen[:9], volume[3:])
    assert bool(inside[:9].all())
    assert not bool(inside[9:].any())
