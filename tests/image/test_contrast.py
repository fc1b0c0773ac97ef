"""The contrastive term: closed forms, and that sites of a scan and of its copy correspond exactly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from cst_core.field import Grid, positions
from cst_core.sampling import seeded
from cst_image.backend import ImageBackend
from cst_image.config import ImageConfig
from cst_image.contrast import contrast, info_nce
from cst_image.network import Features
from cst_image.pair import ImagePair

SHAPE, SPACING = (24, 20, 22), (1.0, 1.5, 2.0)


class Angles(nn.Module):
    """g that turns an intensity into a direction: like ones have like features."""

    def forward(self, volumes: Tensor) -> Features:
        angle = 4 * volumes[..., ::2, ::2, ::2]
        return Features(torch.cat([angle.cos(), angle.sin()], dim=1), volumes)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_orthogonal_features(temperature):
    """Each is like its partner and unlike all others."""
    features = 3 * torch.eye(8)[:, :5]
    expected = math.log(1 + 4 * math.exp(-1 / temperature))
    assert info_nce(features, features, temperature).item() == pytest.approx(expected, abs=1e-6)
    swapped = features[:, [1, 0, 2, 3, 4]]
    assert info_nce(features, swapped, temperature).item() == pytest.approx(expected + 0.4 / temperature, abs=1e-6)


def test_sites_correspond():
    """Intensities rise linearly along one axis and nothing is varied: the copy's partner has the very same one."""
    x = positions(SHAPE, SPACING)
    volume = x[2:] / 44 - 0.4
    pair = ImagePair(volume, volume, Grid.of(SHAPE, SPACING))
    config = ImageConfig(
        channels=(4, 4), strides=(1, 2), standardise=False, synthetic_contrast=0, synthetic_noise=0, contrast_sites=6,
        contrast_temperature=1e-3,
    )  # fmt: skip
    losses = [float(contrast(ImageBackend(config), Angles(), [pair], seeded(seed))) for seed in range(12)]
    # of a wrong partner the cosine would be lower; two of the six sites may by chance be as bright as each other
    assert sorted(losses)[5] < 0.5
    far = config.model_copy(update={"sigma_first": 0.0})
    assert sorted(float(contrast(ImageBackend(far), Angles(), [pair], seeded(s))) for s in range(12))[5] < 0.5


def test_gradients_reach_the_network():
    config = ImageConfig(channels=(4, 4), strides=(1, 2), features=4, contrast_sites=20, contrast_temperature=1.0)
    backend = ImageBackend(config)
    volume = torch.randn(1, *SHAPE, generator=seeded(0)) / 4
    mask = torch.ones(1, *SHAPE, dtype=torch.bool)
    mask[:, :5] = False
    pair = ImagePair(volume, volume, Grid.of(SHAPE, SPACING), mask, None)
    network = backend.new_network(0)
    one, same = (contrast(backend, network, [pair, pair], seeded(1)) for _ in range(2))
    one.backward()
    assert one == same
    assert 0 < one.item() < 2 * math.log(20)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
