"""MIND-SSC against its formula, written as loops."""

from itertools import combinations, product

import numpy as np
import pytest
import torch

from cst_image.mind import mind_ssc

NEIGHBOURS = np.array([(-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)])
PAIRS = [
    (a, b) for a, b in combinations(range(6), 2) if np.isclose(np.linalg.norm(NEIGHBOURS[a] - NEIGHBOURS[b]), 2**0.5)
]


def by_loops(volume: np.ndarray, radius: int, dilation: int) -> np.ndarray:
    last = np.array(volume.shape) - 1

    def at(place: np.ndarray) -> float:
        return volume[tuple(place.clip(0, last))]

    patch = [np.array(p) for p in product(range(-radius, radius + 1), repeat=3)]
    distance = np.zeros((12, *volume.shape))
    for site in np.ndindex(*volume.shape):
        for channel, (a, b) in enumerate(PAIRS):
            first, second = site + dilation * NEIGHBOURS[a], site + dilation * NEIGHBOURS[b]
            distance[channel, *site] = np.mean([(at(first + p) - at(second + p)) ** 2 for p in patch])
    distance -= distance.min(axis=0)
    noise = distance.mean(axis=0)
    return np.exp(-distance / noise.clip(0.001 * noise.mean(), 1000 * noise.mean()))


@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (0, 1), (2, 1)])
def test_it_is_the_formula(radius: int, dilation: int) -> None:
    volume = torch.rand(1, 5, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    volume[:, :2] = 0.25  # flat: there the noise estimate is clamped
    expected = by_loops(volume[0].numpy(), radius, dilation)
    np.testing.assert_allclose(mind_ssc(volume, radius, dilation).numpy(), expected, rtol=1e-9)


def test_it_does_not_see_scale_offset_or_inversion() -> None:
    volume = torch.rand(1, 8, 9, 10, generator=torch.Generator().manual_seed(1))
    features = mind_ssc(volume)
    for other in (3.0 * volume + 7.0, -0.5 * volume):
        torch.testing.assert_close(mind_ssc(other), features, rtol=1e-3, atol=1e-3)


def test_a_volume_without_contrast_has_ones() -> None:
    assert torch.equal(mind_ssc(torch.full((1, 4, 5, 6), 0.3)), torch.ones(12, 4, 5, 6))


def test_the_best_channel_is_one_and_the_argument_stays() -> None:
    volume = torch.rand(1, 6, 6, 6, generator=torch.Generator().manual_seed(2))
    before = volume.clone()
    features = mind_ssc(volume)
    assert torch.equal(features.amax(dim=0), torch.ones(6, 6, 6))
    assert features.amin() > 0
    assert torch.equal(volume, before)


@pytest.mark.parametrize(("radius", "dilation"), [(-1, 2), (1, 0)])
def test_impossible_patches_are_refused(radius: int, dilation: int) -> None:
    with pytest.raises(ValueError, match="radius must be 0 or more and dilation 1 or more"):
        mind_ssc(torch.zeros(1, 4, 4, 4), radius, dilation)
